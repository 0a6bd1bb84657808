"""Time series in Parquet files, read by row groups. pyarrow is an extra and imported here alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import Unavailable
from .recording_types import RecordingError, TableFormat, operating_system_faults
from .table import Table, checked, choose
from .time_stamps import are_stamps, guess_unit, is_time_label, numeric_stamps, unit_of_label
from .timeline import IGNORE_TIMES

_PANDAS_INDEX = "__index_level_0__"
_STAMP_ROWS = 50_000


def open_parquet(path: Path, table: TableFormat) -> Table:
    """Its numeric columns, or the channels of them that `table` names, and its column of times.

    Raises Unavailable without pyarrow, RecordingError for a damaged file, for one without rows or numeric columns.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise Unavailable(
            f"{path}: Parquet files need pyarrow, which this Python does not have. "
            "Install it with: pip install 'dasvdd[parquet]'"
        ) from error
    with operating_system_faults(path):
        try:
            file: Any = pyarrow.parquet.ParquetFile(path)
            schema = file.schema_arrow
        except (pyarrow.ArrowException, ValueError) as error:
            raise RecordingError(path, f"damaged, cut short, or no Parquet file: {error}") from error
    types = pyarrow.types
    time_name = _time_column(path, schema, types, table.time_column)
    unused = {time_name, _PANDAS_INDEX, schema.names[0] if is_time_label(schema.names[0]) else None}
    numeric = tuple(f.name for f in schema if types.is_floating(f.type) or types.is_integer(f.type))
    names = numeric if table.channels else tuple(name for name in numeric if name not in unused)
    if not names:
        raise RecordingError(path, f"no numeric column; it has {', '.join(schema.names) or 'no column'}")
    for name in {*names, time_name}:
        if schema.names.count(name) > 1:
            raise RecordingError(
                path, f"{schema.names.count(name)} columns are called '{name}': give each its own name"
            )
    rows = int(file.metadata.num_rows)
    if not rows:
        raise RecordingError(path, "empty: the file has no rows")
    chosen = tuple(names[position] for position in choose(path, table.channels, names))

    def blocks(block_rows: int, first_row: int, end_row: int | None) -> Iterator[NDArray[np.float32]]:
        end = rows if end_row is None else end_row
        for at, batch in _batches(path, file, block_rows, list(chosen)):
            start, stop = max(0, first_row - at), min(len(batch), end - at)
            if start < stop:
                columns = [batch.column(name).to_numpy(zero_copy_only=False)[start:stop] for name in chosen]
                yield checked(path, np.stack(columns, axis=1), at + start, chosen)

    def stamps() -> Iterator[NDArray[np.int64]]:
        unit: str | None = None
        for at, batch in _batches(path, file, _STAMP_ROWS, [time_name]):
            column = batch.column(time_name)
            if column.null_count:
                empty = int(np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))[0])
                raise RecordingError(path, f"row {at + empty + 1} has no time in '{time_name}'. Leave the row out.")
            if types.is_timestamp(column.type):
                unit, column = column.type.unit, column.cast(pyarrow.int64())
            numbers = column.to_numpy(zero_copy_only=False)
            unit = unit or unit_of_label(str(time_name)) or guess_unit(float(numbers[0]))
            no_times = np.flatnonzero(~are_stamps(numbers, unit))
            if len(no_times):
                row = int(no_times[0])
                raise RecordingError(
                    path,
                    f"row {at + row + 1}: {numbers[row]} {unit} in '{time_name}' is no time within 146 years of 1970. "
                    f"{IGNORE_TIMES}",
                )
            yield numeric_stamps(numbers, unit)

    return Table(chosen, None, lambda: rows, blocks, stamps if time_name is not None else None)


def _time_column(path: Path, schema: Any, types: Any, wanted: str) -> str | None:
    """The name of the column of times; 'auto': the first of a time type, or a leading one whose name says so."""
    if wanted == "none":
        return None
    if wanted != "auto":
        chosen = schema[choose(path, (wanted,), tuple(schema.names))[0]]
        if not (types.is_timestamp(chosen.type) or types.is_integer(chosen.type) or types.is_floating(chosen.type)):
            raise RecordingError(
                path, f"the column '{chosen.name}' is of the type {chosen.type}: times are timestamps or numbers"
            )
        return str(chosen.name)
    for column in schema:
        if types.is_timestamp(column.type):
            return str(column.name)
    first = schema[0]
    numeric = types.is_floating(first.type) or types.is_integer(first.type)
    return str(first.name) if numeric and is_time_label(first.name) else None


def _batches(path: Path, file: Any, rows: int, columns: list[Any]) -> Iterator[tuple[int, Any]]:
    """Batches of at most `rows` rows, each with the row of the file, from 0, at which it begins."""
    import pyarrow

    at = 0
    try:
        for batch in file.iter_batches(batch_size=rows, columns=columns):
            yield at, batch
            at += len(batch)
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise RecordingError(path, f"damaged near row {at + 1}: {error}") from error
