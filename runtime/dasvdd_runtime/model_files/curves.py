"""What a model file keeps of its training for the plots of its card: small enough to travel with it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

MOST_EPOCHS = 60
BINS = 40


class LearningCurve(BaseModel):
    """Means over epochs of the training, at most MOST_EPOCHS of them, evenly spaced with the first and the last."""

    model_config = ConfigDict(frozen=True)

    epochs: list[int] = Field(min_length=1)
    """Counted from 1."""
    reconstruction_error: list[float]
    """Mean of ||x_hat - x||^2."""
    weighted_center_distance: list[float]
    """gamma times the mean of ||z - c||^2: with the other, the two terms of the loss."""
    holdout_score: list[float | None]
    """Mean score of held-out feature vectors; null where none was computed."""

    @model_validator(mode="after")
    def _as_many_of_each(self) -> LearningCurve:
        lengths = {len(values) for values in (self.reconstruction_error, self.weighted_center_distance)}
        if lengths | {len(self.holdout_score)} != {len(self.epochs)}:
            raise ValueError("the curves have other lengths than epochs")
        return self


class ScoreHistogram(BaseModel):
    """How many held-out windows of normal running scored how much, in bins of equal width."""

    model_config = ConfigDict(frozen=True)

    lowest: float
    highest: float
    """Ends of the first and of the last bin."""
    counts: list[int] = Field(min_length=1)

    @classmethod
    def of(cls, streams: Sequence[NDArray[np.float64]]) -> ScoreHistogram | None:
        """The histogram of all finite scores of `streams`, each [windows]; None where there are none."""
        scores = np.concatenate([*streams, np.empty(0)])
        scores = scores[np.isfinite(scores)]
        if not len(scores):
            return None
        lowest, highest = float(scores.min()), float(scores.max())
        highest = max(highest, lowest + 1e-6 * abs(lowest) + 1e-12)  # bins need a width where all scores are equal
        counts, edges = np.histogram(scores, BINS, range=(lowest, highest))
        return cls(lowest=float(edges[0]), highest=float(edges[-1]), counts=counts.tolist())

    @model_validator(mode="after")
    def _has_bins(self) -> ScoreHistogram:
        if not self.lowest < self.highest or min(self.counts) < 0 or not any(self.counts):
            raise ValueError("the bins of the scores hold nothing, or have no width")
        return self
