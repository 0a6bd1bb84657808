"""The payload of a message -> the values of channels that it holds. Pure; the worst that it raises is PayloadError."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..reading.tables import sniff_delimiter
from .csv_rows import is_number, number

MAX_PAYLOAD_BYTES = 100_000
MOST_NAMES = 8


class PayloadError(Exception):
    """A payload that holds no row; its text says why, and is short."""


@dataclass(frozen=True)
class Reading:
    """One row, or a part of it."""

    values: list[float]
    channels: list[int]
    """Of which channels the values are, by their places in the model."""
    time: str = ""
    """What the message says of its time; empty where it is not asked for."""


def read_json(payload: bytes, channel_names: Sequence[str], *, time_key: str = "") -> list[Reading]:
    """The rows of an object, or with `time_key` of a list of objects.

    A name is a key, or keys with dots between them for what lies deeper; numbers count the places of a list. What is
    no number is NaN. Raises PayloadError where no channel is named, or a time is missing.
    """
    _check_size(payload)
    try:
        found = json.loads(payload)
    except (ValueError, RecursionError):
        raise PayloadError(f"no JSON: {shown(payload)}") from None
    if isinstance(found, list) and found and time_key:
        return [_read_object(entry, channel_names, time_key) for entry in found]
    return [_read_object(found, channel_names, time_key)]


def read_csv(payload: bytes, channels: int, *, may_have_more: bool = False, time_at: int | None = None) -> Reading:
    """A row of numbers with commas, semicolons or tabs between them, and the time in the cell `time_at`.

    `may_have_more`: cells behind the wanted ones are left out. Raises PayloadError for another length, and for what is
    neither a number nor stands for a missing one.
    """
    _check_size(payload)
    text = payload.decode("utf-8", errors="replace").strip()
    cells = [cell.strip() for cell in text.split(sniff_delimiter(text))]
    wanted = channels if time_at is None else channels + 1
    if len(cells) < wanted or (len(cells) > wanted and not may_have_more) or not text:
        raise PayloadError(f"{len(cells) if text else 0} values where {wanted} are wanted: {shown(payload)}")
    if time_at is not None and time_at >= len(cells):
        raise PayloadError(f"{len(cells)} values, none of which is time_column = {time_at + 1}: {shown(payload)}")
    time = "" if time_at is None else cells.pop(time_at)
    if not all(is_number(cell) for cell in cells[:channels]):
        raise PayloadError(f"not all of it are numbers: {shown(payload)}")
    return Reading([number(cell) for cell in cells[:channels]], list(range(channels)), time)


def read_number(payload: bytes, channel: int) -> Reading:
    """The value of `channel`. Raises PayloadError for what is no number."""
    _check_size(payload)
    value = number(payload.decode("utf-8", errors="replace").strip())
    if math.isnan(value):
        raise PayloadError(f"no number: {shown(payload)}")
    return Reading([value], [channel])


def shown(payload: bytes) -> str:
    """The beginning of a payload, for the log."""
    return repr(payload[:40])


def _check_size(payload: bytes) -> None:
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise PayloadError(f"{len(payload)} bytes, at most {MAX_PAYLOAD_BYTES} may be: {shown(payload)}")


def _read_object(found: Any, channel_names: Sequence[str], time_key: str) -> Reading:
    if not isinstance(found, dict):
        raise PayloadError(f"no JSON object, but a {type(found).__name__}")
    held = {i: value for i, name in enumerate(channel_names) if (value := _look_up(found, name)) is not _ABSENT}
    if not held:
        keys = ", ".join(repr(key[:40]) for key in list(found)[:MOST_NAMES])
        raise PayloadError(
            f"none of {', '.join(channel_names[:MOST_NAMES])} is among its keys: {keys or 'it has none'}"
        )
    time = _look_up(found, time_key) if time_key else ""
    if time is _ABSENT:
        raise PayloadError(f"it has no time_key '{time_key}'")
    if not isinstance(time, str | int | float):
        raise PayloadError(f"its time_key '{time_key}' is no time, but a {type(time).__name__}")
    return Reading([_as_number(value) for value in held.values()], list(held), str(time))


_ABSENT = object()


def _look_up(found: Any, path: str) -> Any:
    """What `path` names, or _ABSENT."""
    if isinstance(found, dict) and path in found:
        return found[path]
    key, dot, rest = path.partition(".")
    if isinstance(found, dict) and key in found and dot:
        return _look_up(found[key], rest)
    if isinstance(found, list) and key.isdecimal() and int(key) < len(found):
        return _look_up(found[int(key)], rest) if dot else found[int(key)]
    return _ABSENT


def _as_number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan
