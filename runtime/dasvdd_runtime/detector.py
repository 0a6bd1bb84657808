"""Scores and times -> alarm episodes. Pure: it knows no clock, file or socket."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

CLEARLY_WORSE = 2.0
"""An alarm that went to so many times the score that people were told of is news to them."""
GROWTH_SECONDS = 60.0
"""From an alarm's rise to the first telling of its growth, and between two: what rises takes a while to its height."""


@dataclass(frozen=True)
class DecisionSettings:
    """The decision chain from scores to alarms, calibrated as one thing together with the threshold.

    The shape of the chain alone: `DecisionRule` adds the threshold, and is what a pipeline decides by; `DecisionTable`
    is what a monitor.toml puts in its place; `thresholds.decision_chain.Chain` applies it to whole series of scores.

    Raises ValueError on a value that cannot work.
    """

    smoothing_seconds: float = 2.0
    """Time constant of the exponential smoothing of the score; 0 switches it off."""
    k: int = 3
    """An alarm needs `k` of the last `n` smoothed scores above the threshold."""
    n: int = 5
    """Length of the k-of-n history, in windows."""
    clear_ratio: float = 0.8
    """Hysteresis: an alarm clears once all of the last `n` smoothed scores are at or below the clear level, which lies
    this share of the way from the usual score to the threshold."""
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

    def smoothing_alpha(self, window_hop_seconds: float) -> float:
        """Weight of the newest score, 1 - exp(-window_hop / smoothing time constant); 1 without smoothing."""
        if self.smoothing_seconds == 0:
            return 1.0
        return -math.expm1(-window_hop_seconds / self.smoothing_seconds)

    def windows_to_hold(self, window_hop_seconds: float) -> int:
        """Consecutive windows for which the k-of-n condition must be true, so that they span the minimum duration."""
        # The tolerance keeps 0.3 s at a hop of 0.1 s from becoming four hops by rounding.
        return 1 + max(0, math.ceil(self.minimum_duration_seconds / window_hop_seconds - 1e-6))

    def windows_to_alarm(self, window_hop_seconds: float) -> int:
        """The fewest windows of one stretch in which an alarm can rise."""
        return self.k + self.windows_to_hold(window_hop_seconds) - 1


@dataclass(frozen=True)
class Episode:
    """One alarm, from rise to clear."""

    rise_seconds: float
    """Time of the window whose score raised the alarm."""
    peak_seconds: float
    """Time of the largest smoothed score between rise and clear."""
    peak_score: float
    """That smoothed score."""
    clear_seconds: float | None
    """Time of the window that cleared the alarm; None while it lasts."""
    peak_residual: tuple[float, ...] = ()
    """The residual given with the window at `peak_seconds`."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What one score changed."""

    time_seconds: float
    score: float
    smoothed_score: float
    in_alarm: bool
    """State after this score."""
    raised: Episode | None
    """The episode that this score began."""
    cleared: Episode | None
    """The episode that this score ended."""
    grew: Episode | None
    """The episode that lasts, where its peak by now is CLEARLY_WORSE than the one that was told last."""


def smooth(previous: float, score: float, alpha: float) -> float:
    """One step of exponential smoothing. A constant score stays bit-exact, and alpha = 1 returns `score` itself."""
    return score if alpha == 1.0 else previous + alpha * (score - previous)


def clear_level(*, threshold: float, usual_score: float, clear_ratio: float) -> float:
    """The level at or below which scores clear an alarm: usual_score + clear_ratio * (threshold - usual_score).

    It is taken between those two and not from zero, since healthy machines often vary by a few percent about a large
    usual score: a share of the threshold would then lie below every score, and an alarm would never clear.
    """
    base = min(usual_score, threshold)
    return base + clear_ratio * (threshold - base)


class Detector:
    """The decision chain as a stream: smoothing, k-of-n, minimum duration, hysteresis. O(1) a score.

    The alarm rises when at least `k` of the last `n` smoothed scores lie above `threshold` (as soon as `k` are there)
    and that has held for the minimum duration. It clears when `n` smoothed scores in a row lie at or below the clear
    level. Both cannot hold at once.
    """

    def __init__(
        self,
        *,
        threshold: float,
        settings: DecisionSettings,
        window_hop_seconds: float,
        usual_score: float = 0.0,
        cooldown_seconds: float = 0.0,
    ) -> None:
        """`usual_score` is what the score is in normal running (see `clear_level`).

        After an alarm has cleared, none rises for `cooldown_seconds`. What still exceeds the threshold then does.

        Raises ValueError for a threshold or a hop that is not finite and above 0 (scores are sums of squares), and for
        a usual score or a cooldown that is not finite and 0 or more.
        """
        if not 0 < threshold < math.inf:
            raise ValueError(f"threshold = {threshold}: must be finite and above 0, since scores are 0 or more")
        if not 0 < window_hop_seconds < math.inf:
            raise ValueError(f"window_hop_seconds = {window_hop_seconds}: must be finite and above 0")
        if not 0 <= usual_score < math.inf:
            raise ValueError(f"usual_score = {usual_score}: must be finite and 0 or more")
        if not 0 <= cooldown_seconds < math.inf:
            raise ValueError(f"cooldown_seconds = {cooldown_seconds}: must be finite and 0 or more")
        self._threshold = float(threshold)
        self._cooldown_seconds = cooldown_seconds
        self._quiet_until_seconds = -math.inf
        self._clear_level = clear_level(
            threshold=self._threshold, usual_score=usual_score, clear_ratio=settings.clear_ratio
        )
        self._settings = settings
        self._window_hop_seconds = window_hop_seconds
        self._alpha = settings.smoothing_alpha(window_hop_seconds)
        self._windows_to_hold = settings.windows_to_hold(window_hop_seconds)
        self._last_seconds = -math.inf
        self._episode: Episode | None = None
        self._told_score = self._told_seconds = 0.0
        self._over: deque[bool] = deque()
        self.gap()

    def gap(self) -> None:
        """Samples were lost: smoothing and history restart. An alarm in progress stays until scores clear it."""
        self._smoothed: float | None = None
        self._over.clear()
        self._over_count = 0
        self._held_windows = 0
        self._low_windows = 0

    def update(self, time_seconds: float, score: float, residual: Sequence[float] = ()) -> Decision:
        """Take the score of the window at `time_seconds` and decide.

        `residual` is kept where the episode peaks. Raises ValueError for a score that is not finite, which is a fault
        of the source and never normal, and for a time that is not finite or lies before the last one.
        """
        time_seconds, score = float(time_seconds), float(score)
        if not math.isfinite(score):
            raise ValueError(
                f"score {score} at {time_seconds} s: a score that is not finite is a fault of the source; "
                "report it there and call gap()"
            )
        if not self._last_seconds <= time_seconds < math.inf:
            raise ValueError(f"time {time_seconds} s after {self._last_seconds} s: scores must come in time order")
        self._last_seconds = time_seconds
        smoothed = score if self._smoothed is None else smooth(self._smoothed, score, self._alpha)
        self._smoothed = smoothed
        self._remember(smoothed)
        raised = cleared = None
        if self._episode is None:
            if self._held_windows >= self._windows_to_hold and time_seconds >= self._quiet_until_seconds:
                raised = self._episode = Episode(time_seconds, time_seconds, smoothed, None, _plain(residual))
                self._told_score, self._told_seconds = smoothed, time_seconds
        elif self._low_windows >= self._settings.n:
            cleared, self._episode = replace(self._episode, clear_seconds=time_seconds), None
            # The tolerance keeps 0.3 s at a hop of 0.1 s from becoming four hops by rounding.
            self._quiet_until_seconds = time_seconds + self._cooldown_seconds - 1e-6 * self._window_hop_seconds
        elif smoothed > self._episode.peak_score:
            self._episode = replace(
                self._episode, peak_seconds=time_seconds, peak_score=smoothed, peak_residual=_plain(residual)
            )
        grew = self._tell_growth(time_seconds)
        return Decision(time_seconds, score, smoothed, self._episode is not None, raised, cleared, grew)

    def finish(self) -> Episode | None:
        """At the end of the stream: the episode that has not cleared, with clear_seconds None."""
        return self._episode

    def _tell_growth(self, time_seconds: float) -> Episode | None:
        """The episode that lasts, if it has grown so far and so long after what was told last; that is told now."""
        if (
            self._episode is None
            or self._episode.peak_score < CLEARLY_WORSE * self._told_score
            or time_seconds < self._told_seconds + GROWTH_SECONDS
        ):
            return None
        self._told_score, self._told_seconds = self._episode.peak_score, time_seconds
        return self._episode

    def _remember(self, smoothed: float) -> None:
        over = smoothed > self._threshold
        self._over.append(over)
        self._over_count += over
        if len(self._over) > self._settings.n:
            self._over_count -= self._over.popleft()
        self._held_windows = self._held_windows + 1 if self._over_count >= self._settings.k else 0
        self._low_windows = self._low_windows + 1 if smoothed <= self._clear_level else 0


def find_episodes(
    times: ArrayLike,
    scores: ArrayLike,
    *,
    threshold: float,
    settings: DecisionSettings,
    window_hop_seconds: float,
    usual_score: float = 0.0,
) -> list[Episode]:
    """All episodes of `scores` [windows] at `times` [windows] (seconds), by a fresh Detector.

    The last one has clear_seconds None if it still lasts at the end. Raises ValueError as Detector does, and for
    lengths that differ.
    """
    detector = Detector(
        threshold=threshold, settings=settings, window_hop_seconds=window_hop_seconds, usual_score=usual_score
    )
    times_seconds, values = np.asarray(times, np.float64).tolist(), np.asarray(scores, np.float64).tolist()
    decisions = (detector.update(time, score) for time, score in zip(times_seconds, values, strict=True))
    episodes = [decision.cleared for decision in decisions if decision.cleared is not None]
    lasting = detector.finish()
    return episodes if lasting is None else [*episodes, lasting]


def _plain(residual: Sequence[float]) -> tuple[float, ...]:
    return tuple(float(value) for value in residual)
