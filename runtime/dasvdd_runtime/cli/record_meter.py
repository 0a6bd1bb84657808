"""What `dasvdd-monitor record` shows while it records."""

from __future__ import annotations

import math
import shutil
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence

import click
import numpy as np
from numpy.typing import NDArray

from ..condition.levels import level_dbfs

TERMINAL_SECONDS = 0.2
PLAIN_LINE_SECONDS = 10.0
METER_DBFS = 60.0
"""The meter's left end, below full scale."""
METER_WIDTH = 30


class Meter(ABC):
    """The newest samples on one line that is written over in a terminal, else on a line every PLAIN_LINE_SECONDS."""

    def __init__(self, seconds: float) -> None:
        """`seconds`: how long is to be recorded."""
        self._seconds = seconds
        self._in_terminal = sys.stderr.isatty()
        self._next_seconds = 0.0
        self._line_length = 0

    def show(self, samples: NDArray[np.float32], stream_seconds: float) -> None:
        """Show `samples` [samples, channels], not more often than is readable."""
        if time.monotonic() < self._next_seconds:
            return
        self._next_seconds = time.monotonic() + (TERMINAL_SECONDS if self._in_terminal else PLAIN_LINE_SECONDS)
        line = f"{_clock(stream_seconds)} of {_clock(self._seconds)}  {self._words(samples)}"
        if not self._in_terminal:
            click.echo(line, err=True)
            return
        line = (self._bar(samples) + line)[: shutil.get_terminal_size().columns - 1]
        click.echo(f"\r{line:{self._line_length}}", nl=False, err=True)
        self._line_length = len(line)

    def end(self) -> None:
        """Begin a new line."""
        if self._line_length:
            click.echo(err=True)
            self._line_length = 0

    @abstractmethod
    def _words(self, samples: NDArray[np.float32]) -> str:
        """What there is to say of `samples`."""

    def _bar(self, samples: NDArray[np.float32]) -> str:
        """What a terminal shows before it."""
        return ""


class LevelMeter(Meter):
    """Of sound: level and peak."""

    def _words(self, samples: NDArray[np.float32]) -> str:
        peak = _dbfs(float(np.max(np.abs(samples))))
        return f"level {level_dbfs(samples):6.1f} dBFS  peak {peak:6.1f} dBFS"

    def _bar(self, samples: NDArray[np.float32]) -> str:
        level = level_dbfs(samples)
        filled = round(METER_WIDTH * min(1.0, max(0.0, 1 + level / METER_DBFS))) if math.isfinite(level) else 0
        return f"[{'#' * filled:{METER_WIDTH}}]  "


class ValueMeter(Meter):
    """Of rows: the newest value of each channel."""

    def __init__(self, seconds: float, *, channel_names: Sequence[str], units: Sequence[str]) -> None:
        """`units`: empty where it is not known."""
        super().__init__(seconds)
        self._channels = [(name, f" {unit}" if unit else "") for name, unit in zip(channel_names, units, strict=True)]

    def _words(self, samples: NDArray[np.float32]) -> str:
        newest = zip(self._channels, samples[-1], strict=True)
        return "  ".join(f"{name} {value:.4g}{unit}" for (name, unit), value in newest)


def _dbfs(amplitude: float) -> float:
    return 20 * math.log10(amplitude) if amplitude > 0 else -math.inf


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 3600:d}:{int(seconds) // 60 % 60:02d}:{int(seconds) % 60:02d}"
