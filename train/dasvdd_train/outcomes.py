"""Scores of one recording -> what the decision chain makes of them: windows above the threshold, alarms, delay."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate

import numpy as np
from dasvdd_runtime.calibration import Calibration
from dasvdd_runtime.detector import DecisionSettings, find_episodes, smooth
from dasvdd_runtime.reading.manifest import Role
from numpy.typing import NDArray


@dataclass(frozen=True)
class ScoredStream:
    """The scores of one uninterrupted stretch of one recording."""

    name: str
    role: Role
    machine: str
    condition: str
    times_seconds: NDArray[np.float64]
    """Time of each window's end within the recording, shape [windows]."""
    scores: NDArray[np.float64]
    """Score of each window before smoothing, shape [windows]."""


@dataclass(frozen=True)
class Outcome:
    """What the decision chain makes of one stream."""

    stream: ScoredStream
    seconds: float
    """What the windows cover, from the first one's start to the last one's end."""
    windows_above: int
    """Windows whose smoothed score lies above the threshold; 0 without a threshold."""
    peak_of_threshold: float
    """Largest smoothed score over the threshold; nan without a threshold or without a window."""
    can_alarm: bool
    """The stream has a threshold, and enough windows for an alarm to rise."""
    alarms: int
    """Episodes, after smoothing, k-of-n and hysteresis."""
    first_alarm_seconds: float | None
    """When the first one rises, in the recording's time."""
    delay_seconds: float | None
    """The same from the start of the stretch, which is where its first window starts."""


def smoothed_scores(
    scores: NDArray[np.float64], *, decision: DecisionSettings, window_hop_seconds: float
) -> NDArray[np.float64]:
    """`scores` [windows] after the decision chain's exponential smoothing, which starts at the first of them."""
    step = partial(smooth, alpha=decision.smoothing_alpha(window_hop_seconds))
    return np.fromiter(accumulate(scores.tolist(), step), np.float64, len(scores))


def outcomes(
    streams: Sequence[ScoredStream],
    *,
    calibration: Calibration | None,
    decision: DecisionSettings,
    window_seconds: float,
    window_hop_seconds: float,
) -> list[Outcome]:
    """One `Outcome` a stream, in order. Raises ValueError for a score that is not finite, as the detector does."""
    chain = partial(
        _outcome,
        calibration=calibration,
        decision=decision,
        window_seconds=window_seconds,
        window_hop_seconds=window_hop_seconds,
    )
    return [chain(stream) for stream in streams]


def _outcome(
    stream: ScoredStream,
    *,
    calibration: Calibration | None,
    decision: DecisionSettings,
    window_seconds: float,
    window_hop_seconds: float,
) -> Outcome:
    windows = len(stream.scores)
    seconds = (windows - 1) * window_hop_seconds + window_seconds if windows else 0.0
    if calibration is None or not windows:
        return Outcome(stream, seconds, 0, math.nan, False, 0, None, None)
    episodes = find_episodes(
        stream.times_seconds,
        stream.scores,
        threshold=calibration.threshold,
        settings=decision,
        window_hop_seconds=window_hop_seconds,
        usual_score=calibration.usual_score,
    )
    smoothed = smoothed_scores(stream.scores, decision=decision, window_hop_seconds=window_hop_seconds)
    first = episodes[0].rise_seconds if episodes else None
    return Outcome(
        stream=stream,
        seconds=seconds,
        windows_above=int((smoothed > calibration.threshold).sum()),
        peak_of_threshold=float(smoothed.max()) / calibration.threshold,
        can_alarm=windows >= decision.windows_to_alarm(window_hop_seconds),
        alarms=len(episodes),
        first_alarm_seconds=first,
        delay_seconds=None if first is None else first - (float(stream.times_seconds[0]) - window_seconds),
    )
