"""Recordings -> samples: WAV, FLAC and OGG audio and time series in tables, whole, in part or in blocks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr
from numpy.typing import NDArray

from .audio_files import audio_blocks, read_audio_header
from .quality import Quality
from .recording_types import Kind, RecordingError, Signal, TableFormat, part_in_samples, part_outside, require_file
from .table_formats import TABLE_SUFFIXES, Table, open_table

__all__ = [
    "AUDIO_SUFFIXES",
    "TABLE_SUFFIXES",
    "RecordingError",
    "Signal",
    "SignalBlocks",
    "TableFormat",
    "is_audio",
    "is_table",
    "open_signal",
    "probe",
    "quality_fault",
    "read_blocks",
    "read_signal",
    "resample",
    "resampled",
]

AUDIO_SUFFIXES = (".wav", ".flac", ".ogg")
RESAMPLER_QUALITY = "HQ"
RATE_TOLERANCE = 0.01
"""How far a rate that was given may lie from what a file says of itself."""
_BLOCK_SECONDS = 10.0
_BLOCK_ROWS = 50_000


def is_audio(path: str | Path) -> bool:
    """True if the suffix, in either case, is that of an audio file that can be read."""
    return Path(path).suffix.lower() in AUDIO_SUFFIXES


def is_table(path: str | Path) -> bool:
    """True if the suffix, in either case, is that of a table."""
    return Path(path).suffix.lower() in TABLE_SUFFIXES


@dataclass(frozen=True)
class SignalBlocks:
    """A recording or a part of one, not yet read. The blocks can be taken once."""

    sample_rate_hz: float
    channel_names: tuple[str, ...]
    blocks: Iterator[NDArray[np.float32]]
    """Each [samples, channels], in a row."""


def open_signal(
    path: str | Path,
    *,
    start_seconds: float = 0.0,
    end_seconds: float | None = None,
    table: TableFormat = TableFormat(),  # noqa: B008 - frozen, so one instance can be shared
) -> SignalBlocks:
    """`path` from `start_seconds` to `end_seconds` (None = the end) at its own sample rate, in bounded memory.

    Seconds are rounded to the nearest sample. `table` matters for CSV files only. Raises InputMissing if there is no
    such file and RecordingError if it is truncated (the header promises more than the file holds), empty, unreadable or
    not finite, if the part lies outside the file, or if a table's cell is not a number (with its line); what only the
    samples show is raised when the block with it is asked for.
    """
    path = Path(path)
    require_file(path)
    if _checked_kind(path) == "sensor":
        return _open_table(path, start_seconds, end_seconds, table)
    header = read_audio_header(path)
    first, end = part_in_samples(path, start_seconds, end_seconds, header.sample_rate_hz)
    end = header.frames if end is None else end
    if not first < end <= header.frames:
        raise part_outside(path, start_seconds, end_seconds, header.seconds)
    block_frames = max(1, round(_BLOCK_SECONDS * header.sample_rate_hz))
    blocks = audio_blocks(path, first_frame=first, end_frame=end, block_frames=block_frames)
    return SignalBlocks(header.sample_rate_hz, tuple(f"channel {i}" for i in range(header.channels)), blocks)


def read_signal(
    path: str | Path,
    *,
    start_seconds: float = 0.0,
    end_seconds: float | None = None,
    table: TableFormat = TableFormat(),  # noqa: B008 - frozen, so one instance can be shared
) -> Signal:
    """What `open_signal` opens, read whole. Raises as its blocks do."""
    opened = open_signal(path, start_seconds=start_seconds, end_seconds=end_seconds, table=table)
    return Signal(np.concatenate(list(opened.blocks)), opened.sample_rate_hz, opened.channel_names)


def probe(
    path: str | Path,
    *,
    table: TableFormat = TableFormat(),  # noqa: B008 - frozen, so one instance can be shared
) -> tuple[float, int, float]:
    """Sample rate (Hz), number of channels and length (seconds) of `path`, without reading the samples.

    Of a table the header is read and the rows are counted. Raises as `read_signal` does, except for faults that only
    the samples show.
    """
    path = Path(path)
    require_file(path)
    if _checked_kind(path) == "audio":
        header = read_audio_header(path)
        return header.sample_rate_hz, header.channels, header.seconds
    opened = open_table(path, table.channels)
    sample_rate_hz = _table_rate(path, opened, table)
    return sample_rate_hz, len(opened.names), opened.count_rows() / sample_rate_hz


def quality_fault(signal: Signal, *, kind: Kind) -> str | None:
    """Why the samples are no good although they can be read, see quality.Quality; None for good ones."""
    quality = Quality(kind, signal.channel_names)
    quality.add(signal.samples)
    return quality.fault()


def resample(signal: Signal, *, sample_rate_hz: float) -> Signal:
    """`signal` at `sample_rate_hz`, by soxr at high quality; the same object if the rate is equal already."""
    if sample_rate_hz == signal.sample_rate_hz:
        return signal
    samples = soxr.resample(signal.samples, signal.sample_rate_hz, sample_rate_hz, quality=RESAMPLER_QUALITY)
    return Signal(np.asarray(samples, np.float32), sample_rate_hz, signal.channel_names)


def read_blocks(
    path: str | Path,
    *,
    block_seconds: float,
    sample_rate_hz: float,
    table: TableFormat = TableFormat(),  # noqa: B008 - frozen, so one instance can be shared
) -> Iterator[NDArray[np.float32]]:
    """A whole file at `sample_rate_hz` in blocks [n, channels] of about `block_seconds`, in bounded memory.

    The blocks in a row equal `resample(read_signal(path), ...)`, whatever `block_seconds`. Raises as `read_signal`
    does, when the block with the fault is asked for, and ValueError for a `block_seconds` that is not above 0.
    """
    path = Path(path)
    require_file(path)
    if not block_seconds > 0:
        raise ValueError(f"block_seconds = {block_seconds}: must be above 0")
    if _checked_kind(path) == "audio":
        header = read_audio_header(path)
        file_rate_hz, channels = header.sample_rate_hz, header.channels
        block_frames = max(1, round(block_seconds * file_rate_hz))
        blocks = audio_blocks(path, first_frame=0, end_frame=header.frames, block_frames=block_frames)
    else:
        opened = open_table(path, table.channels)
        file_rate_hz = _table_rate(path, opened, table)
        channels = len(opened.names)
        blocks = opened.blocks(max(1, round(block_seconds * file_rate_hz)), 0, None)
    if file_rate_hz == sample_rate_hz:
        yield from blocks
    else:
        yield from resampled(blocks, file_rate_hz, sample_rate_hz, channels)


def resampled(
    blocks: Iterable[NDArray[np.float32]], from_hz: float, to_hz: float, channels: int
) -> Iterator[NDArray[np.float32]]:
    """`blocks` [samples, channels] at `from_hz` -> the same sound at `to_hz`, equal to `resample` of all of it."""
    stream = soxr.ResampleStream(from_hz, to_hz, channels, dtype="float32", quality=RESAMPLER_QUALITY)
    for block in blocks:
        resampled = stream.resample_chunk(block)
        if len(resampled):
            yield resampled
    rest = stream.resample_chunk(np.empty((0, channels), np.float32), last=True)
    if len(rest):
        yield rest


def _open_table(path: Path, start_seconds: float, end_seconds: float | None, table: TableFormat) -> SignalBlocks:
    opened = open_table(path, table.channels)
    sample_rate_hz = _table_rate(path, opened, table)
    first, end = part_in_samples(path, start_seconds, end_seconds, sample_rate_hz)

    def blocks() -> Iterator[NDArray[np.float32]]:
        rows = 0
        for block in opened.blocks(_BLOCK_ROWS, first, end):
            rows += len(block)
            yield block
        if rows == 0 or (end is not None and rows < end - first):
            raise part_outside(path, start_seconds, end_seconds, opened.count_rows() / sample_rate_hz)

    return SignalBlocks(sample_rate_hz, opened.names, blocks())


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
