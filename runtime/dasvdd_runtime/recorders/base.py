"""What recorders of sound and of rows share: names and length of files, gaps, a full disk."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import DasvddError
from .growing_file import GrowingFile


@dataclass(frozen=True)
class Gap:
    """A place where samples are missing."""

    start_seconds: float
    """Seconds since the recording began, gaps before it included."""
    lost_seconds: float
    """0 where the device said only that it lost samples."""
    reason: str = "lost"
    """Why they are missing."""


class Recorder(ABC):
    """Writes files named NAME-<UTC start>SUFFIX; each gets its name once it is whole."""

    suffix: str

    def __init__(
        self,
        folder: Path,
        *,
        name: str,
        sample_rate_hz: float,
        file_seconds: float,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Raises DasvddError if `folder` cannot be made."""
        self.files: list[Path] = []
        """Files that are whole."""
        self.gaps: list[Gap] = []
        self.recorded_samples = 0
        self.sample_rate_hz = sample_rate_hz
        self.file_samples = max(1, round(file_seconds * sample_rate_hz))
        self._folder = folder
        self._name = name
        self._now = now
        self._missing_samples = 0
        self._at_gap = False
        """Nothing has come since the last gap."""
        self._file: GrowingFile | None = None
        self._samples_in_file = 0
        self._path = folder
        self._made = [path for path in (folder, *folder.parents) if not path.exists()]
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            self.end()
            raise DasvddError(f"{folder}: {error.strerror}; choose another folder with --out") from error

    @property
    def stream_seconds(self) -> float:
        """Length of the recording so far, gaps included."""
        return self.stream_samples / self.sample_rate_hz

    @property
    def stream_samples(self) -> int:
        """Samples of the recording so far, those of gaps included."""
        return self.recorded_samples + self._missing_samples

    def gap(self, missing_samples: int, reason: str = "lost") -> None:
        """The next samples do not follow those before: `missing_samples` are missing (0: unknown)."""
        start_seconds, lost_seconds = self.stream_seconds, missing_samples / self.sample_rate_hz
        if self._at_gap and self.gaps[-1].reason == reason:
            before = self.gaps.pop()
            start_seconds, lost_seconds = before.start_seconds, before.lost_seconds + lost_seconds
        self.gaps.append(Gap(start_seconds, lost_seconds, reason))
        self._at_gap = True
        self._missing_samples += missing_samples
        if not self._shows_gap(missing_samples):
            self.close()

    def write(self, samples: NDArray[np.float32]) -> None:
        """Append `samples` [samples, channels]: sound with full scale 1.0, rows in their units.

        Raises DasvddError if the disk does not take them; what was written before is kept.
        """
        try:
            while len(samples):
                if self._file is None:
                    self._open(len(samples))
                assert self._file is not None
                part = samples[: self.file_samples - self._samples_in_file]
                self._append(part)
                self._at_gap = False
                self.recorded_samples += len(part)
                self._samples_in_file += len(part)
                samples = samples[len(part) :]
                if self._samples_in_file >= self.file_samples:
                    self._close()
        except OSError as error:
            fault = f"{self._path}: {error.strerror} after {self.stream_seconds:.1f} s"
            self.close()
            raise DasvddError(f"{fault}; make room and record again. What was recorded is kept.") from error

    def close(self) -> None:
        """Finish the file that is being written. Recording may go on, in a new one.

        Raises DasvddError if the disk does not take its end; the file then stays as .partial.
        """
        try:
            self._close()
        except OSError as error:
            raise DasvddError(f"{self._path}.partial: {error.strerror}; it could not be finished") from error

    def end(self) -> None:
        """Recording is over: folders that were made for it and hold nothing are removed."""
        with contextlib.suppress(OSError):
            for folder in self._made:
                folder.rmdir()

    @abstractmethod
    def _begin(self, file: GrowingFile) -> None:
        """Write what stands before the samples."""

    @abstractmethod
    def _append(self, samples: NDArray[np.float32]) -> None:
        """Write `samples`, whose first is number `stream_samples` of the recording. Raises OSError."""

    @abstractmethod
    def _finish(self) -> None:
        """Make the file whole."""

    @abstractmethod
    def _shows_gap(self, missing_samples: int) -> bool:
        """A file can go on after such a gap, since it shows it."""

    def _open(self, arrived_samples: int) -> None:
        """Begin a file with the first of the `arrived_samples` that have just arrived."""
        start = self._now() - timedelta(seconds=arrived_samples / self.sample_rate_hz)
        stem = f"{self._name}-{start.astimezone(UTC):%Y%m%dT%H%M%S}.{start.microsecond // 1000:03d}Z"
        self._path = self._folder / f"{stem}{self.suffix}"
        self._file = GrowingFile(self._path)
        self._samples_in_file = 0
        self._begin(self._file)

    def _close(self) -> None:
        if self._file is None:
            return
        file, self._file = self._file, None
        if self._samples_in_file:
            self._finish()
            self.files.append(file.keep())
            return
        with contextlib.suppress(OSError):
            self._finish()
        file.discard()
