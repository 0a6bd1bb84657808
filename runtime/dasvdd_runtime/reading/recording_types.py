"""What the readers of recordings share: the samples, the format of a table, and the error."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, InputMissing

Kind = Literal["audio", "sensor"]
"""Sound with full scale 1.0, or sensor rows in their units."""
RATE_TOLERANCE = 0.01
"""How far a rate that was given may lie from what a file says of itself."""


def used_channels(channel: str, channels: int) -> list[int]:
    """Which of `channels`, counted from 0, a model trained with `channel` listens to: the one named, or all."""
    if channel.isdecimal() and int(channel) < channels:
        return [int(channel)]
    return list(range(channels))


@dataclass(frozen=True)
class Signal:
    """The samples of a recording or of a part of one."""

    samples: NDArray[np.float32]
    """Shape [samples, channels]; audio with full scale 1.0, sensors in their units."""
    sample_rate_hz: float
    """Samples per second of each channel."""
    channel_names: tuple[str, ...]
    """Audio: 'channel 0', ...; tables: the header's names, or 'column 1', ..."""

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return len(self.samples) / self.sample_rate_hz


@dataclass(frozen=True)
class TableFormat:
    """How to read a time series. Raises ValueError for a sample rate that is not finite and above 0."""

    sample_rate_hz: float | None = None
    """Rows per second. A table that does not say it itself, by its times for instance, cannot be read without it."""
    channels: tuple[str, ...] = ()
    """Names from the header or 1-based positions, in the order wanted; () takes all numeric columns."""
    time_column: str = "auto"
    """Name or 1-based position of the rows' times; 'auto': a leading one by its name or cells; 'none': no times."""

    def __post_init__(self) -> None:
        if self.sample_rate_hz is not None and not 0 < self.sample_rate_hz < math.inf:
            raise ValueError(f"sample_rate_hz = {self.sample_rate_hz}: must be finite and above 0")

    @classmethod
    def for_channels(
        cls, channel_names: Sequence[str], *, sample_rate_hz: float, time_column: str = "auto"
    ) -> TableFormat:
        """How to read the columns that a model was trained on; a table without a header named its 'column 3'."""
        positions = tuple(name.removeprefix("column ") for name in channel_names)
        named = not all(map(str.isdecimal, positions))
        return cls(sample_rate_hz, tuple(channel_names) if named else positions, time_column)


class RecordingError(DataError):
    """A recording that cannot be used; the text is `<path>: <reason>`."""

    def __init__(self, path: str | Path, reason: str) -> None:
        super().__init__(path, reason)
        self.path = Path(path)
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


def require_file(path: Path) -> None:
    """Raises InputMissing if nothing is at `path`, RecordingError if it is a folder."""
    if path.is_dir():
        raise RecordingError(path, "this is a folder, a file is needed")
    if not path.exists():
        raise InputMissing(f"{path}: there is no such file. Check the path.")


@contextmanager
def operating_system_faults(path: Path) -> Iterator[None]:
    """An OSError while reading `path` (no permission, a failing disk) becomes a RecordingError."""
    try:
        yield
    except OSError as error:
        raise RecordingError(path, f"unreadable: {error.strerror or error}") from error


def part_in_samples(
    path: Path, start_seconds: float, end_seconds: float | None, sample_rate_hz: float
) -> tuple[int, int | None]:
    """First sample and the one after the last (None = to the end of the file) of a part given in seconds.

    Raises RecordingError for a part that is negative, empty or not finite.
    """
    end = math.inf if end_seconds is None else end_seconds
    if not 0 <= start_seconds < end or (end_seconds is not None and math.isinf(end)):
        raise RecordingError(path, f"the part from {start_seconds} s to {end_seconds} s is empty or negative")
    last = None if end_seconds is None else round(end_seconds * sample_rate_hz)
    first = round(start_seconds * sample_rate_hz)
    if last is not None and last <= first:
        raise RecordingError(
            path,
            f"the part from {start_seconds} s to {end_seconds} s is shorter than a sample at {sample_rate_hz:g} Hz",
        )
    return first, last


def part_outside(path: Path, start_seconds: float, end_seconds: float | None, held_seconds: float) -> RecordingError:
    """The error for a part that is not inside a file of `held_seconds`."""
    end = "the end" if end_seconds is None else f"{end_seconds:.3f} s"
    return RecordingError(
        path, f"the part from {start_seconds:.3f} s to {end} lies outside the file, which holds {held_seconds:.3f} s"
    )
