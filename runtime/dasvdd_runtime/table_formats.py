"""Tables of every format behind one face: CSV, NPY, NPZ and Parquet."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .recording_types import RecordingError

TABLE_SUFFIXES = (".csv", ".npy", ".npz", ".parquet")


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


def open_table(path: Path, channels: tuple[str, ...]) -> Table:
    """The table at `path` with `channels` by name or 1-based position; () takes all of them.

    Raises RecordingError for a file that cannot be read and for channels that are not there.
    """
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        from .parquet import open_parquet

        return open_parquet(path, channels)
    if suffix in (".npy", ".npz"):
        from .arrays import open_array

        return open_array(path, channels)
    return _open_csv(path, channels)


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


def checked(path: Path, rows: NDArray[np.float32], first_row: int, names: tuple[str, ...]) -> NDArray[np.float32]:
    """`rows` [rows, channels], the first of which is `first_row` of the file. Raises RecordingError for NaN."""
    bad = np.argwhere(~np.isfinite(rows))
    if len(bad):
        row, column = (int(index) for index in bad[0])
        raise RecordingError(
            path,
            f"row {first_row + row + 1} has {rows[row, column]} in {names[column]}. Fill the gap or leave the row out.",
        )
    return rows


def _open_csv(path: Path, channels: tuple[str, ...]) -> Table:
    from .tables import count_rows, read_table_header, table_blocks

    header = read_table_header(path, channels)

    def blocks(block_rows: int, first_row: int, end_row: int | None) -> Iterator[NDArray[np.float32]]:
        return table_blocks(path, header, block_rows=block_rows, first_row=first_row, end_row=end_row)

    return Table(header.names, None, lambda: count_rows(path, header), blocks)
