"""The methods of table 2 that can be run here: how each turns a split into scores, and whose code it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from . import baselines
from .baselines import Rows, Scores
from .settings import CellSettings
from .training import Fitted

ALL_SETTINGS = frozenset(CellSettings.model_fields)
NETWORK_SETTINGS = ALL_SETTINGS - {"kappa", "gamma", "gamma_initialisations", "center"}


@dataclass(frozen=True)
class RowScores:
    """Scores of test rows, each [m]; higher means anomalous."""

    score: Scores
    reconstruction_error: Scores | None = None
    center_distance: Scores | None = None
    """Not yet times gamma."""
    gamma: float | None = None


@dataclass(frozen=True)
class Networks:
    """What this project's trainer does, one model or many at once."""

    settings: Callable[[CellSettings], CellSettings]
    """What it trains with."""
    rows: Callable[[Fitted, Rows], RowScores]
    """(trained, test rows) -> their scores."""


@dataclass(frozen=True)
class Method:
    """A column of table 2."""

    title: str
    """As the paper writes it."""
    how: Networks | baselines.Method
    """Networks of this project, or what a library does."""
    settings_used: frozenset[str]
    """The settings that change its result."""
    origin: str
    """Whose code it is."""
    seeded: bool = True
    """False: the same rows always give the same scores."""
    version: int = 1
    """Raised when the method comes to mean something else, so that its older results do not count."""


def _score(fitted: Fitted, test: Rows) -> RowScores:
    error, distance = fitted.terms(test)
    return RowScores(error + fitted.gamma * distance, error, distance, fitted.gamma)


_DASVDD = Networks(lambda settings: settings, _score)
_AUTOENCODER = Networks(
    lambda settings: settings.model_copy(update={"gamma": 0.0, "center": "trainable"}),
    lambda fitted, test: RowScores(fitted.terms(test)[0]),
)

_FROM_PYOD = frozenset({"widths", "latent", "preprocessing", "epochs", "batch_rows", "learning_rate", "weight_decay"})
_ROWS_ALONE = frozenset({"preprocessing"})

METHODS = {
    "dasvdd": Method("DASVDD", _DASVDD, ALL_SETTINGS, "this project"),
    "ocsvm": Method("OCSVM", baselines.ocsvm, _ROWS_ALONE, "scikit-learn", seeded=False),
    "kde": Method("KDE", baselines.kde, _ROWS_ALONE, "scikit-learn, summed by this project", seeded=False, version=2),
    "if": Method("IF", baselines.isolation_forest, _ROWS_ALONE, "scikit-learn"),
    "ae": Method("AE", _AUTOENCODER, NETWORK_SETTINGS, "this project, DASVDD's network with gamma = 0"),
    "vae": Method("VAE", baselines.vae, _FROM_PYOD, "PyOD"),
    "dsvdd": Method("DSVDD", baselines.deep_svdd, _FROM_PYOD, "PyOD"),
    "anogan": Method("AnoGAN", baselines.anogan, _FROM_PYOD, "PyOD"),
}
"""Name on the command line -> method."""

PAPER_ONLY = {
    "DAGMM": "no maintained library has it",
    "PixCNN": "no maintained library has it as an anomaly detector",
    "AND": "no maintained library has it",
    "OCGAN": "no maintained library has it",
}
"""Columns of table 2 for which the table carries the paper's figure, and why."""


def item_auc(labels: NDArray[np.bool_], scores: Scores) -> float:
    """AUC in percent; NaN scores raise ValueError, since a sample without a score counts as neither."""
    from .auc import auc_percent

    if not np.isfinite(scores).all():
        raise ValueError(f"{int((~np.isfinite(scores)).sum())} of {len(scores)} scores are not finite")
    return auc_percent(labels, scores)
