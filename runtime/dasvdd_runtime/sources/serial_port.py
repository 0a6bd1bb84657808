"""Lines of CSV values from a serial port. pyserial is an extra and imported here alone, when it is needed."""

from __future__ import annotations

import errno
import logging
import math
import termios
import time
from typing import TYPE_CHECKING

import numpy as np

from ..extras import require
from .base import WAIT_SECONDS, Block, SourceLost
from .payloads import PayloadError, Reading, read_csv, shown
from .rate_watch import RateWatch
from .row_feed import feed_of, stamp_seconds
from .row_tables import SerialTable

if TYPE_CHECKING:
    from serial import Serial

log = logging.getLogger(__name__)

MAX_LINE_BYTES = 10_000


class SerialSource:
    """One port. The line in whose middle it is opened is left out."""

    live = True

    def __init__(self, table: SerialTable, *, sample_rate_hz: float, channel_names: list[str]) -> None:
        """Raises Unavailable without pyserial."""
        require('kind = "serial"', "serial", ("serial",))
        self.sample_rate_hz = sample_rate_hz
        self._table = table
        self._channels = len(channel_names)
        self._port: Serial | None = None
        self._pending = b""
        self._in_cut_line = True
        self._rate_watch = RateWatch(sample_rate_hz, of_rows=True)
        self._feed = feed_of(table, sample_rate_hz=sample_rate_hz, channel_names=channel_names)

    def open(self) -> None:
        """Open the port for this program alone. Raises SourceLost where it cannot be opened."""
        from serial import Serial, SerialException

        self.close()
        try:
            self._port = Serial(self._table.port, self._table.baud, timeout=WAIT_SECONDS, exclusive=True)
            self._port.reset_input_buffer()
        except (SerialException, OSError, ValueError, termios.error) as error:
            raise SourceLost(f"{self._table.port} cannot be opened: {_why(error)}") from error
        self._pending, self._in_cut_line = b"", True
        self._rate_watch.reopened()

    def read(self) -> Block:
        """The lines that are complete, within WAIT_SECONDS. Raises SourceLost where the port goes away."""
        from serial import SerialException

        assert self._port is not None, "open() comes first"
        try:
            data = self._port.read(max(1, self._port.in_waiting))
        except (SerialException, OSError) as error:
            raise SourceLost(f"{self._table.port} was lost: {error}") from error
        lines = self._lines(data)
        return self._evenly(lines) if self._table.time_column == "none" else self._by_their_times(lines)

    def close(self) -> None:
        """Close the port."""
        port, self._port = self._port, None
        if port is not None:
            port.close()

    def _lines(self, data: bytes) -> list[bytes]:
        """The lines that `data` completes, without empty ones and the one that was cut at the beginning."""
        *lines, self._pending = (self._pending + data).split(b"\n")
        if len(self._pending) > MAX_LINE_BYTES:  # no line, but something at another baud rate perhaps
            lines, self._pending = [*lines, self._pending], b""
        if lines and self._in_cut_line:
            self._in_cut_line = False
            lines = lines[1:]
        return [line for line in lines if line.strip()]

    def _evenly(self, lines: list[bytes]) -> Block:
        """One row a line; what cannot be read is NaN. What is lost is counted against the clock."""
        rows = np.full((len(lines), self._channels), math.nan, np.float32)
        for row, line in zip(rows, lines, strict=True):
            try:
                row[:] = self._read(line).values
            except PayloadError as error:
                self._feed.refuse(f"a line that holds no row, {error}")
        finding = self._rate_watch.arrived(time.monotonic(), len(lines))
        if finding is not None:
            log.warning("%s: %s", self._table.port, finding)
        return Block(rows)

    def _by_their_times(self, lines: list[bytes]) -> Block:
        now_seconds = time.monotonic()
        for line in lines:
            try:
                reading = self._read(line)
                own_time = self._table.time_at is not None
                seconds = stamp_seconds(reading.time, self._table.time_unit) if own_time else now_seconds
                self._feed.add(seconds, reading.values)
            except (PayloadError, ValueError) as error:
                self._feed.refuse(
                    f"a line that holds no row, {error if isinstance(error, PayloadError) else shown(line)}",
                    seconds=now_seconds if self._table.time_at is None else None,
                )
        return self._feed.next()

    def _read(self, line: bytes) -> Reading:
        more = self._table.channels is not None
        return read_csv(line, self._channels, may_have_more=more, time_at=self._table.time_at)


def _why(error: Exception) -> str:
    """What opening a port failed with, and what to do."""
    number = getattr(error, "errno", None)
    if isinstance(error, FileNotFoundError) or number == errno.ENOENT:
        return "there is no such port. Is it plugged in? `ls /dev/serial/by-id` lists those that are"
    if number == errno.EACCES:
        return "this user may not. Add it to the group that owns the port, mostly dialout"
    if "exclusively lock" in str(error) or number in (errno.EAGAIN, errno.EBUSY):
        return "another program uses it"
    return str(error)
