"""Samples -> the rows that are kept of them: 16-bit samples, values as they are, or band levels."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..contract import ModelMetadata
from ..reading.pcm import to_int16
from ..running.snapshot import Keeps
from .bands import BandLevels
from .tables import Mode

SPEECHLESS_RATE_HZ = 100.0
"""Rows that come no faster hold nothing above 50 Hz, which is below any voice."""
AUDIO_STEP_SECONDS = 0.125
SENSOR_STEP_SECONDS = 1.0

Rows = NDArray[Any]
"""Shape [rows, columns]."""


class RowMaker(Protocol):
    """Makes rows of a stream."""

    suffix: str
    """Of the file that holds them; "" where the sidecar does."""
    row_samples: int
    """Samples of the stream behind each row."""
    keeps: Keeps

    def take(self, samples: NDArray[np.float32]) -> Rows:
        """The rows that `samples` [samples, channels], which follow those before, complete."""

    def restart(self) -> None:
        """The next samples do not follow those before."""


class PcmRows:
    """Audio as 16-bit samples: exact where the source gave 16 bits."""

    suffix = ".flac"
    row_samples = 1
    keeps: Keeps = "sound"

    def take(self, samples: NDArray[np.float32]) -> Rows:
        """int16 [samples, channels]."""
        return to_int16(samples)

    def restart(self) -> None:
        """Nothing is pending."""


class ValueRows:
    """Sensor rows as they are."""

    suffix = ".npz"
    row_samples = 1

    def __init__(self, rate_hz: float) -> None:
        self.keeps: Keeps = "values" if rate_hz <= SPEECHLESS_RATE_HZ else "sound"

    def take(self, samples: NDArray[np.float32]) -> Rows:
        """float32 [samples, channels], a copy."""
        return np.array(samples, np.float32)

    def restart(self) -> None:
        """Nothing is pending."""


class LevelRows:
    """Levels of coarse bands, a row a step. No sample outlives its step."""

    suffix = ""
    keeps: Keeps = "spectrogram"

    def __init__(self, bands: BandLevels, used_channels: list[int]) -> None:
        self.bands = bands
        self.row_samples = bands.step_samples
        self._used = used_channels
        self._pending = np.empty((0, len(used_channels)), np.float32)

    def take(self, samples: NDArray[np.float32]) -> Rows:
        """float32 [steps, used channels * bands], in dB."""
        arrived = np.concatenate([self._pending, samples[:, self._used]])
        steps = len(arrived) // self.row_samples
        whole, self._pending = arrived[: steps * self.row_samples], arrived[steps * self.row_samples :].copy()
        levels = self.bands.levels_db(whole.reshape(steps, self.row_samples, len(self._used)))
        return levels.reshape(steps, len(self._used) * self.bands.count)

    def restart(self) -> None:
        """Drop the step that was begun."""
        self._pending = self._pending[:0]


def make_rows(mode: Mode, metadata: ModelMetadata) -> RowMaker:
    """What is kept of a stream in `mode`, "audio" or "spectrogram"."""
    if metadata.kind == "sensor" and (mode == "audio" or metadata.sample_rate_hz <= SPEECHLESS_RATE_HZ):
        return ValueRows(metadata.sample_rate_hz)
    if mode == "audio":
        return PcmRows()
    step_seconds = AUDIO_STEP_SECONDS if metadata.kind == "audio" else SENSOR_STEP_SECONDS
    return LevelRows(BandLevels(metadata.sample_rate_hz, step_seconds=step_seconds), metadata.used_channels)
