"""Time series in NumPy's own files. Never unpickles."""

from __future__ import annotations

import lzma
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .recording_types import RecordingError
from .table import Table, checked, choose

DAMAGE = (
    OSError,
    RuntimeError,
    ValueError,
    TypeError,
    KeyError,
    EOFError,
    MemoryError,
    SyntaxError,
    struct.error,
    tokenize.TokenError,
    lzma.LZMAError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What NumPy raises for one of its files that is damaged, cut short or something else."""


def open_array(path: Path, channels: tuple[str, ...]) -> Table:
    """An NPY file [samples] or [samples, channels], mapped and read by blocks, or an NPZ archive, read whole.

    An archive holds one such array, or one named `samples`, and may hold `sample_rate_hz` and `channel_names`. Numbers
    of any kind count as they are. Raises RecordingError for a damaged file and for an array of another shape or kind.
    """
    samples, rate_hz, names = _load(path)
    if samples.dtype.kind not in "fiu":
        raise RecordingError(path, f"its array is of {samples.dtype}; numbers are needed")
    if samples.ndim == 1:
        samples = samples[:, None]
    if samples.ndim != 2 or samples.shape[1] == 0:
        raise RecordingError(
            path, f"its array has the shape {samples.shape}; [samples] or [samples, channels] is needed"
        )
    if len(samples) == 0:
        raise RecordingError(path, "empty: no samples")
    if not names:
        names = tuple(f"column {i + 1}" for i in range(samples.shape[1]))
    elif len(names) != samples.shape[1]:
        raise RecordingError(path, f"{len(names)} channel_names for {samples.shape[1]} columns")
    positions = choose(path, channels, names)
    chosen = tuple(names[position] for position in positions)

    def blocks(block_rows: int, first_row: int, end_row: int | None) -> Iterator[NDArray[np.float32]]:
        end = min(len(samples), len(samples) if end_row is None else end_row)
        for start in range(first_row, end, block_rows):
            part = np.asarray(samples[start : min(start + block_rows, end)])[:, positions]
            yield checked(path, part, start, chosen)

    return Table(chosen, rate_hz, lambda: len(samples), blocks)


def _load(path: Path) -> tuple[NDArray[Any], float | None, tuple[str, ...]]:
    try:
        opened = np.load(path, mmap_mode="r", allow_pickle=False)
        if isinstance(opened, np.ndarray):
            return opened, None, ()
        with opened:
            return _from_archive(path, opened)
    except DAMAGE as error:
        raise RecordingError(path, f"damaged, cut short, or not NumPy's: {error}") from error


def _from_archive(path: Path, archive: Any) -> tuple[NDArray[Any], float | None, tuple[str, ...]]:
    described = {"sample_rate_hz", "channel_names"}
    arrays = [name for name in archive.files if name not in described]
    if "samples" in arrays:
        arrays = ["samples"]
    if len(arrays) != 1:
        raise RecordingError(
            path, f"it holds {', '.join(arrays) or 'no array'}; one array, or one named samples, is needed"
        )
    rate_hz = _rate_hz(path, archive["sample_rate_hz"]) if "sample_rate_hz" in archive.files else None
    names = np.atleast_1d(archive["channel_names"]) if "channel_names" in archive.files else np.empty(0, np.str_)
    if names.ndim != 1 or names.dtype.kind not in "US":
        raise RecordingError(
            path, f"channel_names in it is of {names.dtype} and the shape {names.shape}; a list of names is needed"
        )
    return archive[arrays[0]], rate_hz, tuple(names.astype(np.str_).tolist())


def _rate_hz(path: Path, found: NDArray[Any]) -> float:
    """The one number above 0 in `found`. Raises RecordingError where it holds anything else."""
    rate_hz = float(found.reshape(())) if found.size == 1 and found.dtype.kind in "fiu" else np.nan
    if not 0 < rate_hz < np.inf:
        shown = np.array2string(found, threshold=8, max_line_width=200)[:60]
        raise RecordingError(path, f"sample_rate_hz = {shown} in it is no rate; one number above 0 is needed")
    return rate_hz
