"""Scores and times -> alarm episodes. Pure: it knows no clock, file or socket."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DecisionSettings:
    """The decision chain from scores to alarms, calibrated as one thing together with the threshold.

    Raises ValueError on a value that cannot work.
    """

    smoothing_seconds: float = 2.0
    """Time constant of the exponential smoothing of the score; 0 switches it off."""
    k: int = 3
    """An alarm needs `k` of the last `n` smoothed scores above the threshold."""
    n: int = 5
    """Length of the k-of-n history, in windows."""
    clear_ratio: float = 0.9
    """Hysteresis: an alarm clears once all of the last `n` smoothed scores are at or below clear_ratio * threshold."""
    minimum_duration_seconds: float = 0.0
    """The k-of-n condition must have held this long before the alarm rises; shorter excursions are no episodes."""

    def __post_init__(self) -> None:
        if not 1 <= self.k <= self.n:
            raise ValueError(f"k = {self.k} of n = {self.n}: k must lie between 1 and n")
        if not 0 < self.clear_ratio <= 1:
            raise ValueError(f"clear_ratio = {self.clear_ratio}: must lie above 0 and at most at 1")
        for name in ("smoothing_seconds", "minimum_duration_seconds"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name} = {getattr(self, name)}: must be 0 or more seconds")
