"""What a person may say of alarms, from the command line or from a broker. A running monitor looks every second."""

from __future__ import annotations

import sqlite3
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from .alarm_book import Alarm, Verdict
from .errors import DasvddError, DataError
from .mutes import ALL, Mute
from .state_store import StateStore

ID_LETTERS = 8
"""Letters of an id that are shown; a command takes any beginning that no other alarm has."""


@contextmanager
def opened_state(directory: Path) -> Iterator[StateStore]:
    """state.db in `directory`. Raises as StateStore.open_existing, and DasvddError where the file cannot be used."""
    store = StateStore.open_existing(directory)
    try:
        yield store
    except sqlite3.Error as error:
        raise DasvddError(f"{directory}/state.db: {error}. Nothing was changed; try it again.") from error
    finally:
        store.close()


def acknowledge(
    store: StateStore, *, verdict: Verdict, note: str = "", alarm_id: str = "", source: str | None = None
) -> list[Alarm]:
    """Judge the alarm whose id begins with `alarm_id`, or all of `source` that nobody judged; as they were before.

    With neither, the only alarm that nobody judged. Raises DataError where it is not clear which is meant, or none is.
    """
    chosen = _by_id(store, alarm_id) if alarm_id else _not_judged(store, source)
    store.judge([alarm.id for alarm in chosen], verdict, note)
    return chosen


def mute(store: StateStore, source: str, *, seconds: float, note: str = "") -> datetime:
    """Nobody is called for `source` (ALL: for any) for `seconds`; until when."""
    until = time.time() + seconds
    store.mute_all([Mute(str(uuid.uuid4()), source, until, seconds, note)])
    return datetime.fromtimestamp(until, UTC)


def end_mute(store: StateStore, source: str) -> None:
    """End the mute of `source` (ALL: that of every source). Raises DataError where there is none."""
    if not store.unmute(source):
        what = "all sources" if source == ALL else f"source '{source}'"
        raise DataError(f"{what}: not muted. `dasvdd-monitor alarms` lists the mutes.")


def named(alarm: Alarm) -> str:
    """`alarm` in a line for people: id, source, time."""
    return f"{alarm.id[:ID_LETTERS]} {alarm.source} {shown(alarm.raised_at)}"


def shown(time: datetime) -> str:
    """`time` in UTC, to the second."""
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"


def _by_id(store: StateStore, prefix: str) -> list[Alarm]:
    found = store.find(prefix)
    if len(found) == 1:
        return found
    if not found:
        raise DataError(f"no alarm has an id that begins with '{prefix}'. `dasvdd-monitor alarms` lists them.")
    raise DataError(f"{len(found)} alarms have an id that begins with '{prefix}'; give more of it: {_listed(found)}")


def _not_judged(store: StateStore, source: str | None) -> list[Alarm]:
    found = store.alarms(source=source, only_open=True)
    if not found:
        where = "" if source is None else f" of source '{source}'"
        raise DataError(f"there is no alarm{where} that nobody has judged. `dasvdd-monitor alarms` lists all.")
    if source is None and len(found) > 1:
        raise DataError(f"{len(found)} alarms are not judged: give the ALARM-ID or --source. {_listed(found)}")
    return found


def _listed(alarms: list[Alarm]) -> str:
    lines = "".join(f"\n  {named(alarm)}" for alarm in alarms[:10])
    return lines + ("\n  ..." if len(alarms) > 10 else "")
