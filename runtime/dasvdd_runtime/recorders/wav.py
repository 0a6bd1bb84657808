"""Sound -> 16-bit WAV files: a new file every so often, and after every gap."""

from __future__ import annotations

import wave
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..reading.pcm import to_int16
from .base import Recorder
from .growing_file import GrowingFile

SAMPLE_BYTES = 2
HEADER_BYTES = 36
"""Of a WAV file that count in its length."""
MOST_DATA_BYTES = 2**32 - 1 - HEADER_BYTES
"""That length has 32 bits."""


class WavRecorder(Recorder):
    """Full scale is 1.0; beyond it samples are clipped, and NaN becomes 0. No file is longer than WAV can be."""

    suffix = ".wav"

    def __init__(
        self,
        folder: Path,
        *,
        name: str,
        sample_rate_hz: int,
        channels: int,
        file_seconds: float,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Raises DasvddError if `folder` cannot be made."""
        super().__init__(folder, name=name, sample_rate_hz=sample_rate_hz, file_seconds=file_seconds, now=now)
        self.file_samples = min(self.file_samples, MOST_DATA_BYTES // (SAMPLE_BYTES * channels))
        self._channels = channels
        self._frame_rate_hz = sample_rate_hz
        self._wave: wave.Wave_write

    def _begin(self, file: GrowingFile) -> None:
        self._wave = wave.open(file, "wb")  # type: ignore[call-overload]  # noqa: SIM115 - it stays open between calls
        self._wave.setnchannels(self._channels)
        self._wave.setsampwidth(SAMPLE_BYTES)
        self._wave.setframerate(self._frame_rate_hz)

    def _append(self, samples: NDArray[np.float32]) -> None:
        self._wave.writeframes(to_int16(samples).tobytes())

    def _finish(self) -> None:
        self._wave.close()

    def _shows_gap(self, missing_samples: int) -> bool:
        return False
