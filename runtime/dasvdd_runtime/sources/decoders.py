"""Bytes of a pipe, cut anywhere -> samples: raw PCM, or CSV rows of sensor values."""

from __future__ import annotations

import logging
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..logs import about
from .csv_rows import CsvReader

log = logging.getLogger(__name__)

PipeFormat = Literal["s16le", "f32le", "csv"]
HEADER_BYTES = 4
AUDIO_HEADERS = {b"RIFF": "WAV", b"RF64": "WAV", b"RIFX": "WAV", b"fLaC": "FLAC", b"OggS": "OGG", b"FORM": "AIFF"}
LEAST_JUDGED_SAMPLES = 100
LARGEST_VALUE = 1e12
ABSURD_SHARE = 0.1
USUAL_NAN_BITS = np.array([0x7FC00000, 0xFFC00000], np.uint32)
"""NaN as arithmetic and parsers make it, of either sign."""


class Decoder(Protocol):
    """Bytes, cut anywhere -> samples [n, channels]. `decode` and `finish` raise DataError."""

    def decode(self, data: bytes) -> NDArray[np.float32]:
        """The samples that `data` completes."""

    def finish(self) -> NDArray[np.float32]:
        """What is left at the end."""


def make_decoder(format: PipeFormat, channel_names: list[str], *, label: str) -> Decoder:
    """The decoder of a stream that begins. `label`: what the log calls the stream."""
    if format == "csv":
        return CsvDecoder(channel_names, label=label)
    return PcmDecoder(format=format, channels=len(channel_names))


class PcmDecoder:
    """Bytes of interleaved PCM, cut anywhere -> samples [n, channels] with full scale 1.0."""

    def __init__(self, *, format: Literal["s16le", "f32le"], channels: int) -> None:
        self._dtype = np.dtype("<i2" if format == "s16le" else "<f4")
        self._scale = 1 / 32768 if format == "s16le" else 1.0
        self._channels = channels
        self._pending = b""
        self._begun = False

    def decode(self, data: bytes) -> NDArray[np.float32]:
        """Whole samples so far; a cut one waits for its rest.

        Raises DataError where the stream begins like an audio file, or where f32le cannot be what it holds.
        """
        data = self._pending + data
        if not self._begun and len(data) < HEADER_BYTES:
            self._pending = data
            return self._none
        if not self._begun:
            self._begun = True
            _refuse_header(data[:HEADER_BYTES])
        whole = len(data) - len(data) % (self._dtype.itemsize * self._channels)
        self._pending = data[whole:]
        values = np.frombuffer(data[:whole], self._dtype).reshape(-1, self._channels).astype(np.float32)
        if self._dtype.kind == "f":
            _refuse_what_is_no_float(values)
        return values * np.float32(self._scale)

    def finish(self) -> NDArray[np.float32]:
        """What is left of a stream that was too short to show how it begins; half a sample is none."""
        if self._begun:
            return self._none
        self._begun = True
        return self.decode(b"")

    @property
    def _none(self) -> NDArray[np.float32]:
        return np.empty((0, self._channels), np.float32)


class CsvDecoder:
    """Lines of comma, semicolon or tab separated numbers, cut anywhere -> rows [n, channels]; see CsvReader."""

    def __init__(self, channel_names: list[str], *, label: str = "CSV") -> None:
        self._label = label
        self._channels = len(channel_names)
        self._reader = CsvReader(channel_names, tell=self._tell)

    def decode(self, data: bytes) -> NDArray[np.float32]:
        """The rows that `data` completes. Raises DataError as CsvReader does."""
        rows = self._reader.rows(data)
        for row in rows:
            if row.fault:
                self._tell(f"{row.fault}; it counts as not finite")
        return np.array([row.values for row in rows], np.float32).reshape(-1, self._channels)

    def finish(self) -> NDArray[np.float32]:
        """The last row, if no line feed ended it."""
        return self.decode(b"\n")

    def _tell(self, line: str) -> None:
        log.warning("%s: %s", self._label, line, extra=about(self._label))


def _refuse_header(start: bytes) -> None:
    """Raise DataError if a raw stream begins with the header of an audio file, which would be heard as a click."""
    name = AUDIO_HEADERS.get(start)
    if name is not None:
        raise DataError(
            f"the stream begins with the header of a {name} file, but raw samples are wanted. "
            "Send them without a header: arecord -t raw, sox ... -t raw -, or ffmpeg ... -f s16le -."
        )


def _refuse_what_is_no_float(values: NDArray[np.float32]) -> None:
    """Raise DataError if many `values` cannot be measurements: most likely integers that were declared as f32le.

    Of 16-bit sound read as floats, the negative half becomes values beyond any unit, or NaN as no arithmetic makes it.
    """
    if len(values) < LEAST_JUDGED_SAMPLES:
        return
    made_up_nan = np.isnan(values) & ~np.isin(values.view(np.uint32), USUAL_NAN_BITS)
    absurd = float(np.mean(made_up_nan | (np.isfinite(values) & (np.abs(values) > LARGEST_VALUE))))
    if absurd > ABSURD_SHARE:
        raise DataError(
            f"{100 * absurd:.0f} % of the f32le values are beyond {LARGEST_VALUE:g} or no numbers, at most "
            f'{100 * ABSURD_SHARE:.0f} % may be: these are not 32-bit floats. 16-bit samples need format = "s16le".'
        )
