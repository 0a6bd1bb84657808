"""The competing methods that a well-kept library has: training and test rows -> scores, higher meaning anomalous.

Section 4.2's settings; what it leaves open is the network and training of DASVDD, or the library's default.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from dasvdd_runtime.errors import DataError
from dasvdd_runtime.extras import require
from numpy.typing import NDArray

if TYPE_CHECKING:
    from .settings import CellSettings

Rows = NDArray[np.float32]
Scores = NDArray[np.float64]
Method = Callable[[Rows, Rows, "CellSettings", int, str], Scores]
"""(training rows, test rows, settings, seed, device) -> scores of the test rows."""

PYOD = ("pandas", "pyod", "tqdm")
"""What PyOD's detectors import."""
KDE_FOLDS = 5
KDE_BANDWIDTHS = np.logspace(-2, 0, 9)
"""Bandwidths that are tried, as shares of the data's extent: the root of the summed variances."""
KDE_ROWS_AT_ONCE = 1000
TREES = 100
ROWS_A_TREE = 256


def ocsvm(train: Rows, test: Rows, settings: CellSettings, seed: int, device: str) -> Scores:
    """One-class SVM, rbf kernel, nu = 0.5; the kernel's width is scikit-learn's default, 'scale'."""
    from sklearn.svm import OneClassSVM

    return _scores(-OneClassSVM(kernel="rbf", nu=0.5).fit(train).score_samples(test))


def kde(train: Rows, test: Rows, settings: CellSettings, seed: int, device: str) -> Scores:
    """Gaussian kernel density, its bandwidth chosen by 5-fold cross-validation."""
    from sklearn.model_selection import KFold

    bandwidths = float(np.sqrt(train.var(axis=0, dtype=np.float64).sum())) * KDE_BANDWIDTHS
    folds = KFold(min(KDE_FOLDS, len(train)), shuffle=True, random_state=0)
    likelihoods = sum(
        _log_densities(train[held_out], train[known], bandwidths).sum(axis=1) for known, held_out in folds.split(train)
    )
    best = int(np.argmax(likelihoods))
    return _scores(-_log_densities(test, train, bandwidths[best : best + 1]))


def _log_densities(rows: Rows, known: Rows, bandwidths: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log of the Gaussian kernel density of `known` [n, features] at `rows` [m, features], [bandwidths, m].

    Up to a constant of the number of features. Summed in full: scikit-learn's KernelDensity subtracts bounds from each
    other and loses every density below 1e-16 of the greatest, which in hundreds of dimensions is nearly all of them.
    """
    from sklearn.metrics.pairwise import euclidean_distances

    parts = []
    for some in np.array_split(rows.astype(np.float64), -(-len(rows) // KDE_ROWS_AT_ONCE)):
        squared: NDArray[np.float64] = euclidean_distances(some, known.astype(np.float64), squared=True)
        nearest = squared.min(axis=1, keepdims=True)
        further = squared - nearest
        twice = 2 * np.square(bandwidths)
        parts.append([np.log(np.exp(further / -width).sum(axis=1)) - nearest[:, 0] / width for width in twice])
    sums = np.concatenate(parts, axis=1) - rows.shape[1] * np.log(bandwidths)[:, None]
    return np.asarray(sums - np.log(len(known)))


def isolation_forest(train: Rows, test: Rows, settings: CellSettings, seed: int, device: str) -> Scores:
    """Isolation forest of 100 trees, 256 rows each."""
    from sklearn.ensemble import IsolationForest

    forest = IsolationForest(n_estimators=TREES, max_samples=min(ROWS_A_TREE, len(train)), random_state=seed)
    return _scores(-forest.fit(train).score_samples(test))


def vae(train: Rows, test: Rows, settings: CellSettings, seed: int, device: str) -> Scores:
    """PyOD's variational autoencoder with DASVDD's widths, latent size, epochs and batches."""
    _require_pyod()
    from pyod.models.vae import VAE

    widths = list(settings.widths)
    detector = VAE(
        preprocessing=False,
        lr=settings.learning_rate,
        epoch_num=settings.epochs,
        batch_size=min(settings.batch_rows, len(train)),
        optimizer_params={"weight_decay": settings.weight_decay},
        encoder_neuron_list=widths,
        decoder_neuron_list=widths[::-1],
        latent_dim=settings.latent,
        dropout_rate=0.0,
        device=_torch_device(device),
        random_state=seed,
        verbose=0,
    )
    return _fitted_scores(detector, train, test, seed)


def deep_svdd(train: Rows, test: Rows, settings: CellSettings, seed: int, device: str) -> Scores:
    """PyOD's Deep SVDD with DASVDD's encoder, epochs and batches; PyOD runs it on the CPU."""
    _require_pyod()
    from pyod.models.deep_svdd import DeepSVDD

    detector = DeepSVDD(
        n_features=train.shape[1],
        hidden_neurons=[*settings.widths, settings.latent],
        epochs=settings.epochs,
        batch_size=min(settings.batch_rows, len(train)),
        l2_regularizer=settings.weight_decay,
        dropout_rate=0.0,
        preprocessing=False,
        random_state=seed,
        verbose=0,
    )
    return _fitted_scores(detector, train, test, seed)


def anogan(train: Rows, test: Rows, settings: CellSettings, seed: int, device: str) -> Scores:
    """PyOD's AnoGAN with DASVDD's epochs and batches. It searches the latent space for each row: slow."""
    _require_pyod()
    from pyod.models.anogan import AnoGAN

    detector = AnoGAN(
        epochs=settings.epochs,
        batch_size=min(settings.batch_rows, len(train)),
        device=_torch_device(device),
        verbose=0,
    )
    return _fitted_scores(detector, train, test, seed)


def _require_pyod() -> None:
    require("this method", "baselines", PYOD)


def _torch_device(device: str) -> Any:
    from ..trainer import choose_device

    return choose_device(device)


def _fitted_scores(detector: Any, train: Rows, test: Rows, seed: int) -> Scores:
    import torch

    # PyOD draws from both global generators.
    torch.manual_seed(seed)
    np.random.seed(seed)
    try:
        return _scores(detector.fit(train).decision_function(test))
    except Exception as error:  # a fault of the library costs its own row of the table, not the others
        raise DataError(f"{type(detector).__name__} of PyOD failed: {type(error).__name__}: {error}") from error


def _scores(values: Any) -> Scores:
    return np.asarray(values, np.float64).ravel()
