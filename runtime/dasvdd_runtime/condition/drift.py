"""Does a healthy machine, or what hears it, change slowly? Pure: it counts running time, and never moves a threshold.

A day is 24 h of running: windows that are not judged do not count, nor do those of an alarm or above the threshold, so
that a fault is no drift. About once a minute the usual score and the level are noted; at the end of the day their
quantiles are compared with what the threshold in force rests on, and so is the spectrum, band by band (see
`spectrum_drift`). The residual of the model's bands says where in its features a drift lies.
"""

from __future__ import annotations

import math
import random
from array import array
from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..thresholds.promises import FAR_RATIO
from .comparison import LEVEL_TOLERANCE_DB
from .spectrum_drift import SpectrumChange, SpectrumWatch, in_words

DAY_SECONDS = 86400.0
SAMPLE_SECONDS = 60.0
"""Mean running time between two samples. Each is drawn between nothing and twice that, so that no cycle of the machine
falls in step with them."""
MEDIAN_LIMIT = 0.5
"""Of the way from the usual score to the threshold, this share for the day's median is drift."""
HIGH_LIMIT = 0.8
"""The same for its 95th percentile."""
RELEASE = 0.8
"""A drift is over once every figure lies below this share of its limit."""


@dataclass(frozen=True)
class DriftReference:
    """Normal running, as the threshold in force knows it."""

    usual_score: float
    """Median of the largest of the last n smoothed scores."""
    threshold: float
    level_dbfs: tuple[float, float, float] | None
    """5th, 50th and 95th percentile of the level; None where it says nothing."""


@dataclass(frozen=True)
class DriftReport:
    """One day of running against the reference."""

    drifting: bool
    """By hysteresis: the day before counts too."""
    reasons: tuple[str, ...]
    """Each figure beyond its limit, in words with both numbers."""
    running_seconds: float
    """Running time that was counted, by the end of the day."""
    score_p50: float
    """Of the largest of the last n smoothed scores."""
    score_p95: float
    level_p5_dbfs: float | None
    """The noise floor; None without a level."""
    level_p50_dbfs: float | None
    residual: tuple[float, ...]
    """Mean residual of each band over the day's samples."""
    spectrum: tuple[SpectrumChange, ...] | None = None
    """The figures of the spectrum beyond their limits, the most changed first; None where nothing is known of it."""


class DriftWatch:
    """One source's days. Bounded memory: some 1500 samples."""

    def __init__(
        self,
        reference: DriftReference,
        *,
        history_windows: int,
        window_hop_seconds: float,
        spectrum: SpectrumWatch | None = None,
    ) -> None:
        """`history_windows`: the n of the decision chain; `spectrum`: None where nothing is known of it."""
        self.report: DriftReport | None = None
        """The last whole day; None before the first."""
        self._reference = reference
        self._spectrum = spectrum
        self._hop_seconds = window_hop_seconds
        self._recent: deque[float] = deque(maxlen=history_windows)
        self._random = random.Random(0)
        self._running_seconds = 0.0
        self._sample_at_seconds = SAMPLE_SECONDS
        self._residual = np.zeros(1)
        self._begin_day()

    def gap(self) -> None:
        """Windows are missing: the history of scores begins anew, the day goes on."""
        self._recent.clear()

    def window(self, smoothed_score: float, *, anomalous: bool) -> bool:
        """A window was judged; true if `sample` is due. `anomalous`: an alarm lasts, or the score is too high."""
        if anomalous:
            self._recent.clear()
            return False
        self._recent.append(smoothed_score)
        self._running_seconds += self._hop_seconds
        return len(self._recent) == self._recent.maxlen and self._running_seconds >= self._sample_at_seconds

    def sample(
        self, samples: NDArray[np.float32], *, level_dbfs: float | None, residual: NDArray[np.float64]
    ) -> DriftReport | None:
        """Note the window that was just judged, [window_samples, channels], its source's level and residual [bands].

        Returns the day's report where a drift begins or ends.
        """
        self._sample_at_seconds = self._running_seconds + self._random.uniform(0, 2 * SAMPLE_SECONDS)
        self._scores.append(max(self._recent))
        if level_dbfs is not None and math.isfinite(level_dbfs):
            self._levels.append(level_dbfs)
        self._residual = residual + self._residual
        if self._spectrum is not None:
            self._spectrum.note(samples)
        return self._end_day() if self._running_seconds >= DAY_SECONDS else None

    def _begin_day(self) -> None:
        self._sample_at_seconds -= self._running_seconds
        self._running_seconds = 0.0
        self._scores = array("d")
        self._levels = array("d")
        self._residual = np.zeros(1)

    def _end_day(self) -> DriftReport | None:
        was_drifting = self.report is not None and self.report.drifting
        p50, p95 = (float(value) for value in np.quantile(self._scores, (0.5, 0.95)))
        levels = tuple(float(value) for value in np.quantile(self._levels, (0.05, 0.5))) if self._levels else ()
        figures = _shares_of_limits(self._reference, p50, p95, levels)
        limit = RELEASE if was_drifting else 1.0
        reasons = [words for share, words in figures if share > limit]
        spectrum = None
        if self._spectrum is not None:
            spectrum = [change for change in self._spectrum.end_day() if change.share > limit]
            reasons += [in_words(spectrum)] * bool(spectrum)
        self.report = DriftReport(
            drifting=bool(reasons),
            reasons=tuple(reasons),
            running_seconds=self._running_seconds,
            score_p50=p50,
            score_p95=p95,
            level_p5_dbfs=levels[0] if levels else None,
            level_p50_dbfs=levels[1] if levels else None,
            residual=tuple((self._residual / len(self._scores)).tolist()),
            spectrum=None if spectrum is None else tuple(spectrum),
        )
        self._begin_day()
        return self.report if self.report.drifting is not was_drifting else None


def _shares_of_limits(
    reference: DriftReference, p50: float, p95: float, levels: tuple[float, ...]
) -> list[tuple[float, str]]:
    """How much of its limit each figure of a day takes, and the figure in words."""
    usual, threshold = reference.usual_score, reference.threshold
    found = []
    if threshold > usual:
        for value, limit, name in ((p50, MEDIAN_LIMIT, "usual score"), (p95, HIGH_LIMIT, "95th percentile")):
            way = (value - usual) / (threshold - usual)
            words = f"the {name} is {value:.4g}, {way:.0%} of the way from {usual:.4g} to the threshold {threshold:.4g}"
            found.append((way / limit, f"{words} (limit {limit:.0%})"))
    if usual > 0:
        times = max(p50, 1e-12 * usual) / usual
        words = f"the usual score is {p50:.4g}, {times:.2g} of the {usual:.4g} before (limit a third)"
        found.append((-math.log(times) / math.log(FAR_RATIO), words))
    if reference.level_dbfs is not None:
        low, _, high = reference.level_dbfs
        for level, name in zip(levels, ("noise floor", "level"), strict=False):
            outside_db = max(low - level, level - high)
            words = f"the {name} is {level:.1f} dBFS, before {low:.1f} to {high:.1f} dBFS"
            found.append((outside_db / LEVEL_TOLERANCE_DB, f"{words} (limit {LEVEL_TOLERANCE_DB:g} dB outside)"))
    return found
