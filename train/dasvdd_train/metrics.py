"""What one epoch of training is judged by; a line of `metrics.jsonl` and a point of the report's loss figure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from dasvdd_runtime.model_files.curves import MOST_EPOCHS, LearningCurve

from .spacing import evenly_spaced

PATIENCE = 20
"""Epochs without a lower held-out score after which early stopping would end a training."""


@dataclass(frozen=True)
class EpochMetrics:
    """Means over one epoch's feature vectors, both terms of eq. 3 apart."""

    epoch: int
    """From 1."""
    reconstruction_error: float
    """Mean of ||x_hat - x||^2."""
    center_distance: float
    """Mean of ||z - c||^2, not yet multiplied by gamma."""
    gamma: float
    """Weight of the center distance."""
    seconds: float
    """Time since the training began."""
    holdout_score: float | None
    """Mean score (eq. 2) of held-out feature vectors; None without any."""


@dataclass(frozen=True)
class EarlyStop:
    """Where early stopping on the held-out score would have ended the training."""

    best_epoch: int
    """Epoch of the lowest held-out score, the first of equal ones."""
    best_score: float
    last_score: float
    """Held-out score of the last epoch that was trained."""
    stop_epoch: int | None
    """The epoch after which it would have stopped; None: the best is less than PATIENCE epochs ago."""


def early_stop(history: Sequence[EpochMetrics]) -> EarlyStop | None:
    """What stopping after PATIENCE epochs without a lower held-out score would have done; None without such a score.

    `best_epoch` is the best up to the stop: what happened later, early stopping would not have seen.
    """
    best: EpochMetrics | None = None
    stop: EpochMetrics | None = None
    scored = [(m, m.holdout_score) for m in history if m.holdout_score is not None]
    best_score = math.inf
    for metrics, score in scored:
        if score < best_score:
            best, best_score = metrics, score
        elif best is not None and metrics.epoch - best.epoch >= PATIENCE:
            stop = metrics
            break
    if best is None:
        return None
    return EarlyStop(best.epoch, best_score, scored[-1][1], stop.epoch if stop else None)


def learning_curve(history: Sequence[EpochMetrics]) -> LearningCurve | None:
    """What the model file keeps of `history`; None without an epoch."""
    if not history:
        return None
    kept = [history[index] for index in evenly_spaced(len(history), MOST_EPOCHS)]
    scores = [m.holdout_score for m in kept]
    return LearningCurve(
        epochs=[m.epoch for m in kept],
        reconstruction_error=[_short(m.reconstruction_error) for m in kept],
        weighted_center_distance=[_short(m.gamma * m.center_distance) for m in kept],
        holdout_score=[None if score is None or not math.isfinite(score) else _short(score) for score in scores],
    )


def _short(value: float) -> float:
    return float(f"{value:.5g}")
