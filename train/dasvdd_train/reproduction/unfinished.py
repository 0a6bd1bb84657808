"""Stacks of models whose training was interrupted: each goes on as the stack that it was, so that nothing changes."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

from dasvdd_runtime.errors import ConfigError, ModelError
from dasvdd_runtime.words import count

from ..checkpoint import Checkpoint, run_in
from .cells import Cell
from .results import Results
from .training import Job, parameters

FOLDER = "unfinished"
EVERY_SECONDS = 60.0
"""A stack's state is written after its first epoch and then so often."""
LARGEST_BYTES = 2 << 30
"""Larger stacks, of many models on a GPU, are not kept: writing them would take longer than it saves."""


class Unfinished:
    """The interrupted stacks in the folder of `results`, trained on `device`; `say` is told which go on or are lost."""

    def __init__(self, results: Results, device: str, say: Callable[[str], None]) -> None:
        self._results = results
        self._folder = results.out / FOLDER
        self._device = device
        self._say = say

    def stacks(self, cells: Sequence[Cell]) -> list[list[Cell]]:
        """The cells of each stack that was interrupted on this device, with its finished ones.

        Those of which all cells are among `cells`; others are left for the command that began them. What belongs to
        finished cells alone, or is damaged, is removed.
        """
        wanted = {cell.key: cell for cell in cells}
        found = []
        for path in sorted(self._folder.glob("*.pt")):
            try:
                run = run_in(path)
            except ModelError as error:
                self._lost(path, error)
                continue
            stack = [wanted[key] for key in run["cells"] if key in wanted]
            if len(stack) < len(run["cells"]) or run["device"] != self._device:
                continue
            if all(map(self._results.get, stack)):
                path.unlink(missing_ok=True)
            else:
                found.append(stack)
        return found

    def checkpoint(self, cells: Sequence[Cell], jobs: Sequence[Job]) -> Checkpoint | None:
        """Where the stack of `cells`, trained by `jobs`, is kept and may go on from; None for one that is too large."""
        # Parameters and two moments, each 4 bytes.
        if 12 * parameters(jobs[0].recipe) * len(jobs) > LARGEST_BYTES:
            return None
        keys = [cell.key for cell in cells]
        rows = {id(job.rows): zlib.crc32(job.rows.tobytes()) for job in jobs}
        run = {"cells": keys, "device": self._device, "rows": [rows[id(job.rows)] for job in jobs]}
        name = hashlib.sha256(" ".join([self._device, *keys]).encode()).hexdigest()[:16]
        checkpoint = Checkpoint(self._folder / f"{name}.pt", run, every_seconds=EVERY_SECONDS)
        if checkpoint.exists():
            try:
                done = len(checkpoint.history())
            except (ModelError, ConfigError) as error:
                self._lost(checkpoint.path, error)
            else:
                self._say(
                    f"going on after epoch {done} with {count(len(cells), 'model')} whose training was interrupted"
                )
        return checkpoint

    def _lost(self, path: Path, error: Exception) -> None:
        self._say(f"warning: {error} It was removed, and its models are trained from the beginning.")
        path.unlink(missing_ok=True)
