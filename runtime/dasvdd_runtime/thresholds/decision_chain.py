"""The decision chain of `detector.py` at any threshold, over series of scores. Pure.

The chain at a threshold t follows from two series that do not depend on t: the alarm rises where the rise statistic
lies above t, and clears where the clear statistic lies at or below the clear level of t. That counts episodes at many
thresholds without a loop over scores; a test compares the counts with the Detector's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..detector import DecisionSettings, clear_level, smooth

MINIMUM_WINDOWS = 10
"""Fewer scores than this carry no threshold."""


@dataclass(frozen=True)
class Chain:
    """The decision chain over all streams, joined end to end, for any threshold. All series are float64 [windows].

    DecisionSettings applied to scores that are all there already, to find a threshold; a Detector takes one at a time.
    """

    smoothed: NDArray[np.float64]
    rise: NDArray[np.float64]
    """Rise statistic; -inf where a stream has too few scores yet for the chain to decide."""
    clear: NDArray[np.float64]
    """Clear statistic; +inf likewise."""
    stream: NDArray[np.intp]
    """Index of the stream that a window belongs to."""
    clear_ratio: float
    usual: float
    """Median of the clear statistic where it is finite. Where streams are too short for that to be anywhere but here
    and there, as short recordings are, that of the largest of those of the last n scores that are there, wherever an
    alarm can rise."""
    days: float
    """Running time in which an alarm could have risen."""

    @classmethod
    def of(cls, streams: list[NDArray[np.float64]], *, settings: DecisionSettings, window_hop_seconds: float) -> Chain:
        """The chain of `settings`; where streams are too short for it to decide, that of single smoothed scores.

        The stand-in raises no fewer alarms than the true chain, so what is stated for it holds.
        """
        alpha = settings.smoothing_alpha(window_hop_seconds)
        hold = settings.windows_to_hold(window_hop_seconds)
        step = partial(smooth, alpha=alpha)
        smoothed = [np.fromiter(accumulate(stream.tolist(), step), np.float64, len(stream)) for stream in streams]
        rise = np.concatenate([_rise_statistic(series, k=settings.k, n=settings.n, hold=hold) for series in smoothed])
        clear = np.concatenate([_rolling(series, settings.n, np.max, padding=np.inf) for series in smoothed])
        joined = np.concatenate(smoothed)
        if np.isfinite(rise).sum() < MINIMUM_WINDOWS:
            rise = clear = usable = joined
        elif np.isfinite(clear).sum() < MINIMUM_WINDOWS:
            there = np.concatenate([_rolling(series, settings.n, np.max, padding=-np.inf) for series in smoothed])
            usable = there[np.isfinite(rise)]
        else:
            usable = clear[np.isfinite(clear)]
        return cls(
            smoothed=joined,
            rise=rise,
            clear=clear,
            stream=np.repeat(np.arange(len(streams)), [len(series) for series in smoothed]),
            clear_ratio=settings.clear_ratio,
            usual=float(np.median(usable)),
            days=float(np.isfinite(rise).sum()) * window_hop_seconds / 86400,
        )

    def rises(self, threshold: float) -> NDArray[np.intp]:
        """Indices of the windows at which an alarm rises."""
        rising = self.rise > threshold
        level = clear_level(threshold=threshold, usual_score=self.usual, clear_ratio=self.clear_ratio)
        events = np.flatnonzero(rising | (self.clear <= level))
        is_rise = rising[events]
        first = np.ones(len(events), bool)
        first[1:] = ~is_rise[:-1] | (np.diff(self.stream[events]) > 0)
        return events[is_rise & first]

    def above_all(self) -> float:
        """A threshold above every smoothed score, by half the distance between the largest two or 0.1 %."""
        distinct = np.unique(self.smoothed)
        top = float(distinct[-1])
        gap = top - float(distinct[-2]) if len(distinct) > 1 else 0.0
        return top + max(gap / 2, 1e-3 * top, 1e-9)


def _rise_statistic(series: NDArray[np.float64], *, k: int, n: int, hold: int) -> NDArray[np.float64]:
    """The largest threshold below which an alarm rises at each window, or -inf while there are too few scores.

    That is the k-th largest of the last n smoothed scores, and then the smallest such value of the last `hold` windows.
    """
    if k == n == 1:
        kth = series
    else:
        # Scores that are not there yet count as -inf, so that k scores suffice.
        padded = np.concatenate([np.full(n - 1, -np.inf), series])
        kth = np.empty_like(series)
        rows = max(1, 1_000_000 // n)
        for start in range(0, len(series), rows):
            histories = np.lib.stride_tricks.sliding_window_view(padded[start : start + rows + n - 1], n)
            kth[start : start + rows] = np.partition(histories, n - k, axis=1)[:, n - k]
    return _rolling(kth, hold, np.min, padding=-np.inf)


def _rolling(
    series: NDArray[np.float64], length: int, reduce: Callable[..., Any], *, padding: float
) -> NDArray[np.float64]:
    """`reduce` over the last `length` values at each index; missing ones are `padding`."""
    padded = np.concatenate([np.full(length - 1, padding), series])
    reduced: NDArray[np.float64] = reduce(np.lib.stride_tricks.sliding_window_view(padded, length), axis=1)
    return reduced
