"""Time series in Parquet files, read by row groups. pyarrow is an extra and imported here alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import Unavailable
from .recording_types import RecordingError, operating_system_faults
from .table_formats import Table, checked, choose


def open_parquet(path: Path, channels: tuple[str, ...]) -> Table:
    """Its numeric columns, or `channels` of them.

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
        except pyarrow.ArrowInvalid as error:
            raise RecordingError(path, f"damaged, cut short, or no Parquet file: {error}") from error
    types = pyarrow.types
    names = tuple(f.name for f in file.schema_arrow if types.is_floating(f.type) or types.is_integer(f.type))
    if not names:
        raise RecordingError(path, f"no numeric column; it has {', '.join(file.schema_arrow.names) or 'no column'}")
    rows = int(file.metadata.num_rows)
    if not rows:
        raise RecordingError(path, "empty: the file has no rows")
    chosen = tuple(names[position] for position in choose(path, channels, names))

    def blocks(block_rows: int, first_row: int, end_row: int | None) -> Iterator[NDArray[np.float32]]:
        at = 0
        try:
            for batch in file.iter_batches(batch_size=block_rows, columns=list(chosen)):
                start, end = max(0, first_row - at), min(len(batch), (rows if end_row is None else end_row) - at)
                if start < end:
                    columns = [batch.column(name).to_numpy(zero_copy_only=False)[start:end] for name in chosen]
                    yield checked(path, np.stack(columns, axis=1).astype(np.float32), at + start, chosen)
                at += len(batch)
        except (pyarrow.ArrowException, OSError) as error:
            raise RecordingError(path, f"damaged near row {at + 1}: {error}") from error

    return Table(chosen, None, lambda: rows, blocks)
