"""CIFAR-10: binary batches, or the Python batches through an unpickler that admits nothing but arrays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .array_unpickler import UnsafePickle, load_arrays
from .split import DataFileError, DataSetMissing, LabelledImages

PIXELS = 3 * 32 * 32
CLASSES = 10
IMAGES_PER_BATCH = 10_000
PUBLISHED = "https://www.cs.toronto.edu/~kriz/cifar.html"
TRAIN_BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))
TEST_BATCH = "test_batch"
ReadBatch = Callable[[Path, int], tuple[NDArray[np.uint8], NDArray[np.uint8]]]


def load_cifar10(folder: Path, *, images_per_batch: int = IMAGES_PER_BATCH) -> LabelledImages:
    """All batches in `folder`, or in its subfolders as the publisher names them; rows are 3 x 32 x 32, channel first.

    Raises DataSetMissing for a batch that is not there and DataFileError for one that is damaged.
    """
    read_batch, suffix, place = _layout(folder)
    parts = []
    for names in (TRAIN_BATCHES, (TEST_BATCH,)):
        for name in names:
            if not (place / f"{name}{suffix}").is_file():
                raise DataSetMissing("cifar10", wanted=f"{name}{suffix}", folder=place, published=PUBLISHED)
        batches = [read_batch(place / f"{name}{suffix}", images_per_batch) for name in names]
        parts += [np.concatenate([part[i] for part in batches]) for i in (0, 1)]
    train, train_labels, test, test_labels = parts
    return LabelledImages(train, train_labels, test, test_labels, (3, 32, 32))


def read_binary_batch(path: Path, images: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Images [n, 3072] and labels [n] of a binary batch: records of one label byte and 3072 pixels."""
    content = path.read_bytes()
    if len(content) != images * (1 + PIXELS):
        raise DataFileError(path, f"{images} images take {images * (1 + PIXELS)} bytes, and there are {len(content)}")
    records = np.frombuffer(content, np.uint8).reshape(images, 1 + PIXELS)
    return records[:, 1:], _checked_labels(path, records[:, 0])


def read_python_batch(path: Path, images: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Images [n, 3072] and labels [n] of a Python batch: a pickled dictionary with `data` and `labels`."""
    try:
        batch = load_arrays(path.read_bytes())
    except UnsafePickle as error:
        raise DataFileError(path, str(error)) from error
    if not isinstance(batch, dict) or not {b"data", b"labels"} <= batch.keys():
        raise DataFileError(path, "not a CIFAR-10 batch: a dictionary with 'data' and 'labels' is expected")
    data, labels = batch[b"data"], batch[b"labels"]
    if not isinstance(data, np.ndarray) or data.shape != (images, PIXELS):
        found = data.shape if isinstance(data, np.ndarray) else type(data).__name__
        raise DataFileError(path, f"'data' should be bytes of {(images, PIXELS)}, and is {found}")
    if not isinstance(labels, list) or len(labels) != images or not all(type(label) is int for label in labels):
        raise DataFileError(path, f"'labels' should be {images} whole numbers")
    return data, _checked_labels(path, np.array(labels, np.int64))


def _checked_labels(path: Path, labels: NDArray[np.uint8] | NDArray[np.int64]) -> NDArray[np.uint8]:
    if labels.min() < 0 or labels.max() >= CLASSES:
        raise DataFileError(path, f"labels from {labels.min()} to {labels.max()}, and there are {CLASSES} classes")
    return labels.astype(np.uint8)


def _layout(folder: Path) -> tuple[ReadBatch, str, Path]:
    """How batches are read, the suffix of their names, and the folder that holds them."""
    for place in (folder, folder / "cifar-10-batches-bin", folder / "cifar-10-batches-py"):
        if (place / f"{TEST_BATCH}.bin").is_file() or (place / f"{TRAIN_BATCHES[0]}.bin").is_file():
            return read_binary_batch, ".bin", place
        if (place / TEST_BATCH).is_file() or (place / TRAIN_BATCHES[0]).is_file():
            return read_python_batch, "", place
    wanted = f"cifar-10-batches-bin/{TEST_BATCH}.bin or cifar-10-batches-py/{TEST_BATCH}"
    raise DataSetMissing("cifar10", wanted=wanted, folder=folder, published=PUBLISHED)
