"""One-class splits: what every data set comes down to, and the two protocols that make them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from dasvdd_runtime.errors import DataError, InputMissing
from numpy.typing import NDArray

from ..auc import mean_by_group

ALL = "all"
"""The one class of a data set that is labelled normal or anomalous already."""


class DataSetMissing(InputMissing):
    """Files of a data set that are not there: what was looked for, where, and where it is published."""

    def __init__(self, name: str, *, wanted: str, folder: Path, published: str) -> None:
        super().__init__(
            f"{name}: looked for {wanted} in {folder}, and it is not there. It is published at {published}"
        )


class DataFileError(DataError):
    """A file of a data set that cannot be used, named with the reason."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}. Get it anew from its publisher, and compare its size and checksum.")


@dataclass(frozen=True)
class OneClassSplit:
    """Normal rows to train on, labelled rows to test on. Checked on creation; raises ValueError."""

    train: NDArray[np.float32]
    """Normal rows, [n, features]."""
    test: NDArray[np.float32]
    """Rows to score, [m, features]."""
    labels: NDArray[np.bool_]
    """True where a test item is anomalous, [items]; an item is a row, or with `groups` a group of rows."""
    groups: NDArray[np.int64] | None = None
    """Item of each test row, [m], from 0 without gaps; None: every row is an item."""

    def __post_init__(self) -> None:
        if self.train.ndim != 2 or self.test.ndim != 2 or self.train.shape[1] != self.test.shape[1]:
            raise ValueError(f"rows of {self.train.shape} and {self.test.shape} do not go together")
        items = len(self.test) if self.groups is None else int(self.groups.max()) + 1
        if len(self.labels) != items:
            raise ValueError(f"{len(self.labels)} labels for {items} test items")
        if self.labels.all() or not self.labels.any():
            raise ValueError("an AUC needs normal and anomalous test items, and there is only one kind")

    def item_scores(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Scores of the items, [items], from those of the test rows, [m]: the mean of each item's rows."""
        return rows if self.groups is None else mean_by_group(rows, self.groups)


class Dataset(Protocol):
    """A data set with a split for each of its classes."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes that can be the normal one."""
        ...

    @property
    def image_shape(self) -> tuple[int, ...] | None:
        """Shape of a row as an image (height, width), or None."""
        ...

    @property
    def seeded(self) -> bool:
        """True if a seed also chooses which rows are trained on."""
        ...

    def split(self, class_name: str, *, seed: int) -> OneClassSplit:
        """The split with `class_name` as the normal class, before preprocessing."""
        ...


@dataclass(frozen=True)
class LabelledImages:
    """Images with a publisher's training and test part: one class is normal, all others are anomalous (section 4.1)."""

    train: NDArray[np.uint8]
    """[n, pixels]."""
    train_labels: NDArray[np.uint8]
    test: NDArray[np.uint8]
    test_labels: NDArray[np.uint8]
    image_shape: tuple[int, ...] | None
    seeded: bool = field(default=False, init=False)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The labels that occur, as text."""
        return tuple(str(label) for label in np.unique(self.train_labels))

    def split(self, class_name: str, *, seed: int) -> OneClassSplit:
        """Training images of the class; all test images. `seed` changes nothing."""
        label = int(class_name)
        return OneClassSplit(
            self.train[self.train_labels == label].astype(np.float32),
            self.test.astype(np.float32),
            self.test_labels != label,
        )


@dataclass(frozen=True)
class LabelledRows:
    """Rows that are normal or anomalous: train on a random half of the normal ones, test on all others.

    The paper does not say how it splits these data sets.
    """

    normal: NDArray[np.float32]
    """[n, features]."""
    anomalous: NDArray[np.float32]
    """[m, features]."""
    class_names: tuple[str, ...] = field(default=(ALL,), init=False)
    image_shape: tuple[int, ...] | None = field(default=None, init=False)
    seeded: bool = field(default=True, init=False)

    def split(self, class_name: str, *, seed: int) -> OneClassSplit:
        """The half that `seed` draws, and the rest."""
        order = np.random.default_rng(seed).permutation(len(self.normal))
        train, rest = np.split(order, [len(order) // 2])
        test = np.concatenate([self.normal[rest], self.anomalous])
        return OneClassSplit(self.normal[train], test, np.arange(len(test)) >= len(rest))
