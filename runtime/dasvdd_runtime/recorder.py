"""A captured stream -> WAV files for training: a new file every so often, and after every gap."""

from __future__ import annotations

import os
import wave
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from .errors import DasvddError
from .pcm import to_int16


@dataclass(frozen=True)
class Gap:
    """A place where samples are missing."""

    start_seconds: float
    """Seconds since the recording began, gaps before it included."""
    lost_seconds: float
    """0 where the device said only that it lost samples."""


class Recorder:
    """Writes 16-bit WAV files named NAME-<UTC start>.wav; each gets its name once it is whole."""

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
        self.files: list[Path] = []
        """Files that are whole."""
        self.gaps: list[Gap] = []
        self.recorded_samples = 0
        self._folder = folder
        self._name = name
        self._sample_rate_hz = sample_rate_hz
        self._channels = channels
        self._file_samples = round(file_seconds * sample_rate_hz)
        self._now = now
        self._missing_samples = 0
        self._wave: wave.Wave_write | None = None
        self._raw: BinaryIO | None = None
        self._path = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DasvddError(f"{folder}: {error.strerror}; choose another folder with --out") from error

    @property
    def stream_seconds(self) -> float:
        """Length of the recording so far, gaps included."""
        return self.stream_samples / self._sample_rate_hz

    @property
    def stream_samples(self) -> int:
        """Samples of the recording so far, those of gaps included."""
        return self.recorded_samples + self._missing_samples

    def gap(self, missing_samples: int) -> None:
        """The next samples do not follow those before: `missing_samples` are lost (0: unknown)."""
        self.gaps.append(Gap(self.stream_seconds, missing_samples / self._sample_rate_hz))
        self._missing_samples += missing_samples
        self.close()

    def write(self, samples: NDArray[np.float32]) -> None:
        """Append `samples` [samples, channels], full scale 1.0; beyond it they are clipped, NaN becomes 0.

        Raises DasvddError if the disk does not take them; what was written before is kept.
        """
        pcm = to_int16(samples)
        try:
            while len(pcm):
                if self._wave is None:
                    self._open(len(pcm))
                assert self._wave is not None
                room = self._file_samples - self._wave.getnframes()
                self._wave.writeframes(pcm[:room].tobytes())
                self.recorded_samples += min(room, len(pcm))
                pcm = pcm[room:]
                if self._wave.getnframes() >= self._file_samples:
                    self.close()
        except OSError as error:
            fault = f"{self._path}: {error.strerror} after {self.stream_seconds:.1f} s"
            self._keep()
            raise DasvddError(f"{fault}; make room and record again. What was recorded is kept.") from error

    def close(self) -> None:
        """Finish the file that is being written. Recording may go on, in a new one."""
        if self._wave is not None:
            self._wave.close()
            self._keep()

    def _open(self, arrived_samples: int) -> None:
        """Begin a file with the first of the `arrived_samples` that have just arrived."""
        start = self._now() - timedelta(seconds=arrived_samples / self._sample_rate_hz)
        stem = f"{self._name}-{start.astimezone(UTC):%Y%m%dT%H%M%S}.{start.microsecond // 1000:03d}Z"
        self._path = self._folder / f"{stem}.wav"
        self._raw = self._partial().open("xb")
        self._wave = wave.open(self._raw, "wb")  # noqa: SIM115 - it stays open between calls
        self._wave.setnchannels(self._channels)
        self._wave.setsampwidth(2)
        self._wave.setframerate(self._sample_rate_hz)

    def _partial(self) -> Path:
        """The name of the file while it is being written; a crash leaves it behind, playable."""
        return self._path.with_name(f"{self._path.name}.partial")

    def _keep(self) -> None:
        """Give the file its name."""
        self._wave = None
        if self._raw is not None:
            raw, self._raw = self._raw, None
            os.fsync(raw.fileno())
            raw.close()
            self._partial().rename(self._path)
            self.files.append(self._path)
