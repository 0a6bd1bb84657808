"""Does a WAV file hold the audio data that its header promises? libsndfile shortens it without a word.

Sources: Multimedia Programming Interface and Data Specifications 1.0 (RIFF, 1991); EBU Tech 3306 (RF64).
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from .recording_types import RecordingError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


@dataclass(frozen=True)
class _DataChunk:
    size_position: int
    """Where in the file the 32-bit size of the audio data stands."""
    promised_bytes: int
    held_bytes: int
    bytes_per_second: int
    """From the format chunk; 0 if it does not say."""


def check_wav_is_whole(path: Path) -> int | None:
    """Compare the size of the audio data in the header of `path` (RIFF, RIFX or RF64) with the file's.

    Returns None for a whole file. A program that was stopped, or wrote to a pipe, may have left the size at 0 although
    samples follow: such a file is as long as it is, and the return value is the position of the size, for
    `DataSizeFilledIn`. Raises RecordingError for a file that is truncated, empty or no WAV file.
    """
    with path.open("rb") as file:
        data = _find_data_chunk(path, file)
    if data.promised_bytes == 0:
        return data.size_position
    if data.held_bytes < data.promised_bytes and not _means_unknown(data.promised_bytes):
        missing = f"({data.promised_bytes - data.held_bytes} bytes are missing)"
        if data.bytes_per_second == 0:
            raise RecordingError(path, f"truncated: the header promises {data.promised_bytes} bytes {missing}")
        promised, held = (size / data.bytes_per_second for size in (data.promised_bytes, data.held_bytes))
        raise RecordingError(
            path, f"truncated: the header promises {promised:.2f} s, the file holds {held:.2f} s {missing}"
        )
    return None


class DataSizeFilledIn(io.FileIO):
    """A file that reads as if the size at `position` were 0xFFFFFFFF, which libsndfile takes for 'to the end'."""

    def __init__(self, path: Path, position: int) -> None:
        super().__init__(path, "rb")
        self._position = position

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fill `buffer` from the file and return how many bytes were read."""
        start = self.tell()
        count = super().readinto(buffer) or 0
        first, end = max(start, self._position), min(start + count, self._position + 4)
        if first < end:
            memoryview(buffer).cast("B")[first - start : end - start] = b"\xff" * (end - first)
        return count


def _find_data_chunk(path: Path, file: BinaryIO) -> _DataChunk:
    """Walk the chunks up to the audio data."""
    file_bytes = file.seek(0, io.SEEK_END)
    if file_bytes == 0:
        raise RecordingError(path, "empty: the file has no bytes")
    file.seek(0)
    start = file.read(12)
    if start[:4] not in (b"RIFF", b"RIFX", b"RF64") or start[8:] != b"WAVE":
        raise RecordingError(path, "unreadable: it does not begin like a WAV file")
    order = ">" if start[:4] == b"RIFX" else "<"
    riff_bytes = struct.unpack(order + "I", start[4:8])[0]
    rf64_data_bytes: int | None = None
    bytes_per_second = 0
    position = 12
    while True:
        file.seek(position)
        chunk = file.read(8 + 16)
        if len(chunk) < 8:
            raise RecordingError(path, "truncated or damaged: the file ends before its audio data begins")
        name, size = struct.unpack(order + "4sI", chunk[:8])
        body = chunk[8:].ljust(16, b"\0")
        if name == b"ds64":
            rf64_data_bytes = struct.unpack(order + "Q", body[8:16])[0]
        elif name == b"fmt ":
            bytes_per_second = struct.unpack(order + "I", body[8:12])[0]
        elif name == b"data":
            break
        position += 8 + size + size % 2
    promised_bytes = size if rf64_data_bytes is None else rf64_data_bytes
    held_bytes = file_bytes - position - 8
    if promised_bytes == 0 and (held_bytes == 0 or riff_bytes == file_bytes - 8):
        raise RecordingError(path, "empty: the file holds no samples")
    return _DataChunk(position + 4, promised_bytes, held_bytes, bytes_per_second)


def _means_unknown(data_bytes: int) -> bool:
    """True for the sizes that programs write to a pipe: close to 4 GiB (ffmpeg), close to 2 GiB (sox, arecord)."""
    return 0x7FFFF000 <= data_bytes <= 0x80000000 or 0xFFFFF000 <= data_bytes <= 0xFFFFFFFF
