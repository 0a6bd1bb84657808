"""Recordings -> samples: WAV, FLAC and OGG audio and CSV time series, whole, in part or in blocks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soxr
from numpy.typing import NDArray

from . import levels
from .audio_files import audio_blocks, read_audio_header
from .recording_types import Kind, RecordingError, Signal, TableFormat, part_in_samples, part_outside, require_file
from .tables import count_rows, read_table_header, table_blocks

__all__ = [
    "AUDIO_SUFFIXES",
    "TABLE_SUFFIXES",
    "RecordingError",
    "Signal",
    "TableFormat",
    "is_audio",
    "is_table",
    "probe",
    "quality_fault",
    "read_blocks",
    "read_signal",
    "resample",
]

AUDIO_SUFFIXES = (".wav", ".flac", ".ogg")
TABLE_SUFFIXES = (".csv",)
RESAMPLER_QUALITY = "HQ"
_WHOLE_FILE_BLOCK_SECONDS = 10.0
_WHOLE_TABLE_BLOCK_ROWS = 50_000


def is_audio(path: str | Path) -> bool:
    """True if the suffix, in either case, is that of an audio file that can be read."""
    return Path(path).suffix.lower() in AUDIO_SUFFIXES


def is_table(path: str | Path) -> bool:
    """True if the suffix, in either case, is that of a table."""
    return Path(path).suffix.lower() in TABLE_SUFFIXES


def read_signal(
    path: str | Path,
    *,
    start_seconds: float = 0.0,
    end_seconds: float | None = None,
    table: TableFormat = TableFormat(),  # noqa: B008 - frozen, so one instance can be shared
) -> Signal:
    """Read `path` from `start_seconds` to `end_seconds` (None = the end) at its own sample rate.

    Seconds are rounded to the nearest sample. `table` matters for CSV files only. Raises InputMissing if there is no
    such file and RecordingError if it is truncated (the header promises more than the file holds), empty, unreadable or
    not finite, if the part lies outside the file, or if a table's cell is not a number (with its line).
    """
    path = Path(path)
    require_file(path)
    if _checked_kind(path) == "sensor":
        return _read_table(path, start_seconds, end_seconds, table)
    header = read_audio_header(path)
    first, end = part_in_samples(path, start_seconds, end_seconds, header.sample_rate_hz)
    end = header.frames if end is None else end
    if not first < end <= header.frames:
        raise part_outside(path, start_seconds, end_seconds, header.seconds)
    samples = np.empty((end - first, header.channels), np.float32)
    filled = 0
    block_frames = max(1, round(_WHOLE_FILE_BLOCK_SECONDS * header.sample_rate_hz))
    for block in audio_blocks(path, first_frame=first, end_frame=end, block_frames=block_frames):
        samples[filled : filled + len(block)] = block
        filled += len(block)
    return Signal(samples, header.sample_rate_hz, tuple(f"channel {i}" for i in range(header.channels)))


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
    sample_rate_hz = _table_rate(path, table)
    columns = read_table_header(path, table.channels)
    return sample_rate_hz, len(columns.names), count_rows(path, columns) / sample_rate_hz


def quality_fault(signal: Signal, *, kind: Kind) -> str | None:
    """Why the samples are no good although they can be read, for instance 'silent: ...' or 'clipped: ...'; else None.

    Audio is silent where a channel lies at or below levels.SILENT_DBFS, and clipped where more than
    levels.CLIPPED_SHARE of a channel's samples are at full scale. Sensors are silent where no channel ever changes.
    """
    samples = signal.samples
    if len(samples) == 0:
        return "empty: no samples"
    if kind == "sensor":
        constant = bool((samples == samples[:1]).all())
        return "silent: no channel ever changes. Check the sensor and its cable." if constant else None
    by_channel = [levels.level_dbfs(samples[:, [channel]]) for channel in range(samples.shape[1])]
    quietest = int(np.argmin(by_channel))
    if by_channel[quietest] <= levels.SILENT_DBFS:
        return (
            f"silent: level of {signal.channel_names[quietest]} {by_channel[quietest]:.1f} dBFS, a recording lies "
            f"above {levels.SILENT_DBFS:.0f} dBFS. Check the microphone, its mute switch and its cable."
        )
    shares = [levels.clipped_share(samples[:, channel]) for channel in range(samples.shape[1])]
    worst = int(np.argmax(shares))
    if shares[worst] > levels.CLIPPED_SHARE:
        return (
            f"clipped: {100 * shares[worst]:.1f} % of the samples of {signal.channel_names[worst]} are at full scale, "
            f"at most {100 * levels.CLIPPED_SHARE:.1f} % may be. Turn the gain down and record again."
        )
    return None


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
        file_rate_hz = _table_rate(path, table)
        columns = read_table_header(path, table.channels)
        channels = len(columns.names)
        blocks = table_blocks(path, columns, block_rows=max(1, round(block_seconds * file_rate_hz)))
    if file_rate_hz == sample_rate_hz:
        yield from blocks
    else:
        yield from _resampled(blocks, file_rate_hz, sample_rate_hz, channels)


def _resampled(
    blocks: Iterator[NDArray[np.float32]], from_hz: float, to_hz: float, channels: int
) -> Iterator[NDArray[np.float32]]:
    stream = soxr.ResampleStream(from_hz, to_hz, channels, dtype="float32", quality=RESAMPLER_QUALITY)
    for block in blocks:
        resampled = stream.resample_chunk(block)
        if len(resampled):
            yield resampled
    rest = stream.resample_chunk(np.empty((0, channels), np.float32), last=True)
    if len(rest):
        yield rest


def _read_table(path: Path, start_seconds: float, end_seconds: float | None, table: TableFormat) -> Signal:
    sample_rate_hz = _table_rate(path, table)
    first, end = part_in_samples(path, start_seconds, end_seconds, sample_rate_hz)
    columns = read_table_header(path, table.channels)
    blocks = list(table_blocks(path, columns, block_rows=_WHOLE_TABLE_BLOCK_ROWS, first_row=first, end_row=end))
    rows = sum(map(len, blocks))
    if rows == 0 or (end is not None and rows < end - first):
        raise part_outside(path, start_seconds, end_seconds, count_rows(path, columns) / sample_rate_hz)
    return Signal(np.concatenate(blocks), sample_rate_hz, columns.names)


def _table_rate(path: Path, table: TableFormat) -> float:
    if table.sample_rate_hz is None:
        raise RecordingError(
            path,
            "a table does not say its sample rate. Give its rows per second (dasvdd-train: --rate 200). "
            "If it is meant as a manifest: that needs a column named path",
        )
    return table.sample_rate_hz


def _checked_kind(path: Path) -> Kind:
    if is_audio(path):
        return "audio"
    if is_table(path):
        return "sensor"
    raise RecordingError(
        path, f"unknown kind of file '{path.suffix}'; {', '.join(AUDIO_SUFFIXES + TABLE_SUFFIXES)} can be read"
    )
