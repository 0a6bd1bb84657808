"""Held-out scores of normal running -> the alarm threshold for a stated false-alarm rate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Calibration:
    """A threshold and what it rests on."""

    threshold: float
    """On the smoothed score; alarm means smoothed score > threshold. Never equal to a score that was seen."""
    false_alarms_per_day: float
    """The target: episodes per day of running time, after the whole decision chain."""
    episodes_per_day_upper: float
    """Upper confidence bound, by block bootstrap, of the episode rate at `threshold` in the held-out scores."""
    confidence: float
    """Confidence of that bound, for instance 0.95."""
    hours: float
    """Hours of held-out normal running that the threshold rests on."""
    windows: int
    """Number of held-out scores."""
    extrapolates: bool
    """True where `hours` are too few to observe the target rate, so that a fitted tail had to say."""
    method: Literal["empirical", "fitted tail"]
