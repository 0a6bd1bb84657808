"""What a calibration can promise from the hours that it rests on, and what is far from training. Pure."""

from __future__ import annotations

import math

from ..calibration import Calibration

UNPROVEN_RATIO = 10.0
"""A rate whose upper bound is this many times the target cannot be promised at all."""
FAR_RATIO = 3.0
"""Scores of normal running whose usual value is this many times that of training lie far from it."""
REACH_RATIO = 20.0
"""A threshold this many times the model's own is above what most faults score."""


def is_out_of_reach(threshold: float, calibration: Calibration) -> bool:
    """`threshold` is so far above the calibrated one that hardly any fault would alarm."""
    return threshold > REACH_RATIO * calibration.threshold


def is_promised(calibration: Calibration) -> bool:
    """The scores bound the rate closely enough to the target for it to be promised."""
    return calibration.episodes_per_day_upper <= UNPROVEN_RATIO * calibration.false_alarms_per_day


def hours_to_promise(false_alarms_per_day: float, *, confidence: float) -> float:
    """Hours of running without any alarm from which `is_promised` holds (Poisson)."""
    return hours_to_bound(UNPROVEN_RATIO * false_alarms_per_day, confidence=confidence)


def promised_rate(calibration: Calibration) -> float:
    """The lowest target, in alarms a day, that the same scores would promise."""
    return calibration.episodes_per_day_upper / UNPROVEN_RATIO


def hours_to_count(calibration: Calibration) -> float:
    """Hours without any alarm after which the target rate is met with the calibration's confidence (Poisson)."""
    return hours_to_bound(calibration.false_alarms_per_day, confidence=calibration.confidence)


def hours_to_bound(per_day: float, *, confidence: float) -> float:
    """Hours without any event after which its rate is bounded by `per_day` with `confidence` (Poisson)."""
    return -math.log1p(-confidence) / per_day * 24
