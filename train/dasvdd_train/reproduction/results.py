"""Results on disk: one JSON line a finished cell, and its test scores beside it. An interrupted run loses nothing."""

from __future__ import annotations

import dataclasses
import io
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from dasvdd_runtime.errors import DasvddError
from dasvdd_runtime.files import write_atomically
from numpy.typing import NDArray

from .cells import Cell

FILE = "results.jsonl"


@dataclass(frozen=True)
class Result:
    """What a finished cell found."""

    key: str
    dataset: str
    class_name: str
    method: str
    seed: int
    settings: dict[str, Any]
    auc: float
    """Percent."""
    auc_reconstruction: float | None
    """Of the reconstruction error alone, percent."""
    auc_center: float | None
    """Of the center distance alone, percent."""
    gamma: float | None
    features: int
    train_rows: int
    test_items: int
    seconds: float
    """Training and scoring."""
    device: str
    version: str
    """Of this project."""


class Results:
    """The finished cells in the folder `out`. Lines are only ever appended, each in one write."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.damaged_lines = 0
        """Lines that could not be read; their cells are run again."""
        self._by_key: dict[str, Result] = {}
        path = out / FILE
        content = path.read_bytes() if path.exists() else b""
        self._unfinished_line = bool(content) and not content.endswith(b"\n")
        for line in content.splitlines():
            try:
                result = Result(**json.loads(line))
            except (ValueError, TypeError):
                self.damaged_lines += 1
            else:
                self._by_key[result.key] = result

    def get(self, cell: Cell) -> Result | None:
        """The result of `cell`, or None while it is not finished; its scores must be there as well."""
        result = self._by_key.get(cell.key)
        return result if result is not None and self._arrays_path(cell).exists() else None

    def all(self) -> list[Result]:
        """Every finished cell, also those of other experiments."""
        return list(self._by_key.values())

    def add(self, cell: Cell, result: Result, **arrays: NDArray[Any]) -> None:
        """Keep the result and `arrays` of `cell`. Raises DasvddError where they cannot be written."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **arrays)
        write_atomically(self._arrays_path(cell), buffer.getvalue())
        line = (json.dumps(dataclasses.asdict(result)) + "\n").encode()
        # A run that was killed while it wrote left a part of a line: end it, so that it spoils no other.
        line = b"\n" + line if self._unfinished_line else line
        try:
            handle = os.open(self.out / FILE, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
            try:
                written = os.write(handle, line)
                os.fsync(handle)
            finally:
                os.close(handle)
        except OSError as error:
            raise DasvddError(f"{self.out / FILE}: cannot be written ({error.strerror}). Make room.") from error
        if written < len(line):
            raise DasvddError(f"{self.out / FILE}: only {written} of {len(line)} bytes could be written. Make room.")
        self._unfinished_line = False
        self._by_key[result.key] = result

    def arrays(self, cell: Cell) -> dict[str, NDArray[Any]]:
        """The arrays that `add` kept for a finished `cell`."""
        with np.load(self._arrays_path(cell), allow_pickle=False) as file:
            return {name: file[name] for name in file.files}

    def _arrays_path(self, cell: Cell) -> Path:
        return self.out / "scores" / f"{cell.key}.npz"
