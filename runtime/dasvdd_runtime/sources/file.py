"""Replay of a recording, in real time or as fast as it can be scored."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..recordings import SignalBlocks, TableFormat, is_table, probe, read_pieces
from .base import WAIT_SECONDS, Block

log = logging.getLogger(__name__)

FAST_BLOCK_SECONDS = 1.0
REAL_TIME_BLOCK_SECONDS = 0.1


class FileSource:
    """The samples of one file, from its first to its last.

    `open` and `read` raise RecordingError or InputMissing, and DataError for a wrong number of channels.
    """

    live = False

    def __init__(
        self,
        path: Path,
        *,
        sample_rate_hz: float,
        channel_names: list[str],
        real_time: bool = False,
        may_have_more: bool = False,
        time_column: str = "auto",
    ) -> None:
        """`may_have_more`: the file may have more channels than these first ones, which are then left out.

        `time_column` as in TableFormat.
        """
        self._may_have_more = may_have_more
        self.sample_rate_hz = sample_rate_hz
        self._path = path
        self._channel_names = channel_names
        self._real_time = real_time
        self._time_column = time_column
        self._pieces: Iterator[SignalBlocks] = iter(())
        self._blocks: Iterator[NDArray[np.float32]] = iter(())
        self._at_seconds = 0.0
        self._due_seconds = 0.0
        self._not_due: Block | None = None
        """What was read before its last sample was due."""

    def open(self) -> None:
        """Begin at the first sample."""
        table = TableFormat()
        if not is_table(self._path):
            self._tell_resampling()
        else:
            table = TableFormat.for_channels(
                self._channel_names, sample_rate_hz=self.sample_rate_hz, time_column=self._time_column
            )
        block_seconds = REAL_TIME_BLOCK_SECONDS if self._real_time else FAST_BLOCK_SECONDS
        self._pieces = iter(
            read_pieces(self._path, block_seconds=block_seconds, sample_rate_hz=self.sample_rate_hz, table=table)
        )
        self._blocks = iter(())
        self._at_seconds = 0.0
        self._due_seconds = time.monotonic()
        self._not_due = None

    def _tell_resampling(self) -> None:
        own_rate_hz, _, _ = probe(self._path)
        if own_rate_hz != self.sample_rate_hz:
            log.warning(
                "%s: resampled from %g Hz to the model's %g Hz%s",
                self._path,
                own_rate_hz,
                self.sample_rate_hz,
                f": nothing above {own_rate_hz / 2:g} Hz is in it" if own_rate_hz < self.sample_rate_hz else "",
            )

    def read(self) -> Block | None:
        """The next block; in real time, once its last sample is due, and an empty one until then."""
        block = self._not_due or self._next_block()
        if block is None or not self._real_time:
            return block
        if self._not_due is None:
            self._due_seconds += ((block.lost or 0) + len(block.samples)) / self.sample_rate_hz
        wait_seconds = self._due_seconds - time.monotonic()
        time.sleep(min(max(0.0, wait_seconds), WAIT_SECONDS))
        if wait_seconds > WAIT_SECONDS:
            self._not_due = block
            return Block(block.samples[:0])
        self._not_due = None
        return block

    def close(self) -> None:
        """Forget the file."""
        self._pieces = iter(())
        self._blocks = iter(())
        self._not_due = None

    def _next_block(self) -> Block | None:
        lost = 0
        while (samples := next(self._blocks, None)) is None:
            piece = next(self._pieces, None)
            if piece is None:
                return None
            self._blocks = piece.blocks
            lost += round((piece.start_seconds - self._at_seconds) * self.sample_rate_hz)
            self._at_seconds = piece.start_seconds
        self._at_seconds += len(samples) / self.sample_rate_hz
        if self._may_have_more:
            samples = samples[:, : len(self._channel_names)]
        if samples.shape[1] != len(self._channel_names):
            raise DataError(
                f"{self._path}: {samples.shape[1]} channels, but the model takes {len(self._channel_names)}. "
                "Replay a recording made like those that the model was trained on."
            )
        return Block(samples, lost=lost)
