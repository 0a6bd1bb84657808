"""A device that is asked for a row at fixed times."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Protocol

from .base import WAIT_SECONDS, Block
from .row_alignment import DEFAULT_GAP_ROWS
from .row_feed import RowFeed, feed_of
from .row_tables import PolledTable


class PolledDevice(Protocol):
    """What a kind of device has to offer. Each call takes less than capture.JOIN_SECONDS, and raises SourceLost."""

    def open(self) -> None:
        """Connect."""

    def poll(self, feed: RowFeed) -> Sequence[float]:
        """A row, NaN where the device gives none; why is told to `feed`."""

    def close(self) -> None:
        """Disconnect. May be called twice, and after a failed `open`."""


class PolledSource:
    """Asks `device` every `poll_seconds` of the monotonic clock."""

    live = True

    def __init__(
        self, device: PolledDevice, table: PolledTable, *, sample_rate_hz: float, channel_names: list[str]
    ) -> None:
        self.sample_rate_hz = sample_rate_hz
        self._device = device
        self._poll_seconds = 1 / sample_rate_hz if table.poll_seconds is None else table.poll_seconds
        self._due_seconds = 0.0
        self._feed = feed_of(
            table,
            sample_rate_hz=sample_rate_hz,
            channel_names=channel_names,
            default_gap_seconds=DEFAULT_GAP_ROWS * max(1 / sample_rate_hz, self._poll_seconds),
        )

    def open(self) -> None:
        """Connect. Raises SourceLost."""
        self._device.open()
        self._due_seconds = time.monotonic()

    def read(self) -> Block:
        """The rows that are decided; asks for the next where it is due. Raises SourceLost."""
        begin_seconds = time.monotonic()
        if begin_seconds < self._due_seconds:
            time.sleep(min(self._due_seconds - begin_seconds, WAIT_SECONDS))
            return self._feed.next()
        values = self._device.poll(self._feed)
        self._feed.add(begin_seconds, values)
        took_seconds = time.monotonic() - begin_seconds
        if took_seconds > self._poll_seconds:
            self._feed.tell(f"an answer takes {took_seconds:.2g} s, longer than poll_seconds = {self._poll_seconds:g}")
        self._due_seconds = max(self._due_seconds + self._poll_seconds, begin_seconds)
        return self._feed.next()

    def close(self) -> None:
        """Disconnect."""
        self._device.close()
