"""The competing methods of section 4.2, each as the paper sets it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.special
from dasvdd_train.reproduction import baselines
from dasvdd_train.reproduction.methods import METHODS, PAPER_ONLY
from dasvdd_train.reproduction.paper import METHODS as COLUMNS
from dasvdd_train.reproduction.settings import CellSettings
from numpy.typing import NDArray
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score

SETTINGS = CellSettings(widths=(8,), latent=2, epochs=10, batch_rows=50)
RANDOM = np.random.default_rng(0)
TRAIN = RANDOM.normal(size=(200, 4)).astype(np.float32)
LABELS = np.repeat([False, True], [40, 20])
TEST = (RANDOM.normal(size=(60, 4)) + 4 * LABELS[:, None]).astype(np.float32)


def test_every_column_of_table_2_is_run_or_says_why_not() -> None:
    """No method of the paper is forgotten, and none is both."""
    assert sorted([*(method.title for method in METHODS.values()), *PAPER_ONLY]) == sorted(COLUMNS)


def squared_distances(rows: NDArray[Any], others: NDArray[Any]) -> NDArray[np.float64]:
    squared: NDArray[np.float64] = np.square(rows[:, None] - others[None], dtype=np.float64).sum(axis=2)
    return squared


def log_density(rows: NDArray[np.float64], known: NDArray[np.float64], bandwidth: float) -> NDArray[np.float64]:
    """Of a Gaussian kernel density, up to what does not depend on the rows: -features * log(bandwidth) stays."""
    kernels = -squared_distances(rows, known) / (2 * bandwidth**2)
    density: NDArray[np.float64] = scipy.special.logsumexp(kernels, axis=1) - rows.shape[1] * np.log(bandwidth)
    return density - np.log(len(known))


def test_the_bandwidth_of_kde_is_that_of_five_folds() -> None:
    """Of the bandwidths that are tried, the one with the highest likelihood of held-out fifths gives the scores."""
    rows = TRAIN.astype(np.float64)
    fifths = np.array_split(np.random.RandomState(0).permutation(len(rows)), 5)
    extent = np.sqrt(rows.var(axis=0).sum())
    likelihoods = {
        bandwidth: sum(log_density(rows[fold], np.delete(rows, fold, axis=0), bandwidth).sum() for fold in fifths)
        for bandwidth in extent * baselines.KDE_BANDWIDTHS
    }
    best = max(likelihoods, key=lambda bandwidth: likelihoods[bandwidth])
    assert min(likelihoods) < best < max(likelihoods)
    expected = -log_density(TEST.astype(np.float64), rows, best)
    assert np.ptp(expected) > 60  # far below what is left of a density next to the greatest in float64
    found = baselines.kde(TRAIN, TEST, SETTINGS, 0, "cpu")
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert roc_auc_score(LABELS, found) > 0.95


def test_ocsvm_holds_half_of_the_training_rows_outside() -> None:
    """nu = 0.5 and an rbf kernel of scikit-learn's default width: scores are a sum of kernels over half of the rows."""
    found = baselines.ocsvm(TRAIN, TEST, SETTINGS, 0, "cpu")
    gamma = 1 / (TRAIN.shape[1] * TRAIN.var())
    kernels = [np.exp(-gamma * squared_distances(rows, TRAIN)) for rows in (TEST, TRAIN)]
    # With nu = 0.5 about half of the weights are at their bound of 1, the others 0, so the score is nearly the sum over
    # the outer half of the rows.
    outer = np.argsort(baselines.ocsvm(TRAIN, TRAIN, SETTINGS, 0, "cpu"))[len(TRAIN) // 2 :]
    np.testing.assert_allclose(-kernels[0][:, outer].sum(axis=1), found, rtol=0.05, atol=0.5)
    assert roc_auc_score(LABELS, found) > 0.95


def test_the_isolation_forest_has_100_trees_of_256_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Section 4.2's figures; fewer rows than 256 are all drawn."""
    forests: list[IsolationForest] = []
    fit = IsolationForest.fit

    def noted(self: IsolationForest, rows: NDArray[np.float32]) -> IsolationForest:
        forests.append(self)
        return fit(self, rows)

    monkeypatch.setattr(IsolationForest, "fit", noted)
    many = np.random.default_rng(1).normal(size=(400, 4)).astype(np.float32)
    for train in (many, TRAIN):
        assert roc_auc_score(LABELS, baselines.isolation_forest(train, TEST, SETTINGS, 0, "cpu")) > 0.95
    assert [(len(forest.estimators_), forest.max_samples_) for forest in forests] == [(100, 256), (100, 200)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "train_rows"),
    [(baselines.vae, 200), (baselines.deep_svdd, 200), (baselines.anogan, 40)],  # AnoGAN searches for every row
    ids=["vae", "deep_svdd", "anogan"],
)
def test_methods_of_pyod_tell_outliers_and_repeat(method: baselines.Method, train_rows: int) -> None:
    """Rows four deviations away score higher; a seed gives the same scores again, whatever was drawn before it."""
    some = TEST[::5]
    first = method(TRAIN[:train_rows], some, SETTINGS, 3, "cpu")
    np.random.random(5)
    again = method(TRAIN[:train_rows], some, SETTINGS, 3, "cpu")
    np.testing.assert_array_equal(first, again)
    assert roc_auc_score(LABELS[::5], first) > 0.7


def test_the_autoencoder_is_dasvdds_without_its_second_term() -> None:
    """The same widths and training, gamma 0 and the reconstruction error as score: what table 2 calls AE."""
    how = METHODS["ae"].how
    assert not callable(how)
    trained_with = how.settings(SETTINGS)
    assert trained_with == SETTINGS.model_copy(update={"gamma": 0.0})
