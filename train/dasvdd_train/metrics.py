"""What one epoch of training is judged by; a line of `metrics.jsonl` and a point of the report's loss figure."""

from __future__ import annotations

from dataclasses import dataclass


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
