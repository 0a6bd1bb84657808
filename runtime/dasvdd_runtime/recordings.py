"""Recordings -> samples: WAV, FLAC and OGG audio and time series in tables, whole, in part or in blocks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soxr
from numpy.typing import NDArray

from .reading.audio_files import audio_blocks, read_audio_header
from .reading.recording_types import (
    RATE_TOLERANCE,
    Kind,
    RecordingError,
    Signal,
    TableFormat,
    part_in_samples,
    part_outside,
    require_file,
)
from .reading.table import Table
from .reading.table_formats import TABLE_SUFFIXES, open_table

__all__ = [
    "AUDIO_SUFFIXES",
    "TABLE_SUFFIXES",
    "RecordingError",
    "Signal",
    "SignalBlocks",
    "TableFormat",
    "is_audio",
    "is_table",
    "open_pieces",
    "probe",
    "read_pieces",
    "read_signal",
    "require_kind",
    "resampled",
]

AUDIO_SUFFIXES = (".wav", ".flac", ".ogg")
RESAMPLER_QUALITY = "HQ"
_BLOCK_SECONDS = 10.0
_BLOCK_ROWS = 50_000


def is_audio(path: str | Path) -> bool:
    """True if the suffix, in either case, is that of an audio file that can be read."""
    return Path(path).suffix.lower() in AUDIO_SUFFIXES


def is_table(path: str | Path) -> bool:
    """True if the suffix, in either case, is that of a table."""
    return Path(path).suffix.lower() in TABLE_SUFFIXES


def require_kind(path: Path, kind: Kind) -> None:
    """Raise RecordingError for a table where the model, of `kind`, hears audio, and for audio where it does not."""
    if kind == "audio" and is_table(path):
        raise RecordingError(path, f"it is a table, and this model hears audio: {', '.join(AUDIO_SUFFIXES)}")
    if kind == "sensor" and is_audio(path):
        raise RecordingError(path, f"it is audio, and this model takes rows of sensors: {', '.join(TABLE_SUFFIXES)}")


@dataclass(frozen=True)
class SignalBlocks:
    """Samples that follow each other without a gap, not yet read. The blocks can be taken once."""

    sample_rate_hz: float
    channel_names: tuple[str, ...]
    blocks: Iterator[NDArray[np.float32]]
    """Each [samples, channels], in a row."""
    start_seconds: float = 0.0
    """Where the first of them lies in the recording."""
    rate_is_measured: bool = False
    """The rate comes from the times of rows, which are never quite even, and not from a header."""
    note: str = ""
    """What a person should know of the whole recording's times."""

    def at_rate(self, sample_rate_hz: float) -> SignalBlocks:
        """The same at `sample_rate_hz`, resampled if need be."""
        if self.sample_rate_hz == sample_rate_hz:
            return self
        blocks = resampled(self.blocks, self.sample_rate_hz, sample_rate_hz, len(self.channel_names))
        return replace(self, sample_rate_hz=sample_rate_hz, blocks=blocks)


def open_pieces(
    path: str | Path,
    *,
    start_seconds: float = 0.0,
    end_seconds: float | None = None,
    table: TableFormat = TableFormat(),  # noqa: B008 - frozen, so one instance can be shared
    block_seconds: float | None = None,
) -> list[SignalBlocks]:
    """`path` from `start_seconds` to `end_seconds` (None = the end) at its own sample rate, in bounded memory.

    One piece, or, for a table whose times show gaps, one between every two of them. They are to be read in this order.
    Seconds are rounded to the nearest sample. `table` matters for tables only. Raises InputMissing if there is no such
    file and RecordingError if it is truncated (the header promises more than the file holds), empty, unreadable or not
    finite, if the part lies outside the file, or if a table's cell is not a number (with its line); what only the
    samples show is raised when the block with it is asked for.
    """
    path = Path(path)
    require_file(path)
    if block_seconds is not None and not block_seconds > 0:
        raise ValueError(f"block_seconds = {block_seconds}: must be above 0")
    if _checked_kind(path) == "sensor":
        return _table_pieces(path, start_seconds, end_seconds, table, block_seconds)
    header = read_audio_header(path)
    first, end = part_in_samples(path, start_seconds, end_seconds, header.sample_rate_hz)
    end = header.frames if end is None else end
    if not first < end <= header.frames:
        raise part_outside(path, start_seconds, end_seconds, header.seconds)
    block_frames = max(1, round((block_seconds or _BLOCK_SECONDS) * header.sample_rate_hz))
    blocks = audio_blocks(path, first_frame=first, end_frame=end, block_frames=block_frames)
    names = tuple(f"channel {i}" for i in range(header.channels))
    return [SignalBlocks(header.sample_rate_hz, names, blocks, start_seconds)]


def read_signal(
    path: str | Path,
    *,
    start_seconds: float = 0.0,
    end_seconds: float | None = None,
    table: TableFormat = TableFormat(),  # noqa: B008 - frozen, so one instance can be shared
) -> Signal:
    """What `open_pieces` opens, read whole. Raises as its blocks do, and RecordingError where there are gaps."""
    pieces = open_pieces(path, start_seconds=start_seconds, end_seconds=end_seconds, table=table)
    if len(pieces) > 1:
        raise RecordingError(path, f"it is no one signal: {pieces[0].note}")
    return Signal(np.concatenate(list(pieces[0].blocks)), pieces[0].sample_rate_hz, pieces[0].channel_names)


def probe(
    path: str | Path,
    *,
    table: TableFormat = TableFormat(),  # noqa: B008 - frozen, so one instance can be shared
) -> tuple[float, int, float]:
    """Sample rate (Hz), number of channels and length (seconds) of `path`, without reading the samples.

    Of a table the header and the times are read and the rows are counted; where it has gaps, the length is that of the
    longest piece. Raises as `read_signal` does, except for faults that only the samples show.
    """
    path = Path(path)
    require_file(path)
    if _checked_kind(path) == "audio":
        header = read_audio_header(path)
        return header.sample_rate_hz, header.channels, header.seconds
    opened = open_table(path, table)
    sample_rate_hz = _table_rate(path, opened, table)
    rows = (
        opened.count_rows()
        if opened.timeline is None
        else max(piece.end_row - piece.first_row for piece in opened.timeline.pieces)
    )
    return sample_rate_hz, len(opened.names), rows / sample_rate_hz


def read_pieces(
    path: str | Path,
    *,
    block_seconds: float,
    sample_rate_hz: float,
    table: TableFormat = TableFormat(),  # noqa: B008 - frozen, so one instance can be shared
) -> list[SignalBlocks]:
    """A whole file at `sample_rate_hz`, its pieces in blocks [n, channels] of about `block_seconds`.

    The blocks of a piece in a row equal the piece resampled whole, whatever `block_seconds`. Raises as `open_pieces`
    does, and ValueError for a `block_seconds` that is not above 0.
    """
    pieces = open_pieces(path, table=table, block_seconds=block_seconds)
    return [piece.at_rate(sample_rate_hz) for piece in pieces]


def resampled(
    blocks: Iterable[NDArray[np.float32]], from_hz: float, to_hz: float, channels: int
) -> Iterator[NDArray[np.float32]]:
    """`blocks` [samples, channels] at `from_hz` -> the same sound at `to_hz`, as soxr makes it of all of it at once."""
    stream = soxr.ResampleStream(from_hz, to_hz, channels, dtype="float32", quality=RESAMPLER_QUALITY)
    for block in blocks:
        resampled = stream.resample_chunk(block)
        if len(resampled):
            yield resampled
    rest = stream.resample_chunk(np.empty((0, channels), np.float32), last=True)
    if len(rest):
        yield rest


def _table_pieces(
    path: Path, start_seconds: float, end_seconds: float | None, table: TableFormat, block_seconds: float | None
) -> list[SignalBlocks]:
    opened = open_table(path, table)
    sample_rate_hz = _table_rate(path, opened, table)
    first, end = part_in_samples(path, start_seconds, end_seconds, sample_rate_hz)
    block_rows = _BLOCK_ROWS if block_seconds is None else max(1, round(block_seconds * sample_rate_hz))
    if opened.timeline is None:
        blocks = _whole_part(path, opened, block_rows, (start_seconds, end_seconds), (first, end), sample_rate_hz)
        return [SignalBlocks(sample_rate_hz, opened.names, blocks, start_seconds)]
    timeline = opened.timeline
    if end_seconds is not None and end_seconds > timeline.seconds + 0.5 / sample_rate_hz:
        raise part_outside(path, start_seconds, end_seconds, timeline.seconds)
    pieces = []
    for piece in timeline.pieces:
        offset = round(piece.start_seconds * sample_rate_hz)
        from_row = piece.first_row + max(0, first - offset)
        to_row = piece.end_row if end is None else min(piece.end_row, piece.first_row + end - offset)
        if from_row < to_row:
            piece_start_seconds = piece.start_seconds + (from_row - piece.first_row) / sample_rate_hz
            blocks = opened.blocks(block_rows, from_row, to_row)
            pieces.append(
                SignalBlocks(sample_rate_hz, opened.names, blocks, piece_start_seconds, True, timeline.note())
            )
    if not pieces:
        raise part_outside(path, start_seconds, end_seconds, timeline.seconds)
    return pieces


def _whole_part(
    path: Path,
    opened: Table,
    block_rows: int,
    seconds: tuple[float, float | None],
    rows: tuple[int, int | None],
    sample_rate_hz: float,
) -> Iterator[NDArray[np.float32]]:
    """The blocks of `rows`, first and end, which were asked for as `seconds`; they must all be there."""
    first, end = rows
    found = 0
    for block in opened.blocks(block_rows, first, end):
        found += len(block)
        yield block
    if found == 0 or (end is not None and found < end - first):
        raise part_outside(path, *seconds, opened.count_rows() / sample_rate_hz)


def _table_rate(path: Path, opened: Table, table: TableFormat) -> float:
    """The rate that was given, or the file's own. Raises RecordingError where neither is there or they contradict."""
    given, own = table.sample_rate_hz, opened.sample_rate_hz
    if given is not None and own is not None and abs(given / own - 1) > RATE_TOLERANCE:
        raise RecordingError(
            path,
            f"it says {own:g} Hz, {given:g} Hz were asked for: one of them is wrong. Leave the rate out to use its own",
        )
    rate_hz = given if own is None else own
    if rate_hz is None:
        raise RecordingError(
            path,
            "a table does not say its sample rate. Give its rows per second (dasvdd-train: --rate 200). "
            "If it is meant as a manifest: that needs a column named path",
        )
    return rate_hz


def _checked_kind(path: Path) -> Kind:
    if is_audio(path):
        return "audio"
    if is_table(path):
        return "sensor"
    raise RecordingError(
        path, f"unknown kind of file '{path.suffix}'; {', '.join(AUDIO_SUFFIXES + TABLE_SUFFIXES)} can be read"
    )
