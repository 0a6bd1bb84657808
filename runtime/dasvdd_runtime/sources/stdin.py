"""Samples that another program pipes in: raw PCM, or CSV rows of sensor values."""

from __future__ import annotations

import logging
import os
import select
import sys
import time

from ..errors import DataError
from .base import WAIT_SECONDS, Block
from .decoders import PipeFormat, make_decoder
from .rate_watch import RateWatch

log = logging.getLogger(__name__)

READ_BYTES = 65_536
REPLAY_TIMES = 8.0
"""What comes this much faster than the clock is no device, but a recording that is piped in."""


class StdinSource:
    """Standard input at the model's sample rate. It is never dropped from: a full pipe makes the producer wait."""

    live = False

    def __init__(self, *, format: PipeFormat, sample_rate_hz: float, channel_names: list[str]) -> None:
        self.sample_rate_hz = sample_rate_hz
        self._decoder = make_decoder(format, channel_names, label="standard input")
        self._rate_watch = RateWatch(sample_rate_hz, most_times=REPLAY_TIMES)
        self._file_descriptor: int | None = None
        self._ended = False

    def open(self) -> None:
        """Look that there is a standard input. Raises DataError where the process has none."""
        if sys.stdin is None:
            raise DataError("standard input is closed: pipe samples into this program")
        self._file_descriptor = sys.stdin.fileno()

    def read(self) -> Block | None:
        """What has arrived, at most READ_BYTES. Raises DataError as its decoder does."""
        assert self._file_descriptor is not None, "open() comes first"
        if self._ended:
            return None
        ready, _, _ = select.select([self._file_descriptor], [], [], WAIT_SECONDS)
        if not ready:
            return Block(self._decoder.decode(b""))
        data = os.read(self._file_descriptor, READ_BYTES)
        self._ended = not data
        samples = self._decoder.finish() if self._ended else self._decoder.decode(data)
        finding = self._rate_watch.arrived(time.monotonic(), len(samples))
        if finding is not None:
            log.warning("standard input %s", finding)
        return Block(samples)

    def close(self) -> None:
        """Nothing to release: the descriptor belongs to the process."""
