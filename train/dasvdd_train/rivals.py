"""Cheap baselines that an autoencoder has to beat: squared distances of the same feature vectors, by scikit-learn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MOST_FEATURES = 2048
"""A covariance of more features than this takes minutes and hundreds of megabytes."""
PCA_VARIANCE = 0.95
"""Share of the training variance that the principal components of PCA-Q keep."""


@dataclass(frozen=True)
class Rival:
    """A fitted baseline."""

    name: str
    score: Callable[[NDArray[np.float32]], NDArray[np.float64]]
    """Feature vectors [rows, features] -> a score per row, [rows], higher is more unusual."""


def fit_rivals(vectors: NDArray[np.float32]) -> list[Rival]:
    """Mahalanobis distance with the Ledoit-Wolf covariance, and PCA-Q, of training `vectors` [rows, features].

    PCA-Q is the squared prediction error, ||x - x_pca||^2, of the components that keep 95 % of the variance.
    """
    from sklearn.covariance import LedoitWolf
    from sklearn.decomposition import PCA

    mahalanobis = LedoitWolf().fit(vectors)
    pca = PCA(n_components=PCA_VARIANCE, svd_solver="full" if len(vectors) < vectors.shape[1] else "covariance_eigh")
    pca.fit(vectors)

    def squared_prediction_error(x: NDArray[np.float32]) -> NDArray[np.float64]:
        error: NDArray[np.float64] = np.square(x - pca.inverse_transform(pca.transform(x))).sum(axis=1)
        return error

    return [Rival("Mahalanobis (Ledoit-Wolf)", mahalanobis.mahalanobis), Rival("PCA-Q", squared_prediction_error)]
