"""The newest rows of a stream, in one array that is written round and round: nothing is allocated while time passes."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from .rows import Rows


@dataclass(frozen=True)
class Block:
    """Rows that follow each other."""

    first_sample: int
    """Index, in the stream, of the sample with which the first row begins."""
    rows: Rows


class Ring:
    """Rows by their place in the stream, where each row stands for `row_samples` samples.

    Holds what it was not told to forget, and grows where that is more than `capacity` rows.
    """

    def __init__(self, row_samples: int, *, capacity: int) -> None:
        self.end = 0
        """The sample after the newest row, or where the stream went on after a gap."""
        self._row_samples = row_samples
        self._capacity = max(1, capacity)
        self._store: Rows | None = None
        # Rows are numbered from the first that ever came; a piece is what follows without a gap.
        self._oldest = self._next = 0
        self._pieces: deque[tuple[int, int]] = deque()

    def add(self, rows: Rows) -> None:
        """Rows that follow at `end`."""
        if not len(rows):
            return
        self._make_room(rows)
        if not self._pieces or self._place(self._pieces[-1], self._next) != self.end:
            self._pieces.append((self.end, self._next))
        assert self._store is not None
        at = np.arange(self._next, self._next + len(rows)) % len(self._store)
        self._store[at] = rows
        self._next += len(rows)
        self.end += len(rows) * self._row_samples

    def jump(self, sample: int) -> None:
        """The stream goes on at `sample`."""
        self.end = sample

    def part(self, start: int, end: int) -> list[Block]:
        """Copies of the rows that begin at the sample `start` or later, and before `end`."""
        parts = []
        for i, piece in enumerate(self._pieces):
            end_row = self._pieces[i + 1][1] if i + 1 < len(self._pieces) else self._next
            first, last = self._row_at(piece, start, end_row), self._row_at(piece, end, end_row)
            if first < last:
                parts.append(Block(self._place(piece, first), self._copied(first, last)))
        return parts

    def forget(self, before: int) -> None:
        """Drop the rows that begin before the sample `before`."""
        while self._pieces:
            end_row = self._pieces[1][1] if len(self._pieces) > 1 else self._next
            self._oldest = self._row_at(self._pieces[0], before, end_row)
            if self._oldest < end_row:
                return
            self._pieces.popleft()

    @property
    def nbytes(self) -> int:
        """Memory that the rows take."""
        return 0 if self._store is None else self._store.nbytes

    def _make_room(self, rows: Rows) -> None:
        needed = self._next - self._oldest + len(rows)
        if self._store is None:
            self._store = np.empty((max(self._capacity, needed), rows.shape[1]), rows.dtype)
        elif needed > len(self._store):
            larger = np.empty((needed * 5 // 4, rows.shape[1]), rows.dtype)
            kept = np.arange(self._oldest, self._next)
            larger[kept % len(larger)] = self._store[kept % len(self._store)]
            self._store = larger

    def _copied(self, first: int, last: int) -> Rows:
        assert self._store is not None
        return self._store[np.arange(first, last) % len(self._store)]

    def _place(self, piece: tuple[int, int], row: int) -> int:
        """The sample with which `row` of `piece` begins."""
        return piece[0] + (row - piece[1]) * self._row_samples

    def _row_at(self, piece: tuple[int, int], sample: int, end_row: int) -> int:
        """The first row of `piece` that is kept and begins at `sample` or later; `end_row` where none does."""
        row = piece[1] - (piece[0] - sample) // self._row_samples
        return min(max(row, piece[1], self._oldest), end_row)
