"""Rows of one source on their way to blocks; what goes wrong with them is counted, and told."""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Sequence

import numpy as np

from ..errors import DataError
from ..logs import about
from ..reading.time_stamps import SECOND_NS, parse_stamp
from .base import Block
from .csv_rows import number
from .rate_watch import RateWatch
from .row_alignment import RowAligner
from .row_tables import RowsTable

LONGEST_STAMP = 40
LARGEST_STAMP = 1e20
"""Above nanoseconds since 1970."""

log = logging.getLogger(__name__)


class RowFeed:
    """Takes rows with their times, or what could not be read as one, and gives aligned blocks.

    Kept over all connections of its source.
    """

    def __init__(
        self,
        label: str,
        aligner: RowAligner,
        channel_names: Sequence[str],
        *,
        stall_seconds: float,
        rate_watch: RateWatch | None = None,
    ) -> None:
        """`label`: what the log calls the source. `rate_watch`: for rows that should come at the model's rate.

        After `stall_seconds` of what can be neither read nor placed in time the source is given up.
        """
        self.unreadable = 0
        """Rows, messages or times that could not be read."""
        self._label = label
        self._aligner = aligner
        self._channel_names = list(channel_names)
        self._stall_seconds = stall_seconds
        self._unplaced_since = math.inf
        """When the first of those came since the newest row that have no time and cannot be read."""
        self._unusable = ""
        """What the newest of them is, once they have come for `stall_seconds`."""
        self._blocks: deque[Block] = deque()
        self._nothing = Block(np.empty((0, len(channel_names)), np.float32), lost=0)
        self._dropped = 0
        self._lost_before = self._told_of_gaps = False
        self._rate_watch = rate_watch
        self._newest_seconds = math.inf
        self._gap_before = False

    def add(self, seconds: float, values: Sequence[float], *, channels: Sequence[int] | None = None) -> None:
        """As RowAligner.add."""
        self._unplaced_since, self._unusable = math.inf, ""
        self._aligner.add(seconds, values, channels=channels)
        if self._rate_watch is not None and channels is None:
            self._watch_rate(self._rate_watch, seconds)

    def _watch_rate(self, watch: RateWatch, seconds: float) -> None:
        """Rows twice as fast or half as fast as the model's are filled or thinned, and would sound like a fault."""
        apart_seconds = seconds - self._newest_seconds
        gap = apart_seconds > self._aligner.max_gap_seconds
        if apart_seconds < 0 or (gap and not self._gap_before):  # an outage; one gap after another is the rate itself
            watch.reopened()
        self._gap_before = gap
        self._newest_seconds = seconds
        if (fault := watch.arrived(seconds, 1)) is not None:
            self.tell(fault)

    def refuse(self, reason: str, *, seconds: float | None = None) -> None:
        """Something came (at `seconds`, where that is known) that is no row: NaN in its stead. It is logged."""
        self.unreadable += 1
        if seconds is None:
            self._aligner.spoil()
            now_seconds = time.monotonic()
            self._unplaced_since = min(self._unplaced_since, now_seconds)
            if now_seconds - self._unplaced_since >= self._stall_seconds:
                self._unusable = reason
        else:
            self._aligner.add(seconds, [math.nan] * len(self._channel_names))
        self.tell(f"{reason} ({self.unreadable} so far); it counts as not finite")

    def tell(self, line: str) -> None:
        """Log a warning."""
        log.warning("%s: %s", self._label, line, extra=about(self._label))

    def next(self) -> Block:
        """The next block; an empty one where no row is decided yet.

        Raises DataError where for `stall_seconds` nothing that came could be read or placed in time.
        """
        if not self._blocks:
            self._blocks.extend(self._aligner.take())
            self._tell_of_dropped()
        if not self._blocks and self._unusable:
            reason, self._unplaced_since, self._unusable = self._unusable, math.inf, ""
            raise DataError(
                f"nothing that came for {self._stall_seconds:g} s is a row with a time, the newest: {reason}"
            )
        if not self._blocks:
            return self._nothing
        block = self._blocks.popleft()
        lost_before, self._lost_before = self._lost_before, bool(block.lost)
        if block.lost and lost_before and not self._told_of_gaps:  # one gap is an outage, one after the other a habit
            self._told_of_gaps = True
            log.warning(
                "%s: again and again no row came for more than max_gap_seconds = %g, and %d are lost before the next. "
                "Where that is how the source sends, set max_gap_seconds above the time between its rows.",
                self._label,
                self._aligner.max_gap_seconds,
                block.lost,
            )
        return block

    def unheard(self) -> str:
        """The channels of which nothing has come yet, for people; empty where all have."""
        return ", ".join(self._channel_names[channel] for channel in self._aligner.unheard)

    def _tell_of_dropped(self) -> None:
        dropped = self._aligner.duplicates + self._aligner.late
        if dropped > self._dropped:
            self._dropped = dropped
            self.tell(
                f"rows dropped so far: {self._aligner.duplicates} with a time that had been there already, "
                f"{self._aligner.late} with one before the newest"
            )


def feed_of(
    table: RowsTable, *, sample_rate_hz: float, channel_names: Sequence[str], default_gap_seconds: float | None = None
) -> RowFeed:
    """The feed of a source with such a table. `default_gap_seconds` is in force where the table sets no other."""
    aligner = RowAligner(
        sample_rate_hz=sample_rate_hz,
        channels=len(channel_names),
        fill=table.fill,
        max_gap_seconds=default_gap_seconds if table.max_gap_seconds is None else table.max_gap_seconds,
    )
    fills_on_purpose = default_gap_seconds is not None or table.max_gap_seconds is not None
    rate_watch = None if fills_on_purpose else RateWatch(sample_rate_hz, of_rows=True)
    return RowFeed(
        f"source '{table.name}'", aligner, channel_names, stall_seconds=table.stall_seconds, rate_watch=rate_watch
    )


def stamp_seconds(text: str, unit: str | None) -> float:
    """A time that a device wrote, in seconds, as `parse_stamp` reads it. Raises ValueError, also for absurd ones."""
    if len(text) > LONGEST_STAMP or abs(number(text)) > LARGEST_STAMP:
        raise ValueError(f"'{text[:LONGEST_STAMP]}' is no time")
    return parse_stamp(text, unit) / SECOND_NS
