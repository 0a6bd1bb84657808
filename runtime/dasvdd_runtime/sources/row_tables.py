"""The tables `[[source]]` of monitor.toml whose sources give rows of sensor values, one class a kind."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from .base_tables import BaseSourceTable


class RowsTable(BaseSourceTable):
    """What sources have in common whose rows come at their own times and are aligned to the model's rate."""

    fill: Literal["hold", "linear"] = "hold"
    """Between two rows the last value is repeated, or a straight line drawn."""
    max_gap_seconds: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Beyond it nothing is filled: the rows are lost. Default: 2.5 rows of the model."""


class CsvTailTable(RowsTable):
    """`[[source]]` with kind = "csv_tail": a CSV file that grows."""

    kind: Literal["csv_tail"]
    path: Path
    """Relative to the TOML file."""
    time_column: str = Field(default="none", min_length=1)
    """Name or position from 1 of the column with the times; "none": rows are evenly spaced at the model's rate."""

    @property
    def description(self) -> str:
        """Where the samples come from, in words."""
        return f"the end of {self.path}"
