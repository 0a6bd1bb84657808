"""Rows of sensor values -> CSV files whose times `dasvdd-train` reads: a new file every so often, gaps are steps."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .base import Recorder
from .growing_file import GrowingFile

TIME_LABEL = "time"
FEWEST_ROWS = 100
"""A file does not end before it has so many rows: of a few, training learns neither a rate nor a machine."""
FINEST_DECIMALS = 9
"""Nanoseconds, in which times are read."""
NOT_FINITE = "of values that are not finite"


class RowRecorder(Recorder):
    """One header line, `time` and the channels; then a line a row, its time in seconds since the recording began.

    Times are counted from the rows at `sample_rate_hz`, lost ones included, so that setting a clock does not move them.
    A row with a value that is not finite is left out: its place is a gap. After a gap of unknown length comes a new
    file, since no step of the time could show it.
    """

    suffix = ".csv"

    def __init__(
        self,
        folder: Path,
        *,
        name: str,
        sample_rate_hz: float,
        channel_names: Sequence[str],
        file_seconds: float,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Raises DasvddError if `folder` cannot be made."""
        super().__init__(folder, name=name, sample_rate_hz=sample_rate_hz, file_seconds=file_seconds, now=now)
        self.file_samples = max(FEWEST_ROWS, self.file_samples)
        self.rows_left_out = 0
        """Rows with a value that is not finite."""
        header = io.StringIO()
        csv.writer(header, lineterminator="\n").writerow([TIME_LABEL, *channel_names])
        self._header = header.getvalue().encode()
        self._decimals = decimals_of(sample_rate_hz)
        self._output: GrowingFile

    def write(self, samples: NDArray[np.float32]) -> None:
        """Append the rows `samples` [rows, channels] that are finite. Raises as Recorder.write does."""
        finite: NDArray[np.bool_] = np.all(np.isfinite(samples), axis=1)
        for part in np.split(np.arange(len(samples)), np.flatnonzero(np.diff(finite)) + 1):
            if len(part) and finite[part[0]]:
                super().write(samples[part])
            elif len(part):
                self.rows_left_out += len(part)
                self.gap(len(part), NOT_FINITE)

    def _begin(self, file: GrowingFile) -> None:
        self._output = file
        file.write(self._header)

    def _append(self, samples: NDArray[np.float32]) -> None:
        first = self.stream_samples
        lines = (
            f"{(first + number) / self.sample_rate_hz:.{self._decimals}f},{','.join(map(str, row))}\n"
            for number, row in enumerate(samples)
        )
        self._output.write("".join(lines).encode())

    def _finish(self) -> None:
        """A file of lines is whole after each."""

    def _shows_gap(self, missing_samples: int) -> bool:
        return missing_samples > 0


def decimals_of(sample_rate_hz: float) -> int:
    """How many decimals of a second write the times of rows at `sample_rate_hz` exactly, nanoseconds at most."""
    step_seconds = 1 / sample_rate_hz
    exact = (n for n in range(FINEST_DECIMALS) if abs(round(step_seconds, n) * sample_rate_hz - 1) < 1e-9)
    return next(exact, FINEST_DECIMALS)
