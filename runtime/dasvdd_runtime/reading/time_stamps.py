"""The text of a time column -> whole nanoseconds. Exact: a decimal is never rounded to a float on its way."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation

import numpy as np
from numpy.typing import NDArray

from .decimals import with_point

SECOND_NS = 1_000_000_000
FARTHEST_NS = 2**62
"""146 years from 1970, or from the start: steps between such times still fit into 64 bits."""
_UNITS_NS = {"s": SECOND_NS, "ms": 1_000_000, "us": 1000, "ns": 1}
_UNIT_NAMES = {"sec": "s", "second": "s", "seconds": "s", "\N{MICRO SIGN}s": "us"}
# 'time', 'Time [s]', 'timestamp_ms', 'date time', 'epoch (us)', 't [s]', ...
_LABEL = re.compile(
    r"(?:time|time[ _]?stamp|date[ _]?time|date|epoch|t(?=[ _]*[\[(]))"
    r"(?:[ _]*[\[(]?(?P<unit>s|sec|seconds?|ms|us|\N{MICRO SIGN}s|ns|utc)[\])]?)?"
)
_TIME_OF_DAY = re.compile(r"(\d{1,2}:\d{2}:\d{2})(?:[.,](\d+))?")
_DAY_FIRST = re.compile(r"(\d{1,2})\.(\d{1,2})\.(\d{4})[ T](.+)")
# Epoch times of the years 1973 to 5138 in each unit lie apart from each other and from seconds since a start.
_EPOCH_FROM: tuple[tuple[int, str], ...] = ((10**17, "ns"), (10**14, "us"), (10**11, "ms"))


def is_time_label(label: str) -> bool:
    """True if `label` names a column of times, as 'time', 'Timestamp', 'time [ms]' and 'datetime' do."""
    return _LABEL.fullmatch(label.lower()) is not None


def unit_of_label(label: str) -> str | None:
    """'s', 'ms', 'us' or 'ns' where the `label` of a time column says it, else None."""
    found = _LABEL.fullmatch(label.lower())
    unit = found["unit"] if found else None
    return None if unit in (None, "utc") else _UNIT_NAMES.get(str(unit), unit)


def guess_unit(number: Decimal | float) -> str:
    """The unit of a time that is a plain number: an epoch time tells it by its size, anything less counts seconds."""
    size = Decimal(number).copy_abs()
    return "s" if size.is_nan() else next((unit for least, unit in _EPOCH_FROM if size >= least), "s")


def are_stamps(numbers: NDArray[np.number], unit: str) -> NDArray[np.bool_]:
    """Which of `numbers` [n] in `unit` are times within FARTHEST_NS: those that `numeric_stamps` takes."""
    farthest = FARTHEST_NS // _UNITS_NS[unit]
    exact = numbers if numbers.dtype.kind in "iu" else numbers.astype(np.longdouble)
    return np.asarray((exact >= -farthest) & (exact <= farthest))


def numeric_stamps(numbers: NDArray[np.number], unit: str) -> NDArray[np.int64]:
    """`numbers` [n] in `unit`, which `are_stamps`, -> nanoseconds [n]; those that are floats by rounding."""
    scale = _UNITS_NS[unit]
    if numbers.dtype.kind in "iu":
        return numbers.astype(np.int64) * scale
    return np.rint(numbers.astype(np.longdouble) * scale).astype(np.int64)


def parse_stamp(cell: str, unit: str | None) -> int:
    """One time in nanoseconds: ISO 8601, '9.3.2020 10:14:33', a time of day, or a number in `unit` (None: guessed).

    Dates without an offset from UTC are taken as UTC. Raises ValueError for anything else, 'nan' and what lies beyond
    FARTHEST_NS included.
    """
    text = cell.strip()
    try:
        number = Decimal(with_point(text))
    except InvalidOperation:
        stamp = _calendar_stamp(text)
    else:
        if not number.is_finite() or number.copy_abs() > FARTHEST_NS:
            raise ValueError(f"'{cell}' is no time")
        stamp = int((number * _UNITS_NS[unit or guess_unit(number)]).to_integral_value())
    if abs(stamp) > FARTHEST_NS:
        raise ValueError(f"'{cell}' is more than 146 years from 1970")
    return stamp


def parse_stamps(cells: Sequence[str], unit: str | None) -> NDArray[np.int64]:
    """`cells` [n] as nanoseconds [n], each as `parse_stamp` reads it. Raises ValueError as it does."""
    return np.fromiter((_quick_stamp(cell, unit) for cell in cells), np.int64, len(cells))


def _quick_stamp(cell: str, unit: str | None) -> int:
    """`parse_stamp`, by integers where a plain decimal in seconds allows it: three times as fast."""
    whole, _, decimals = cell.partition(".")
    if unit == "s" and whole.isdecimal() and len(decimals) <= 9 and (not decimals or decimals.isdecimal()):
        stamp = int(whole) * SECOND_NS + int(decimals.ljust(9, "0"))
        if stamp <= FARTHEST_NS:
            return stamp
    return parse_stamp(cell, unit)


def _calendar_stamp(text: str) -> int:
    if (found := _TIME_OF_DAY.fullmatch(text)) is not None:
        text = f"1970-01-01T{found[1].zfill(8)}.{found[2] or '0'}"
    elif (found := _DAY_FIRST.fullmatch(text)) is not None:
        text = f"{found[3]}-{int(found[2]):02}-{int(found[1]):02}T{found[4]}"
    moment = datetime.fromisoformat(text.replace(",", "."))
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (since // timedelta(microseconds=1)) * 1000 + _beyond_microseconds(text)


def _beyond_microseconds(text: str) -> int:
    """The nanoseconds of '10:14:33.123456789' that a datetime leaves out."""
    found = re.search(r"[.,]\d{6}(\d{1,3})", text)
    return int(found[1].ljust(3, "0")) if found else 0
