"""Samples that another program pipes in: raw PCM, or CSV rows of sensor values."""

from __future__ import annotations

import os
import select
import sys
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .base import WAIT_SECONDS, Block

StdinFormat = Literal["s16le", "f32le", "csv"]
READ_BYTES = 65_536
MAX_LINE_BYTES = 1_000_000


class StdinSource:
    """Standard input at the model's sample rate. It is never dropped from: a full pipe makes the producer wait."""

    live = False

    def __init__(
        self,
        *,
        format: StdinFormat,
        sample_rate_hz: float,
        channel_names: list[str],
        file_descriptor: int | None = None,
    ) -> None:
        """`file_descriptor` is read in place of standard input."""
        self.sample_rate_hz = sample_rate_hz
        self._decoder: PcmDecoder | CsvDecoder
        if format == "csv":
            self._decoder = CsvDecoder(channel_names)
        else:
            self._decoder = PcmDecoder(format=format, channels=len(channel_names))
        self._file_descriptor = file_descriptor
        self._ended = False

    def open(self) -> None:
        """Look that there is a standard input. Raises DataError where the process has none."""
        if self._file_descriptor is None:
            if sys.stdin is None:
                raise DataError("standard input is closed: pipe samples into this program")
            self._file_descriptor = sys.stdin.fileno()

    def read(self) -> Block | None:
        """What has arrived, at most READ_BYTES. Raises DataError for a CSV that cannot hold the model's channels."""
        assert self._file_descriptor is not None, "open() comes first"
        if self._ended:
            return None
        ready, _, _ = select.select([self._file_descriptor], [], [], WAIT_SECONDS)
        if not ready:
            return Block(self._decoder.decode(b""))
        data = os.read(self._file_descriptor, READ_BYTES)
        self._ended = not data
        return Block(self._decoder.finish() if self._ended else self._decoder.decode(data))

    def close(self) -> None:
        """Nothing to release: the descriptor belongs to the process."""


class PcmDecoder:
    """Bytes of interleaved PCM, cut anywhere -> samples [n, channels] with full scale 1.0."""

    def __init__(self, *, format: Literal["s16le", "f32le"], channels: int) -> None:
        self._dtype = np.dtype("<i2" if format == "s16le" else "<f4")
        self._scale = 1 / 32768 if format == "s16le" else 1.0
        self._channels = channels
        self._pending = b""

    def decode(self, data: bytes) -> NDArray[np.float32]:
        """Whole samples so far; a cut one waits for its rest."""
        data = self._pending + data
        whole = len(data) - len(data) % (self._dtype.itemsize * self._channels)
        self._pending = data[whole:]
        values = np.frombuffer(data[:whole], self._dtype).reshape(-1, self._channels).astype(np.float32)
        return values * np.float32(self._scale)

    def finish(self) -> NDArray[np.float32]:
        """Nothing: half a sample is none."""
        return np.empty((0, self._channels), np.float32)


class CsvDecoder:
    """Lines of comma, semicolon or tab separated numbers, cut anywhere -> rows [n, channels].

    A first line that is not numeric is a header, from which the model's channels are picked by name; without one, or
    where it does not name them, the columns must be the model's channels in order. A cell that is not a number, and
    a row of another length, become NaN: the windows with it are a fault of the source, and monitoring goes on.
    """

    def __init__(self, channel_names: list[str]) -> None:
        self._channel_names = channel_names
        self._pending = b""
        self._delimiter = ","
        self._width = 0
        self._columns: list[int] = []

    def decode(self, data: bytes) -> NDArray[np.float32]:
        """The rows that `data` completes. Raises DataError if the first line cannot hold the model's channels."""
        *lines, self._pending = (self._pending + data).split(b"\n")
        if len(self._pending) > MAX_LINE_BYTES:
            lines, self._pending = [*lines, self._pending], b""
        rows = [row for line in lines if (row := self._row(line)) is not None]
        return np.array(rows, np.float32).reshape(-1, len(self._channel_names))

    def finish(self) -> NDArray[np.float32]:
        """The last row, if no line feed ended it."""
        return self.decode(b"\n")

    def _row(self, line: bytes) -> list[float] | None:
        """The model's channels of one line; None for an empty line and for the header."""
        text = line.decode("utf-8", errors="replace").strip("\r \ufeff")
        if not text:
            return None
        if not self._columns:
            self._delimiter = max(",;\t", key=text.count)
            cells = self._cells(text)
            self._width = len(cells)
            self._columns = self._choose_columns(cells)
            if not all(_is_number(cell) for cell in cells):
                return None
        cells = self._cells(text)
        if len(cells) != self._width:
            return [float("nan")] * len(self._columns)
        return [_number(cells[column]) for column in self._columns]

    def _cells(self, text: str) -> list[str]:
        return [cell.strip(' "') for cell in text.split(self._delimiter)]

    def _choose_columns(self, cells: list[str]) -> list[int]:
        if all(name in cells for name in self._channel_names):
            return [cells.index(name) for name in self._channel_names]
        if len(cells) == len(self._channel_names):
            return list(range(len(cells)))
        raise DataError(
            f"standard input: the first line has {len(cells)} columns ({', '.join(cells[:8])}), but the model takes "
            f"{len(self._channel_names)} ({', '.join(self._channel_names)}). "
            "Send a header line with these names, or these columns alone."
        )


def _number(cell: str) -> float:
    """The number in `cell`, or NaN."""
    try:
        return float(cell)
    except ValueError:
        return float("nan")


def _is_number(cell: str) -> bool:
    return cell == "" or cell.lower() == "nan" or not np.isnan(_number(cell))
