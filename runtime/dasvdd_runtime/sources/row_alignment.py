"""Rows that come when they come -> rows evenly at the model's rate. Pure: told of rows and times, it keeps no clock.

Policy. A missing value is filled for `max_gap_seconds` at most; beyond that nothing is made up: where no channel has a
value the row is lost (`Block.lost`), so that no window spans it, and where only some have none those are NaN, which no
model judges. The default, 2.5 rows of the model, fills one missing row and makes two a gap.

`fill = "hold"`, the default, repeats the last value, as a polled or slow process value is meant. A row that comes about
when the next is due is the next: rows at the model's rate pass as they are, as they did in training, in spite of jitter
up to half a row; where the clocks drift apart, one is repeated or left out for each row of drift. `"linear"` draws a
straight line between the two neighbours: for a signal that was sampled at another rate or irregularly, whose times can
be relied on. It needs a value on both sides.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .base import Block

Fill = Literal["hold", "linear"]

DEFAULT_GAP_ROWS = 2.5
"""One missing row is filled, two are a gap."""
SLIP_ROWS = 0.75
"""How far from when it is due the next row may come. Above one half, so that jitter about a half makes few slips."""
SET_BACK_SECONDS = 5.0
"""A row further back than this comes from a clock that was set, not from a row that was overtaken."""
SET_FORWARD_SECONDS = 7 * 86_400.0
"""Likewise a row further ahead: no outage is that long, but a clock that begins in 1970 is."""
EDGE_ROWS = 1e-3
"""What times lose in floating point, so that a gap of exactly `max_gap_seconds` is none."""


class RowAligner:
    """The rows of one source, over all of its connections: kept while it is away, it counts the outage as lost rows.

    Times are seconds on one axis, the monotonic clock's or the device's. Channels may come one by one. A value with the
    time of its channel's value before, or an earlier one, is dropped and its row counted. Where the axis itself is set,
    rows begin anew: the first block says by `overflowed` that an unknown number is missing.
    """

    def __init__(
        self, *, sample_rate_hz: float, channels: int, fill: Fill = "hold", max_gap_seconds: float | None = None
    ) -> None:
        self.max_gap_seconds = DEFAULT_GAP_ROWS / sample_rate_hz if max_gap_seconds is None else max_gap_seconds
        self.duplicates = 0
        """Rows dropped for a time that was there already."""
        self.late = 0
        """Rows dropped for a time before the newest, or for none."""
        self._rate_hz = sample_rate_hz
        self._hold = fill == "hold"
        self._max_gap = self.max_gap_seconds * sample_rate_hz + EDGE_ROWS
        self._channels = channels
        self._clock_was_set = False
        self._lost = 0
        self._spoiled = False
        self._begun = False
        self._newest_seconds = 0.0
        self._next: int | None = None
        """The first row that is not decided; None until every channel was heard, or had `max_gap_seconds` for it."""
        self._begin(0.0)

    @property
    def unheard(self) -> list[int]:
        """The channels of which nothing has come yet."""
        return [channel for channel, places in enumerate(self._places) if not places]

    def add(self, seconds: float, values: Sequence[float], *, channels: Sequence[int] | None = None) -> None:
        """A row at `seconds`: the values of `channels` (one at least), by default of all. What is not finite is NaN."""
        if not math.isfinite(seconds):
            self.late += 1
            return
        self._look_at_axis(seconds)
        place = self._place(seconds)
        newer = [
            self._add_value(place, math.nan if self._spoiled else value, channel)
            for value, channel in zip(values, range(self._channels) if channels is None else channels, strict=True)
        ]
        if min(newer) <= 0:
            self.duplicates += min(newer) == 0
            self.late += min(newer) < 0
        self._spoiled = self._spoiled and max(newer) <= 0
        self._newest_seconds = max(self._newest_seconds, seconds)
        if self._next is None and (not self.unheard or place > self._max_gap):
            self._next = math.ceil(max(places[-1] for places in self._places if places))

    def spoil(self) -> None:
        """Something came that can be neither read nor placed in time: the next row is NaN in its stead."""
        self._spoiled = True

    def take(self) -> list[Block]:
        """The rows that are decided since the last call, in pieces between gaps.

        A row is decided once each channel has a value behind it, or has had none for `max_gap_seconds`.
        """
        if self._next is None:
            return []
        given_up = self._place(self._newest_seconds) - self._max_gap
        known = min(max(places[-1] if places else -math.inf, given_up) for places in self._places)
        # With "hold" a later value may still be for the same row.
        end = math.floor(known) + (0 if self._hold else 1)
        if end <= self._next:
            return []
        blocks: list[Block] = []
        # No row is made where none is near, so that an outage of a day costs no memory.
        heard = np.unique(np.concatenate([np.array(places) for places in self._places]))
        for piece in np.split(heard, np.flatnonzero(np.diff(heard) > self._max_gap) + 1):
            start = min(end, max(self._next, math.ceil(piece[0])))
            self._lose(start - self._next)
            blocks += self._rows(start, min(end, math.floor(piece[-1] + self._max_gap) + 1))
        self._lose(end - self._next)
        self._forget()
        return blocks

    def _look_at_axis(self, seconds: float) -> None:
        """Begin where the axis begins, or begins anew."""
        if self._begun and -SET_BACK_SECONDS <= seconds - self._newest_seconds <= SET_FORWARD_SECONDS:
            return
        self._clock_was_set = self._begun
        self._begun = True
        self._begin(seconds)

    def _begin(self, seconds: float) -> None:
        self._origin_seconds = self._newest_seconds = seconds
        self._newest = [-math.inf] * self._channels
        """Where the newest value of each channel lies."""
        self._places: list[list[float]] = [[] for _ in range(self._channels)]
        """Where the values count that may still be needed: with "hold" the rows that they are."""
        self._values: list[list[float]] = [[] for _ in range(self._channels)]
        self._next = None

    def _place(self, seconds: float) -> float:
        """Where `seconds` lies among the rows that are given, which are whole numbers from 0."""
        return (seconds - self._origin_seconds) * self._rate_hz

    def _add_value(self, place: float, value: float, channel: int) -> float:
        """Keep one value; returns by how much it is newer than the one before, above 0 where it is kept."""
        newer = place - self._newest[channel]
        if newer > 0:
            self._newest[channel] = place
            places, values = self._places[channel], self._values[channel]
            value = value if math.isfinite(value) else math.nan
            at = _row_of(place, places) if self._hold else place
            if places and at == places[-1]:  # the last value of a row counts, but none that is not finite is forgotten
                values[-1] = math.nan if math.isnan(values[-1]) else value
            else:
                places.append(at)
                values.append(value)
        return newer

    def _lose(self, rows: int) -> None:
        if rows > 0:
            assert self._next is not None
            self._lost += rows
            self._next += rows

    def _rows(self, start: int, end: int) -> list[Block]:
        """The rows from `start` to before `end`, in pieces; those of which no channel knows anything are lost."""
        if end <= start:
            return []
        grid = np.arange(start, end, dtype=np.float64)
        columns = [self._column(channel, grid) for channel in range(self._channels)]
        samples = np.stack([values for values, _ in columns], axis=1).astype(np.float32)
        known = np.any([covered for _, covered in columns], axis=0)
        blocks: list[Block] = []
        for piece in np.split(np.arange(len(grid)), np.flatnonzero(np.diff(known)) + 1):
            if not known[piece[0]]:
                self._lose(len(piece))
                continue
            blocks.append(Block(samples[piece], overflowed=self._clock_was_set, lost=self._lost))
            self._clock_was_set, self._lost = False, 0
            self._next = start + int(piece[-1]) + 1
        return blocks

    def _column(self, channel: int, grid: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """One channel at `grid` [n]: values [n], NaN where unknown, and whether each is known, if only as NaN [n]."""
        if not self._places[channel]:
            return np.full(len(grid), np.nan), np.zeros(len(grid), np.bool_)
        at, values = np.array(self._places[channel]), np.array(self._values[channel])
        before = np.searchsorted(at, grid, side="right") - 1
        known = before >= 0
        before = np.maximum(before, 0)
        age = grid - at[before]
        if self._hold:
            known &= age <= self._max_gap
            return np.where(known, values[before], np.nan), known
        after = np.minimum(before + 1, len(at) - 1)
        step = at[after] - at[before]
        exact = age == 0
        known &= exact | ((step > 0) & (step <= self._max_gap))
        share = age / np.where(step > 0, step, 1.0)
        between = np.where(exact, values[before], values[before] + share * (values[after] - values[before]))
        return np.where(known, between, np.nan), known

    def _forget(self) -> None:
        """Drop the values that no row needs any more."""
        assert self._next is not None
        for places, values in zip(self._places, self._values, strict=True):
            needed = int(np.searchsorted(places, self._next, side="right")) - 1
            if needed > 0:
                del places[:needed], values[:needed]


def _row_of(place: float, rows: list[float]) -> float:
    """Which row a value at `place` is, after those that were `rows`."""
    if not rows:
        return float(round(place))
    due = rows[-1] + 1
    return due if abs(place - due) < SLIP_ROWS else max(rows[-1], float(round(place)))
