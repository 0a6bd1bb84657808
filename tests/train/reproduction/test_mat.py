"""ODDS files as scipy and h5py write them, whole and damaged."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
from dasvdd_train.reproduction.datasets import DataFileError, load_dataset
from dasvdd_train.reproduction.datasets.mat import read_mat

ROWS = np.random.default_rng(0).normal(size=(20, 3))
OUTLIER = np.arange(20) % 4 == 0


def write_old(path: Path, *, rows: np.ndarray = ROWS, outlier: np.ndarray = OUTLIER, packed: bool = True) -> None:
    scipy.io.savemat(path, {"X": rows, "y": outlier[:, None].astype(float)}, do_compression=packed)


def write_hdf5(path: Path) -> None:
    """As MATLAB 7.3 does: a block of 512 bytes before the HDF5 part, and every array transposed."""
    with h5py.File(path, "w", userblock_size=512) as file:
        file["X"] = ROWS.T
        file["y"] = OUTLIER[None].astype(float)
    with path.open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(512, b"\0"))


@pytest.mark.parametrize("kind", ["packed", "unpacked", "hdf5"])
def test_reads_rows_and_outliers(tmp_path: Path, kind: str) -> None:
    """Old files, packed or not, and HDF5 ones give the rows and flags that were written."""
    path = tmp_path / "pima.mat"
    write_hdf5(path) if kind == "hdf5" else write_old(path, packed=kind == "packed")
    rows, outlier = read_mat(path)
    np.testing.assert_allclose(rows, ROWS.astype(np.float32))
    np.testing.assert_array_equal(outlier, OUTLIER)


def test_half_of_the_normal_rows_train_and_all_others_test(tmp_path: Path) -> None:
    """A seed draws the training half; no row is in both parts, and none is lost."""
    write_old(tmp_path / "pima.mat")
    dataset = load_dataset("pima", tmp_path)
    splits = [dataset.split("all", seed=seed) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(splits[0].train, splits[1].train)
    assert not np.array_equal(splits[0].train, splits[2].train)
    for split in splits:
        assert len(split.train) == 7
        assert split.labels.sum() == OUTLIER.sum()
        together = np.concatenate([split.train, split.test])
        np.testing.assert_array_equal(np.sort(together, axis=0), np.sort(ROWS.astype(np.float32), axis=0))
        np.testing.assert_array_equal(
            np.sort(split.test[split.labels], axis=0), np.sort(ROWS[OUTLIER], axis=0).astype("f4")
        )


@pytest.mark.parametrize("kind", ["packed", "unpacked", "hdf5"])
def test_a_file_cut_at_any_length_is_named(tmp_path: Path, kind: str) -> None:
    """Prefixes of a MATLAB file are refused with its name, or hold all there is."""
    path = tmp_path / "speech.mat"
    write_hdf5(path) if kind == "hdf5" else write_old(path, packed=kind == "packed")
    whole = path.read_bytes()
    used = len(whole) if kind != "hdf5" else len(whole) - 1
    for length in range(0, used, 23):
        path.write_bytes(whole[:length])
        with pytest.raises(DataFileError, match=r"speech\.mat"):
            read_mat(path)


def test_values_that_are_no_data_are_refused(tmp_path: Path) -> None:
    """A NaN, a label that is neither 0 nor 1, no outlier at all, and a missing variable are named."""
    path = tmp_path / "pima.mat"
    with_nan = ROWS.copy()
    with_nan[3, 1] = np.nan
    write_old(path, rows=with_nan)
    with pytest.raises(DataFileError, match="1 values of X are not finite"):
        read_mat(path)
    write_old(path, outlier=np.arange(20))
    with pytest.raises(DataFileError, match="y should be 0 and 1"):
        read_mat(path)
    write_old(path, outlier=np.zeros(20))
    with pytest.raises(DataFileError, match="y should be 0 and 1"):
        read_mat(path)
    scipy.io.savemat(path, {"X": ROWS})
    with pytest.raises(DataFileError, match="no variable y"):
        read_mat(path)
