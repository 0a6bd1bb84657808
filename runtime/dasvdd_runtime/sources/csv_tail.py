"""A CSV file to which another program adds rows."""

from __future__ import annotations

import logging
import math
import time

import numpy as np

from ..reading.time_stamps import unit_of_label
from .base import WAIT_SECONDS, Block
from .csv_rows import CsvReader, CsvRow
from .file_tail import READ_BYTES, FileTail, Growth
from .rate_watch import RateWatch
from .row_feed import feed_of, stamp_seconds
from .row_tables import CsvTailTable

log = logging.getLogger(__name__)

BACKLOG_BYTES = 4 * READ_BYTES
"""More than this is no burst of the writer, but rows that had gathered."""
TELL_SECONDS = 60.0
BEHIND_TIMES = 8.0
"""What comes this much faster than the clock is a writer that catches up."""


class CsvTailSource:
    """The rows that are added to a file: by its time column, or without one evenly at the model's rate."""

    live = True

    def __init__(self, table: CsvTailTable, *, sample_rate_hz: float, channel_names: list[str]) -> None:
        self.sample_rate_hz = sample_rate_hz
        self._path = table.path
        self._time_column = table.time_column
        self._time_unit = unit_of_label(table.time_column)
        self._channel_names = channel_names
        self._tail = FileTail(table.path)
        self._opened = self._opened_again = self._behind = False
        self._next_told_seconds = -math.inf
        self._rate_watch = RateWatch(sample_rate_hz, most_times=BEHIND_TIMES, of_rows=True)
        self._feed = feed_of(table, sample_rate_hz=sample_rate_hz, channel_names=channel_names)
        self._reader = self._new_reader()

    def open(self) -> None:
        """Open the file. Raises SourceLost where it is not there."""
        self._tail.open()
        self._rate_watch.reopened()
        self._opened, self._opened_again = True, self._opened

    def read(self) -> Block:
        """The rows that are complete. Raises SourceLost where the file goes away, DataError as CsvReader does."""
        growth = self._tail.read()
        self._tell_of_backlog(len(growth.data))
        if growth.begun:
            self._reader = self._new_reader()
            self._reader.rows(growth.head)
        rows = self._reader.rows(growth.data)
        for row in rows:
            if row.fault and (row.time or self._time_column == "none"):  # without its time it is refused below
                self._feed.tell(f"{row.fault}; it counts as not finite")
        block = self._evenly(rows) if self._time_column == "none" else self._by_their_times(rows)
        if growth == Growth() and not len(block.samples):
            time.sleep(WAIT_SECONDS)
        return block

    def close(self) -> None:
        """Close the file; its place is kept."""
        self._tail.close()

    def _tell_of_backlog(self, read_bytes: int) -> None:
        """Say, once a minute at most, that more is there than is read at once, and that it is not any more."""
        unread = self._tail.unread_bytes
        if unread >= BACKLOG_BYTES and time.monotonic() >= self._next_told_seconds:
            self._behind, self._next_told_seconds = True, time.monotonic() + TELL_SECONDS
            log.info(
                "%s: catching up, %.1f MB are not read yet. They are judged as fast as this machine can; none is lost.",
                self._path,
                unread / 1e6,
            )
        elif self._behind and not read_bytes:
            self._behind, self._next_told_seconds = False, -math.inf
            log.info("%s: caught up", self._path)

    def _new_reader(self) -> CsvReader:
        return CsvReader(self._channel_names, tell=self._feed.tell, time_column=self._time_column)

    def _evenly(self, rows: list[CsvRow]) -> Block:
        finding = self._rate_watch.arrived(time.monotonic(), len(rows))
        if finding is not None:
            log.warning("%s: %s", self._path, finding)
        values = np.array([row.values for row in rows], np.float32).reshape(-1, len(self._channel_names))
        gap, self._opened_again = self._opened_again, self._opened_again and not rows
        return Block(values, overflowed=gap, lost=0)

    def _by_their_times(self, rows: list[CsvRow]) -> Block:
        for row in rows:
            try:
                seconds = stamp_seconds(row.time, self._time_unit)
            except ValueError:
                self._feed.refuse(row.fault or f"a row whose time, '{row.time[:40]}', cannot be read")
            else:
                self._feed.add(seconds, row.values)
        return self._feed.next()
