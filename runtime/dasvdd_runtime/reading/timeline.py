"""The times of a table's rows -> its sample rate, and the pieces between gaps.

Rules. The rate is that of the usual step from row to row. A step of more than one and a half usual ones is a gap: the
rows before and after it are pieces of their own, and no window reaches across. Where times are written more coarsely
than rows come (600 rows a second with milliseconds), steps alternate by one unit of the writing, and only what exceeds
that is a gap. A row with the time of the row before is a duplicate if its values are the same too, and left out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..words import count
from .recording_types import RATE_TOLERANCE, RecordingError
from .time_stamps import SECOND_NS

SURVEYED_STEPS = 100_000
"""The usual step is found from the file's first ones."""
EQUAL = 0.02
"""Steps that differ less than this from the median count as equal to it."""
MOSTLY = 0.98
"""With this share of equal steps, times are written as finely as rows come."""
GAP_STEPS = 1.5
WHOLE = 1e-3
"""A measured rate, or period, this near to a whole number of Hz or seconds is that number."""
MOST_GAPS = 0.05
"""More gaps than this share of the rows are no gaps: the times say nothing of when a row was sampled."""
_DAYLIGHT_SAVING_SECONDS = 3600.0
IGNORE_TIMES = (
    "To take the rows as evenly spaced, whatever their times say, leave the time column out and give the rate "
    "(dasvdd-train: --set data.time_column=none --rate 200; dasvdd-monitor score: --time-column none)."
)


@dataclass(frozen=True)
class Spacing:
    """How far rows usually lie apart."""

    period_ns: float
    longest_ns: float
    """A longer step is a gap."""

    @property
    def rate_hz(self) -> float:
        """Rows a second, a whole number of Hz or of seconds where that is what was meant."""
        rate_hz, period_seconds = SECOND_NS / self.period_ns, self.period_ns / SECOND_NS
        if round(rate_hz) and abs(rate_hz / round(rate_hz) - 1) < WHOLE:
            return float(round(rate_hz))
        if round(period_seconds) and abs(period_seconds / round(period_seconds) - 1) < WHOLE:
            return 1.0 / round(period_seconds)
        return rate_hz


@dataclass(frozen=True)
class Piece:
    """Rows that follow each other without a gap. Rows are counted without the duplicates."""

    first_row: int
    end_row: int
    start_seconds: float
    """Since the file's first row: rows are counted at the file's rate, gaps last as long as the times say."""


@dataclass(frozen=True)
class Timeline:
    """What the times of a table say."""

    rate_hz: float
    pieces: tuple[Piece, ...]
    duplicates: NDArray[np.int64] = field(repr=False)
    """Rows of the file, counted from 0, with the time of the row before."""

    @property
    def rows(self) -> int:
        """Without the duplicates."""
        return self.pieces[-1].end_row

    @property
    def seconds(self) -> float:
        """From the first row to the end of the last, gaps included."""
        last = self.pieces[-1]
        return last.start_seconds + (last.end_row - last.first_row) / self.rate_hz

    @property
    def gap_seconds(self) -> float:
        """Time without rows."""
        return self.seconds - self.rows / self.rate_hz

    def file_row(self, row: int) -> int:
        """Where the `row`-th row that is no duplicate lies in the file, both from 0."""
        before = self.duplicates - np.arange(len(self.duplicates))
        return row + int(np.searchsorted(before, row, side="right"))

    def note(self) -> str:
        """What a person should know of it; empty for a file without gaps and duplicates."""
        found = []
        if len(self.pieces) > 1:
            gaps = len(self.pieces) - 1
            found.append(f"{count(gaps, 'gap')}, {self.gap_seconds:.4g} s without rows: no window crosses them")
        if len(self.duplicates):
            found.append(f"{count(len(self.duplicates), 'duplicate row')} left out")
        return "; ".join(found)


def spacing_of(steps_ns: NDArray[np.int64], given_rate_hz: float | None = None) -> Spacing | None:
    """The usual one of `steps_ns` [n]; None without a step above 0.

    Where a few percent of the steps are double, rows are lost or times are rounded: a rate that was given decides.
    """
    steps = steps_ns[steps_ns > 0]
    if not len(steps):
        return None
    median = float(np.median(steps))
    if given_rate_hz is not None and abs(median * given_rate_hz / SECOND_NS - 1) < RATE_TOLERANCE:
        return Spacing(SECOND_NS / given_rate_hz, GAP_STEPS * SECOND_NS / given_rate_hz)
    equal = np.abs(steps / median - 1) < EQUAL
    if equal.mean() >= MOSTLY or not (steps <= 3 * median).any():
        period = float(steps[equal].mean()) if equal.any() else median
        return Spacing(period, GAP_STEPS * period)
    period = float(steps[steps <= 3 * median].mean())
    written = float(np.gcd.reduce(steps))
    return Spacing(period, max(GAP_STEPS * period, period + 1.01 * written))


def survey(path: Path, stamps: Iterable[NDArray[np.int64]], *, given_rate_hz: float | None) -> Timeline | None:
    """The timeline of the file whose rows have these `stamps`, in blocks [n] of nanoseconds; None for a single row.

    A rate that was given takes the place of the measured one, which it may not contradict by more than a percent.
    Raises RecordingError for times that run backwards, for irregular ones, and for a contradiction.
    """
    blocks = iter(stamps)
    head: list[NDArray[np.int64]] = []
    while sum(map(len, head)) <= SURVEYED_STEPS and (block := next(blocks, None)) is not None:
        head.append(block)
    first = np.concatenate(head) if head else np.empty(0, np.int64)
    if len(first) < 2:
        return None
    _check_forwards(path, first, 0)
    spacing = spacing_of(np.diff(first), given_rate_hz)
    if spacing is None:
        raise RecordingError(
            path,
            f"all of its first {len(first)} rows have the time {readable(int(first[0]))}: its times are written too "
            f"coarsely to tell the rate. {IGNORE_TIMES}",
        )
    rate_hz = _agreed_rate(path, spacing, given_rate_hz)
    pieces, duplicates = _cut(path, chain([first], blocks), spacing, rate_hz)
    rows = pieces[-1].end_row
    if len(pieces) - 1 > max(10.0, MOST_GAPS * rows):
        raise RecordingError(
            path,
            f"{len(pieces) - 1} of its {rows} rows come later than {GAP_STEPS:g} times the usual "
            f"{spacing.period_ns / SECOND_NS:.6g} s after the one before, so the times are irregular and no rate "
            f"describes them. {IGNORE_TIMES}",
        )
    return Timeline(rate_hz, tuple(pieces), duplicates)


def readable(stamp_ns: int) -> str:
    """A time as a person wrote it: a date for epoch times, else seconds."""
    seconds = stamp_ns / SECOND_NS
    if stamp_ns < 10**17:
        return f"{seconds:.9g} s"
    return datetime.fromtimestamp(seconds, UTC).isoformat(sep=" ", timespec="milliseconds").removesuffix("+00:00")


def _agreed_rate(path: Path, spacing: Spacing, given_rate_hz: float | None) -> float:
    if given_rate_hz is None:
        return spacing.rate_hz
    if abs(given_rate_hz * spacing.period_ns / SECOND_NS - 1) > RATE_TOLERANCE:
        raise RecordingError(
            path,
            f"its times say {spacing.rate_hz:.6g} Hz (a row every {spacing.period_ns / SECOND_NS:.6g} s), "
            f"{given_rate_hz:g} Hz were asked for: one of them is wrong, or the times have another unit, which the "
            f"column's name can say (time_ms). {IGNORE_TIMES}",
        )
    return given_rate_hz


def _cut(
    path: Path, blocks: Iterable[NDArray[np.int64]], spacing: Spacing, rate_hz: float
) -> tuple[list[Piece], NDArray[np.int64]]:
    pieces: list[Piece] = []
    duplicates: list[NDArray[np.int64]] = []
    row, dropped, first_row = 0, 0, 0
    start_seconds = 0.0
    previous: int | None = None
    for block in blocks:
        if not len(block):
            continue
        stamps = block if previous is None else np.concatenate([[previous], block])
        skipped = len(stamps) - len(block)
        _check_forwards(path, stamps, row - skipped)
        steps = np.diff(stamps)
        same = np.flatnonzero(steps == 0) + 1 - skipped + row
        for index in np.flatnonzero(steps > spacing.longest_ns):
            file_row = int(index) + 1 - skipped + row
            kept = file_row - dropped - int(np.searchsorted(same, file_row))
            pieces.append(Piece(first_row, kept, start_seconds))
            gap_seconds = (float(steps[index]) - spacing.period_ns) / SECOND_NS
            start_seconds += (kept - first_row) / rate_hz + gap_seconds
            first_row = kept
        duplicates.append(same)
        dropped += len(same)
        row += len(block)
        previous = int(block[-1])
    pieces.append(Piece(first_row, row - dropped, start_seconds))
    return pieces, np.concatenate(duplicates)


def _check_forwards(path: Path, stamps: NDArray[np.int64], first_row: int) -> None:
    """`first_row`: that of `stamps[0]` in the file, from 0."""
    back = np.flatnonzero(np.diff(stamps) < 0)
    if not len(back):
        return
    at = int(back[0])
    step_seconds = float(stamps[at + 1] - stamps[at]) / SECOND_NS
    hint = "Split or sort the file: rows out of order are no signal."
    if abs(step_seconds + _DAYLIGHT_SAVING_SECONDS) < 60:
        hint = "An hour back looks like the end of daylight saving time: split the file there, or log in UTC."
    raise RecordingError(
        path,
        f"row {first_row + at + 2} ({readable(int(stamps[at + 1]))}) lies {-step_seconds:.6g} s before row "
        f"{first_row + at + 1} ({readable(int(stamps[at]))}). {hint}",
    )
