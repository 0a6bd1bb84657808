"""A time series that is opened but not read, and what the readers of every format check."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .recording_types import RecordingError
from .timeline import Timeline


@dataclass(frozen=True)
class Table:
    """A time series, opened but not read: a row a sample, a column a channel."""

    names: tuple[str, ...]
    """Of the channels that were chosen."""
    sample_rate_hz: float | None
    """Where the file says it itself."""
    count_rows: Callable[[], int]
    blocks: Callable[[int, int, int | None], Iterator[NDArray[np.float32]]]
    """(block_rows, first_row, end_row) -> rows [n <= block_rows, channels] in a row, fewer if the file has fewer."""
    stamps: Callable[[], Iterator[NDArray[np.int64]]] | None = None
    """The times of all rows in blocks [n], nanoseconds; None where the file has none."""
    timeline: Timeline | None = None
    """What `stamps` say; its rows are those of `blocks`."""


def choose(path: Path, wanted: tuple[str, ...], names: tuple[str, ...]) -> list[int]:
    """Positions in `names` of the channels `wanted`, by name or 1-based position; () is all of them.

    Raises RecordingError for one that is not there.
    """
    if not wanted:
        return list(range(len(names)))
    chosen = []
    for channel in wanted:
        if channel in names:
            chosen.append(names.index(channel))
        elif channel.isdecimal() and 1 <= int(channel) <= len(names):
            chosen.append(int(channel) - 1)
        else:
            raise RecordingError(path, f"no column '{channel}'; it has {', '.join(names)}")
    return chosen


def checked(path: Path, numbers: NDArray[Any], first_row: int, names: tuple[str, ...]) -> NDArray[np.float32]:
    """`numbers` [rows, channels] as float32; the first of them is row `first_row` of the file.

    Raises RecordingError for NaN, and for what is beyond float32.
    """
    with np.errstate(over="ignore"):
        rows = numbers.astype(np.float32)
    bad = np.argwhere(~np.isfinite(rows))
    if len(bad):
        row, column = (int(index) for index in bad[0])
        raise RecordingError(
            path,
            f"row {first_row + row + 1} has {rows[row, column]} in {names[column]}. Fill the gap or leave the row out.",
        )
    return rows
