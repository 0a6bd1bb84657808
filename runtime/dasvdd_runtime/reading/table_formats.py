"""Tables of every format behind one face: CSV, NPY, NPZ and Parquet."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .recording_types import RecordingError, TableFormat
from .table import Table
from .timeline import IGNORE_TIMES, Timeline, survey

TABLE_SUFFIXES = (".csv", ".npy", ".npz", ".parquet")


def open_table(path: Path, table: TableFormat) -> Table:
    """The table at `path`, with its duplicate rows left out and gaps found by its times, if it has any.

    Raises RecordingError for a file that cannot be read, for channels that are not there and for times that are no
    time line (see `timeline`).
    """
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        from .parquet import open_parquet

        return _on_its_timeline(path, open_parquet(path, table), table)
    if suffix in (".npy", ".npz"):
        from .arrays import open_array

        return open_array(path, table.channels)
    return _on_its_timeline(path, _open_csv(path, table), table)


def _on_its_timeline(path: Path, opened: Table, table: TableFormat) -> Table:
    if opened.stamps is None:
        return opened
    timeline = survey(path, opened.stamps(), given_rate_hz=table.sample_rate_hz)
    if timeline is None:
        return opened
    return replace(
        opened,
        sample_rate_hz=timeline.rate_hz,
        count_rows=lambda: timeline.rows,
        blocks=_without_duplicates(path, opened, timeline) if len(timeline.duplicates) else opened.blocks,
        timeline=timeline,
    )


def _without_duplicates(
    path: Path, opened: Table, timeline: Timeline
) -> Callable[[int, int, int | None], Iterator[NDArray[np.float32]]]:
    """The blocks of `opened` without the rows that `timeline` calls duplicates.

    Raises RecordingError where such a row has other values than the one before: then its time is wrong.
    """

    def blocks(block_rows: int, first_row: int, end_row: int | None) -> Iterator[NDArray[np.float32]]:
        at = timeline.file_row(first_row)
        end = None if end_row is None else timeline.file_row(end_row - 1) + 1
        previous: NDArray[np.float32] | None = None
        for block in opened.blocks(block_rows, at, end):
            inside = timeline.duplicates[(timeline.duplicates >= at) & (timeline.duplicates < at + len(block))] - at
            before = block[inside - 1]
            if len(inside) and inside[0] == 0 and previous is not None:
                before[0] = previous
            differing = np.flatnonzero((block[inside] != before).any(axis=1))
            if len(differing):
                row = at + int(inside[differing[0]])
                raise RecordingError(
                    path,
                    f"rows {row} and {row + 1} have the same time and different values. If times are written more "
                    f"coarsely than rows come, they cannot place a row. {IGNORE_TIMES}",
                )
            kept = np.delete(block, inside, axis=0)
            if len(kept):
                yield kept
            previous = block[-1]
            at += len(block)

    return blocks


def _open_csv(path: Path, table: TableFormat) -> Table:
    from .tables import count_rows, read_table_header, table_blocks, table_stamps

    header = read_table_header(path, table.channels, table.time_column)

    def blocks(block_rows: int, first_row: int, end_row: int | None) -> Iterator[NDArray[np.float32]]:
        return table_blocks(path, header, block_rows=block_rows, first_row=first_row, end_row=end_row)

    stamps = (lambda: table_stamps(path, header)) if header.time_position is not None else None
    return Table(header.names, None, lambda: count_rows(path, header), blocks, stamps)
