"""idx files: read as numpy wrote them, refused at every length that is not whole."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from dasvdd_train.reproduction.datasets import DataFileError, DataSetMissing, load_dataset
from dasvdd_train.reproduction.datasets.idx import read_idx

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 4, 4), dtype=np.uint8)
LABELS = np.array([0, 1, 2, 0, 1, 2], np.uint8)


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


def write_mnist(folder: Path, *, packed: bool) -> None:
    folder.mkdir(parents=True)
    for prefix in ("train", "t10k"):
        for stem, array in (("images-idx3-ubyte", IMAGES), ("labels-idx1-ubyte", LABELS)):
            name = f"{prefix}-{stem}" + (".gz" if packed else "")
            (folder / name).write_bytes(gzip.compress(idx(array)) if packed else idx(array))


@pytest.mark.parametrize("packed", [True, False], ids=["gzip", "plain"])
def test_one_class_is_normal_and_all_others_are_anomalous(tmp_path: Path, packed: bool) -> None:
    """Training rows are the class's own images; the test rows are all images, anomalous unless of the class."""
    write_mnist(tmp_path / "mnist", packed=packed)
    dataset = load_dataset("mnist", tmp_path)
    assert dataset.class_names == ("0", "1", "2")
    assert dataset.image_shape == (4, 4)
    split = dataset.split("1", seed=0)
    np.testing.assert_array_equal(split.train, IMAGES[[1, 4]].reshape(2, 16))
    np.testing.assert_array_equal(split.test, IMAGES.reshape(6, 16))
    np.testing.assert_array_equal(split.labels, [True, False, True, True, False, True])


@pytest.mark.parametrize("packed", [True, False], ids=["gzip", "plain"])
def test_a_file_cut_at_any_length_is_named(tmp_path: Path, packed: bool) -> None:
    """Every proper prefix of an idx file is refused with the file's name."""
    path = tmp_path / "images"
    whole = gzip.compress(idx(IMAGES)) if packed else idx(IMAGES)
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(DataFileError, match="images"):
            read_idx(path, dimensions=3)


def test_other_content_is_refused(tmp_path: Path) -> None:
    """More bytes than promised, another type or number of axes, and an absurd promise are all refused."""
    path = tmp_path / "images"
    absurd = bytes([0, 0, 8, 3]) + b"\xff" * 12
    for content in (idx(IMAGES) + b"x", idx(LABELS), b"\0\0\x0d\x03" + idx(IMAGES)[4:], absurd, absurd + b"data"):
        path.write_bytes(content)
        with pytest.raises(DataFileError):
            read_idx(path, dimensions=3)


def test_a_damaged_gzip_file_is_refused(tmp_path: Path) -> None:
    """A flipped bit in the packed content is found by gzip's own sum."""
    path = tmp_path / "labels.gz"
    content = bytearray(gzip.compress(idx(LABELS)))
    content[-6] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataFileError, match=r"labels\.gz"):
        read_idx(path, dimensions=1)


def test_labels_that_do_not_match_their_images_are_named(tmp_path: Path) -> None:
    """The label file of five labels is named beside the six images."""
    write_mnist(tmp_path / "mnist", packed=False)
    (tmp_path / "mnist" / "train-labels-idx1-ubyte").write_bytes(idx(LABELS[:5]))
    with pytest.raises(DataFileError, match="5 labels for the 6 images"):
        load_dataset("mnist", tmp_path)


@pytest.mark.parametrize("name", ["mnist", "fmnist", "cifar10", "speech", "pima", "awid3", "mimii"])
def test_a_missing_data_set_says_what_where_and_whence(tmp_path: Path, name: str) -> None:
    """One line: what was looked for, in which folder, and where it is published."""
    with pytest.raises(DataSetMissing, match=rf"^{name}: looked for .* in {tmp_path}.* published at http") as caught:
        load_dataset(name, tmp_path)
    assert "\n" not in str(caught.value)
