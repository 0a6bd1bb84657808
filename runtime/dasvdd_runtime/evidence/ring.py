"""The newest rows of a stream, in the blocks in which they came. Holds what it was not told to forget."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from .rows import Rows


@dataclass(frozen=True)
class Block:
    """Rows that follow each other."""

    first_sample: int
    """Index, in the stream, of the sample with which the first row begins."""
    rows: Rows


class Ring:
    """Rows by their place in the stream, where each row stands for `row_samples` samples."""

    def __init__(self, row_samples: int) -> None:
        self.end = 0
        """The sample after the newest row, or where the stream went on after a gap."""
        self._row_samples = row_samples
        self._blocks: deque[Block] = deque()

    def add(self, rows: Rows) -> None:
        """Rows that follow at `end`."""
        if len(rows):
            self._blocks.append(Block(self.end, rows))
            self.end += len(rows) * self._row_samples

    def jump(self, sample: int) -> None:
        """The stream goes on at `sample`."""
        self.end = sample

    def part(self, start: int, end: int) -> list[Block]:
        """The rows that begin at the sample `start` or later, and before `end`."""
        parts = []
        for block in self._blocks:
            first, last = self._row_at(block, start), self._row_at(block, end)
            if first < last:
                parts.append(Block(block.first_sample + first * self._row_samples, block.rows[first:last]))
        return parts

    def forget(self, before: int) -> None:
        """Drop the blocks of which all rows begin before the sample `before`."""
        while self._blocks and self._row_at(self._blocks[0], before) == len(self._blocks[0].rows):
            self._blocks.popleft()

    @property
    def nbytes(self) -> int:
        """Memory that the rows take."""
        return sum(block.rows.nbytes for block in self._blocks)

    def _row_at(self, block: Block, sample: int) -> int:
        """The first row of `block` that begins at `sample` or later."""
        rows = -(-(sample - block.first_sample) // self._row_samples)
        return min(max(rows, 0), len(block.rows))
