"""`dasvdd-monitor record` as a child, rows for it, and its files as training reads them."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
from dasvdd_runtime.recordings import open_pieces
from numpy.typing import NDArray

RECORD = "from dasvdd_runtime.cli import main; main()"


def some_rows(rows: int, channels: int = 2, seed: int = 5) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((rows, channels)).astype(np.float32)


def pieces_of(path: Path) -> list[tuple[float, NDArray[np.float32]]]:
    """Start in seconds and rows of each piece, as training reads them."""
    return [(piece.start_seconds, np.concatenate(list(piece.blocks))) for piece in open_pieces(path)]


def header_of(path: Path) -> str:
    return path.read_text().splitlines()[0]


def wait_for(condition: Callable[[], bool], *, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


class Recording:
    """`record` as a child on a monitor.toml with one source. `program`: the Python that runs it."""

    def __init__(self, folder: Path, source: str, *arguments: str, program: str = RECORD) -> None:
        config = folder / "monitor.toml"
        config.write_text(f'[model]\npath = "model.onnx"\n[[source]]\nname = "fan"\n{source}\n')
        self.out = folder / "out"
        self.process = subprocess.Popen(
            [sys.executable, "-c", program, "record", "--config", str(config), "--out", str(self.out), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def size(self) -> int:
        """Bytes recorded so far."""
        return sum(path.stat().st_size for path in self.out.iterdir()) if self.out.exists() else 0

    def reads(self, path: Path) -> bool:
        """It has `path` open."""
        with suppress(OSError):  # it opens and closes files meanwhile
            return any(each.samefile(path) for each in Path(f"/proc/{self.process.pid}/fd").iterdir())
        return False

    def end(self, number: int | None = signal.SIGINT) -> tuple[int, list[Path], str]:
        """The exit code, the files and what was said; ended by a signal, or by itself."""
        if number is not None:
            self.process.send_signal(number)
        out, errors = self.process.communicate(timeout=60)
        return self.process.returncode, [Path(line) for line in out.splitlines()], errors
