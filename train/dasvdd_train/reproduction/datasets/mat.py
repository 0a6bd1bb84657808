"""ODDS data sets (Speech, PIMA): MATLAB files with `X` [rows, features] and `y`, 1 for an outlier; old or HDF5."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from dasvdd_runtime.extras import require
from numpy.typing import NDArray

from .split import DataFileError, DataSetMissing, LabelledRows

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
MATLAB_USER_BLOCK = 512
PUBLISHED = "https://odds.cs.stonybrook.edu"


def load_odds(folder: Path, file_name: str) -> LabelledRows:
    """The ODDS file `file_name` in `folder`. Raises DataSetMissing or DataFileError."""
    path = folder / file_name
    if not path.is_file():
        raise DataSetMissing(path.stem, wanted=file_name, folder=folder, published=PUBLISHED)
    rows, outlier = read_mat(path)
    return LabelledRows(rows[~outlier], rows[outlier])


def read_mat(path: Path) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Rows [n, features] and outlier flags [n] of the MATLAB file at `path`.

    Raises DataFileError for a file that is damaged, lacks X or y, or holds values that are not finite numbers, and
    Unavailable if an HDF5 file needs h5py, which is not installed.
    """
    with path.open("rb") as file:
        head = file.read(MATLAB_USER_BLOCK + len(HDF5_SIGNATURE))
    hdf5 = head.startswith(HDF5_SIGNATURE) or head[MATLAB_USER_BLOCK:] == HDF5_SIGNATURE
    variables = _read_hdf5(path) if hdf5 else _read_old(path)
    missing = [name for name in ("X", "y") if name not in variables]
    if missing:
        raise DataFileError(path, f"no variable {' and no '.join(missing)} in it: truncated, or not from ODDS")
    try:
        rows = np.asarray(variables["X"], np.float64)
        flags = np.asarray(variables["y"], np.float64).ravel()
    except (TypeError, ValueError) as error:
        raise DataFileError(path, f"X and y should be numbers ({error})") from error
    if rows.ndim != 2 or len(rows) != len(flags) or not len(rows):
        raise DataFileError(path, f"X of {rows.shape} and {len(flags)} labels do not go together")
    if not np.isfinite(rows).all():
        raise DataFileError(path, f"{int((~np.isfinite(rows)).sum())} values of X are not finite")
    if not np.isin(flags, (0, 1)).all() or flags.min() == flags.max():
        raise DataFileError(path, f"y should be 0 and 1, and holds {np.unique(flags)[:5].tolist()}")
    return rows.astype(np.float32), flags == 1


def _read_old(path: Path) -> dict[str, Any]:
    require("dasvdd-reproduce", "train", ("scipy",))
    import scipy.io

    try:
        variables: dict[str, Any] = scipy.io.loadmat(str(path), variable_names=("X", "y"))
    except Exception as error:  # scipy raises whatever its parser meets in a damaged file
        raise DataFileError(path, f"not a MATLAB file, truncated or damaged ({error})") from error
    return variables


def _read_hdf5(path: Path) -> dict[str, Any]:
    require("dasvdd-reproduce", "baselines", ("h5py",))
    import h5py

    try:
        with h5py.File(path, "r") as file:
            # MATLAB stores columns first, so that HDF5 has every array transposed.
            return {
                name: file[name][()].T for name in ("X", "y") if name in file and isinstance(file[name], h5py.Dataset)
            }
    except Exception as error:  # h5py raises OSError, KeyError, RuntimeError and more for a damaged file
        raise DataFileError(path, f"the HDF5 file is truncated or damaged ({error})") from error
