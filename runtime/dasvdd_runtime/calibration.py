"""Held-out scores of normal running -> the alarm threshold for a stated false-alarm rate.

Where the hours suffice, the threshold is counted: the smallest one at which an upper confidence bound of the episode
rate meets the target. Otherwise a fitted tail says where the target rate should lie. Either way an episode is what the
whole decision chain of `detector.py` makes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .detector import DecisionSettings
from .errors import DataError
from .thresholds.decision_chain import MINIMUM_WINDOWS, Chain
from .thresholds.rare_events import BlockBootstrap, correlation_length, fit_cautious_pareto, poisson_upper

UPPER_TAIL = 0.9
"""Counted thresholds lie above this quantile: an alarm that is always on makes few episodes, yet is no use."""
TAIL_QUANTILES = (0.99, 0.98, 0.95, 0.9, 0.8, 0.7, 0.5)
"""Levels over which peaks are taken for the fitted tail, the first with enough peaks."""
ENOUGH_PEAKS = 50
FEWEST_PEAKS = 10
SHAPE_PRIOR_PEAKS = 50
"""A fitted shape counts fully only against many more peaks than this; see `_tail_threshold`."""
BOOTSTRAP_REPLICATES = 1000


class NotEnoughScores(DataError):
    """Too few held-out scores for any threshold."""


@dataclass(frozen=True)
class Calibration:
    """A threshold and what it rests on."""

    threshold: float
    """On the smoothed score; alarm means smoothed score > threshold. Never equal to a score that was seen."""
    false_alarms_per_day: float
    """The target: episodes per day of running time, after the whole decision chain."""
    episodes_per_day_upper: float
    """Upper confidence bound of the episode rate at `threshold` in the held-out scores: by block bootstrap, and never
    below the exact Poisson bound for the number of episodes seen."""
    confidence: float
    """Confidence of that bound, for instance 0.95."""
    hours: float
    """Hours of held-out normal running that the threshold rests on: those in which an alarm could have risen. A window
    counts for its hop, except for the first few of each stretch, before the chain can decide."""
    windows: int
    """Number of held-out scores."""
    extrapolates: bool
    """True where `hours` are too few to observe the target rate, so that a fitted tail had to say."""
    method: Literal["empirical", "fitted tail"]
    usual_score: float
    """Median, in normal running, of the largest of the last n smoothed scores: where an alarm must be able to clear."""


def calibrate(
    streams: Sequence[NDArray[np.float64]],
    *,
    settings: DecisionSettings,
    window_hop_seconds: float,
    false_alarms_per_day: float = 1.0,
    confidence: float = 0.95,
) -> Calibration:
    """The smallest threshold with at most `false_alarms_per_day` episodes per day of normal running.

    `streams` holds scores of normal running in time order, one array [windows] per uninterrupted stretch; the decision
    chain restarts at each. The same scores give the same result.

    Raises NotEnoughScores below MINIMUM_WINDOWS scores, and ValueError for scores that are negative or not finite and
    for a rate, hop or confidence out of range.
    """
    if not 0 < false_alarms_per_day < math.inf or not 0 < window_hop_seconds < math.inf or not 0 < confidence < 1:
        raise ValueError(
            f"false_alarms_per_day = {false_alarms_per_day}, window_hop_seconds = {window_hop_seconds}, "
            f"confidence = {confidence}: the first two must be finite and above 0, the last between 0 and 1"
        )
    checked = [scores for scores in map(_check_stream, streams) if len(scores)]
    windows = sum(map(len, checked))
    if windows < MINIMUM_WINDOWS:
        raise NotEnoughScores(
            f"{windows} held-out scores, and a threshold needs at least {MINIMUM_WINDOWS}: fewer say nothing about the "
            "tail of normal running. Record the healthy machine for longer, or hold out a larger part."
        )
    chain = Chain.of(checked, settings=settings, window_hop_seconds=window_hop_seconds)
    bound = _RateBound(chain, confidence=confidence)
    threshold = _counted_threshold(chain, bound, false_alarms_per_day)
    counted = threshold is not None
    if threshold is None:
        threshold = _tail_threshold(chain, false_alarms_per_day)
    return Calibration(
        threshold=threshold,
        false_alarms_per_day=float(false_alarms_per_day),
        episodes_per_day_upper=bound.episodes_per_day(threshold),
        confidence=float(confidence),
        hours=24 * chain.days,
        windows=windows,
        extrapolates=not counted,
        method="empirical" if counted else "fitted tail",
        usual_score=chain.usual,
    )


def _check_stream(stream: NDArray[np.float64]) -> NDArray[np.float64]:
    scores = np.asarray(stream, np.float64)
    if scores.ndim != 1:
        raise ValueError(f"held-out scores of shape {scores.shape}: each stream must be [windows]")
    bad = ~np.isfinite(scores) | (scores < 0)
    if bad.any():
        first = int(np.argmax(bad))
        raise ValueError(
            f"held-out score {scores[first]} at window {first} of {len(scores)}: scores must be finite and 0 or more. "
            "Check the recording there, or leave it out."
        )
    return scores


class _RateBound:
    """Upper confidence bound of the episode rate at any threshold."""

    def __init__(self, chain: Chain, *, confidence: float) -> None:
        self._chain = chain
        self._confidence = confidence
        # Ten correlation lengths make blocks nearly independent; 20 blocks leave something to draw, 1000 are plenty.
        windows = len(chain.smoothed)
        block_windows = max(10 * correlation_length(chain.smoothed), windows // 1000)
        block_windows = max(1, min(block_windows, windows // 20))
        self._bootstrap = BlockBootstrap(
            length=windows, block_samples=block_windows, replicates=BOOTSTRAP_REPLICATES, seed=0
        )

    def episodes_per_day(self, threshold: float, *, enough: float = math.inf) -> float:
        """The larger of the Poisson and the bootstrap bound; the Poisson one alone where that exceeds `enough`."""
        rises = self._chain.rises(threshold)
        poisson = poisson_upper(len(rises), self._confidence) / self._chain.days
        if len(rises) == 0 or poisson > enough:
            return poisson
        return max(poisson, self._bootstrap.upper(rises, self._confidence) / self._chain.days)


def _counted_threshold(chain: Chain, bound: _RateBound, target_per_day: float) -> float | None:
    """The smallest midpoint in the upper tail from which on the bound meets the target, or None if there is none."""
    distinct = np.unique(chain.smoothed[chain.smoothed >= np.quantile(chain.smoothed, UPPER_TAIL)])
    midpoints = (distinct[:-1] + distinct[1:]) / 2
    midpoints = midpoints[(midpoints > distinct[:-1]) & (midpoints < distinct[1:]) & (midpoints > 0)][::-1]

    def meets(index: int) -> bool:
        return bound.episodes_per_day(float(midpoints[index]), enough=target_per_day) <= target_per_day

    # From the largest downwards, in steps of 2 % of the rank, to the first that fails; then halving in between.
    # Halving alone could end below the failing ones, where many episodes have merged into few.
    lowest_good = -1
    for rank in np.unique(np.geomspace(1, max(1, len(midpoints)), 400).astype(int))[: len(midpoints)].tolist():
        if meets(rank - 1):
            lowest_good = rank - 1
            continue
        highest_bad = rank - 1
        while highest_bad - lowest_good > 1:
            middle = (lowest_good + highest_bad) // 2
            lowest_good, highest_bad = (middle, highest_bad) if meets(middle) else (lowest_good, middle)
        break
    return float(midpoints[lowest_good]) if lowest_good >= 0 else None


def _tail_threshold(chain: Chain, target_per_day: float) -> float:
    """The threshold at which peaks of the rise statistic reach the target rate, by a fitted tail.

    A target of less than one episode in the data always lies above every smoothed score.
    """
    level, excesses, episodes = _tail_peaks(chain)
    threshold = level
    if len(excesses):
        tail = fit_cautious_pareto(excesses, independent_peaks=episodes, prior_peaks=SHAPE_PRIOR_PEAKS)
        threshold = level + tail.excess_at(target_per_day * chain.days / len(excesses))
    top = float(chain.smoothed.max())
    if target_per_day * chain.days < 1 or threshold >= top:
        return max(threshold, chain.above_all())
    return _between_scores(chain, threshold)


def _tail_peaks(chain: Chain) -> tuple[float, NDArray[np.float64], int]:
    """A level, by how much the rise statistic peaks above it, and from how many episodes these peaks are.

    There is one peak an episode. The level is the highest of TAIL_QUANTILES with ENOUGH_PEAKS, else the one with most.
    Where even that has fewer than FEWEST_PEAKS, every window above the median counts as a peak: more of them than
    there were episodes.
    """
    decided = chain.rise[np.isfinite(chain.rise)]
    best_level, best = 0.0, np.empty(0)
    for quantile in TAIL_QUANTILES:
        level = float(np.quantile(decided, quantile))
        rises = chain.rises(level)
        peaks = np.maximum.reduceat(chain.rise, rises) if len(rises) else np.empty(0)
        if len(peaks) > len(best):
            best_level, best = level, peaks
        if len(best) >= ENOUGH_PEAKS:
            break
    episodes = len(best)
    if episodes < FEWEST_PEAKS:
        best_level = float(np.median(decided))
        best = decided[decided > best_level]
    return best_level, best - best_level, episodes


def _between_scores(chain: Chain, threshold: float) -> float:
    """The midpoint of the two neighbouring smoothed scores around `threshold`, which lies below the largest."""
    distinct = np.unique(chain.smoothed)
    above = int(np.searchsorted(distinct, threshold, side="right"))
    return float((distinct[max(0, above - 1)] + distinct[above]) / 2)
