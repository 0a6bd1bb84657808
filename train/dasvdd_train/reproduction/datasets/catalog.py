"""Name of a data set -> the data set, from where it lies under the data folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from .awid import load_awid3
from .cifar import load_cifar10
from .idx import load_idx_images
from .mat import load_odds
from .mimii import load_mimii
from .split import Dataset

MNIST_PUBLISHED = "http://yann.lecun.com/exdb/mnist/"
FASHION_MNIST_PUBLISHED = "https://github.com/zalandoresearch/fashion-mnist"


def _mnist(folder: Path) -> Dataset:
    return load_idx_images(folder, name="mnist", published=MNIST_PUBLISHED)


def _fashion_mnist(folder: Path) -> Dataset:
    return load_idx_images(folder, name="fmnist", published=FASHION_MNIST_PUBLISHED)


def _speech(folder: Path) -> Dataset:
    return load_odds(folder, "speech.mat")


def _pima(folder: Path) -> Dataset:
    return load_odds(folder, "pima.mat")


DATASETS: dict[str, tuple[tuple[str, ...], Callable[[Path], Dataset]]] = {
    "mnist": (("mnist", "MNIST/raw"), _mnist),
    "cifar10": (("cifar10", "."), load_cifar10),
    "fmnist": (("fashion_mnist", "FashionMNIST/raw"), _fashion_mnist),
    "speech": (("odds", "."), _speech),
    "pima": (("odds", "."), _pima),
    "awid3": (("awid3", "AWID3"), load_awid3),
    "mimii": (("mimii", "MIMII"), load_mimii),
}
"""The folders, under the data folder, in which a data set may lie, and its reader; in the order of table 2."""


def load_dataset(name: str, data_dir: Path) -> Dataset:
    """The data set `name` under `data_dir`. Raises DataSetMissing or DataFileError."""
    folders, load = DATASETS[name]
    there = [data_dir / folder for folder in folders if folder != "." and (data_dir / folder).is_dir()]
    if there:
        return load(there[0])
    return load(data_dir if "." in folders else data_dir / folders[0])
