"""The paper's seven data sets, read in the formats that their publishers give."""

from __future__ import annotations

from .catalog import load_dataset
from .split import DataFileError, Dataset, DataSetMissing, OneClassSplit

__all__ = ["DataFileError", "DataSetMissing", "Dataset", "OneClassSplit", "load_dataset"]
