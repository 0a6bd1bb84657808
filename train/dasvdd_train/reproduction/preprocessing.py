"""What happens to a split's rows before training; every constant comes from the training rows alone."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from .datasets import OneClassSplit
from .settings import Preprocessing

Rows = NDArray[np.float32]


def preprocess(split: OneClassSplit, how: Preprocessing) -> OneClassSplit:
    """`split` with its rows prepared.

    'none': as they are. 'pixels': bytes to 0 .. 1. 'global_contrast': each row minus its mean over the mean of its
    absolute values, then the training rows' extremes to 0 and 1, as Ruff et al. (the paper's [20]) do. 'min_max': each
    feature's extremes in training to 0 and 1. 'standardise': each feature to mean 0 and deviation 1 in training.
    """
    train, test = _prepared(split.train, split.test, how)
    return dataclasses.replace(split, train=train, test=test)


def _prepared(train: Rows, test: Rows, how: Preprocessing) -> tuple[Rows, Rows]:
    if how == "none":
        return train, test
    if how == "pixels":
        return train / np.float32(255), test / np.float32(255)
    if how == "global_contrast":
        train, test = _contrast(train), _contrast(test)
        lowest, highest = train.min(), train.max()
        return (train - lowest) / (highest - lowest), (test - lowest) / (highest - lowest)
    if how == "min_max":
        offset, scale = train.min(axis=0), np.ptp(train, axis=0)
    else:
        offset, scale = train.mean(axis=0, dtype=np.float64), train.std(axis=0, dtype=np.float64)
    # A feature that never changes in training stays as it is: nothing says how much of it is much.
    scale = np.where(scale > 0, scale, 1)
    return _scaled(train, offset, scale), _scaled(test, offset, scale)


def _scaled(rows: Rows, offset: NDArray[np.floating], scale: NDArray[np.floating]) -> Rows:
    return np.asarray((rows - offset) / scale, np.float32)


def _contrast(rows: Rows) -> Rows:
    centered = rows - rows.mean(axis=1, keepdims=True)
    size = np.abs(centered).mean(axis=1, keepdims=True)
    contrast: Rows = centered / np.where(size > 0, size, 1)
    return contrast
