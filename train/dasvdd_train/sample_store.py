"""Samples of a run in a temporary file, read by slices: a day of audio needs no day of memory."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from dasvdd_runtime.errors import DasvddError
from numpy.typing import NDArray

BLOCK_SAMPLES = 2**19
"""Samples that are worked on at once: 33 s of 16 kHz audio."""
_FLOAT_BYTES = 4


@dataclass(frozen=True)
class StoredSamples:
    """Float32 samples [samples, channels] in a SampleStore. Slicing reads: `stored[100:200]` is an array."""

    file: IO[bytes]
    offset_bytes: int
    shape: tuple[int, int]

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, wanted: slice) -> NDArray[np.float32]:
        """The samples of a slice without a step, as a new array [samples, channels]."""
        start, stop, step = wanted.indices(len(self))
        if step != 1:
            raise ValueError(f"a step of {step}: stored samples are read in a row")
        part = self.part(start, stop)
        samples = np.empty(part.shape, np.float32)
        target = samples.data.cast("B") if samples.size else memoryview(b"")
        while len(target):
            count = os.preadv(self.file.fileno(), [target], part.offset_bytes + samples.nbytes - len(target))
            if not count:
                raise DasvddError("the temporary file with the samples ended early. Is the disk failing?")
            target = target[count:]
        return samples

    def part(self, start: int, stop: int) -> StoredSamples:
        """Samples `start` to `stop` without reading them."""
        row_bytes = _FLOAT_BYTES * self.shape[1]
        return StoredSamples(self.file, self.offset_bytes + start * row_bytes, (max(0, stop - start), self.shape[1]))

    def blocks(self, samples: int = BLOCK_SAMPLES) -> Iterator[NDArray[np.float32]]:
        """All samples in a row, at most `samples` at a time."""
        for start in range(0, len(self), samples):
            yield self[start : start + samples]


class SampleStore:
    """A temporary file without a name, gone with the process. Four bytes a sample and channel."""

    def __init__(self, folder: Path | None = None) -> None:
        """In `folder`, or in the system's folder for temporary files. Raises DasvddError if it cannot be made."""
        self._folder = folder
        try:
            self._file: IO[bytes] = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 - lives on
        except OSError as error:
            raise DasvddError(f"{folder or tempfile.gettempdir()}: cannot be written ({error.strerror})") from error
        self._size_bytes = 0

    def add(self, blocks: Iterable[NDArray[np.float32]], *, channels: int) -> StoredSamples:
        """Keep `blocks`, each [samples, channels], in a row.

        Errors of `blocks` pass through, and nothing is kept then. Raises DasvddError where the disk is full.
        """
        offset = self._size_bytes
        rows = 0
        for block in blocks:
            self._write(np.ascontiguousarray(block, np.float32), offset + rows * _FLOAT_BYTES * channels)
            rows += len(block)
        self._size_bytes = offset + rows * _FLOAT_BYTES * channels
        return StoredSamples(self._file, offset, (rows, channels))

    def _write(self, block: NDArray[np.float32], position: int) -> None:
        content = block.data.cast("B") if block.size else memoryview(b"")
        try:
            while len(content):
                written = os.pwrite(self._file.fileno(), content, position)
                content, position = content[written:], position + written
        except OSError as error:
            place = self._folder or tempfile.gettempdir()
            raise DasvddError(
                f"{place}: the temporary file with the samples cannot grow beyond {position / 2**20:.0f} MiB "
                f"({error.strerror}). It takes 4 bytes a sample and channel: make room there, or train on less."
            ) from error
