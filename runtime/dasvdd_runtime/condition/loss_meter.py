"""Samples of a live source that never arrived, and its clock's drift. Pure: told of arrivals, it keeps no clock."""

from __future__ import annotations

import math
from collections import deque


class LossMeter:
    """Samples of a live source that never arrived, from their count against a monotonic clock.

    A block may come late, but never early: over a few seconds the smallest lateness is the true one. If that has
    grown by more than TOLERANCE_SECONDS since the stretch before, samples were lost. Slow drift between the device's
    clock and this machine's, some 100 ppm, stays far below; it is the slope of the smallest lateness over time.
    """

    STRETCH_SECONDS = 5.0
    TOLERANCE_SECONDS = 0.2
    DRIFT_STRETCHES = 720
    """Stretches over which drift is fitted at most: an hour."""
    LEAST_DRIFT_STRETCHES = 24
    """Stretches without a loss below which drift is not stated: two minutes."""

    def __init__(self, sample_rate_hz: float) -> None:
        self._sample_rate_hz = sample_rate_hz
        self._origin_seconds: float | None = None
        self._counted = 0
        self._usual_seconds = math.inf
        self._smallest_seconds = math.inf
        self._stretch_end_seconds = 0.0
        self._reopened = False
        self._lateness: deque[tuple[float, float]] = deque(maxlen=self.DRIFT_STRETCHES)

    @property
    def drift_ppm(self) -> float | None:
        """By how many millionths the device's clock is faster than the monotonic one; None before it is known.

        Fitted over the last hour, from the last loss on, since only a stretch without loss measures the clock.
        """
        points = list(self._lateness)
        if len(points) < self.LEAST_DRIFT_STRETCHES:
            return None
        middle = math.fsum(time for time, _ in points) / len(points)
        slope = math.fsum((time - middle) * late for time, late in points)
        return -1e6 * slope / math.fsum((time - middle) ** 2 for time, _ in points)

    def reopened(self) -> None:
        """The device was closed and opened again: all lateness of the next block is loss."""
        self._reopened = True

    def arrived(self, now_seconds: float, samples: int) -> int:
        """`samples` arrived at `now_seconds` of the monotonic clock; returns how many were lost before them."""
        if self._origin_seconds is None:
            self._origin_seconds = now_seconds - samples / self._sample_rate_hz
            self._stretch_end_seconds = now_seconds + self.STRETCH_SECONDS
            self._reopened = False
        self._counted += samples
        late_seconds = now_seconds - self._origin_seconds - self._counted / self._sample_rate_hz
        if self._reopened:
            self._reopened = False
            self._lateness.clear()
            self._usual_seconds = min(self._usual_seconds, self._smallest_seconds)
            return self._end_stretch(now_seconds, late_seconds - self._usual_seconds)
        self._smallest_seconds = min(self._smallest_seconds, late_seconds)
        if now_seconds < self._stretch_end_seconds:
            return 0
        grown_seconds = self._smallest_seconds - self._usual_seconds  # -inf after the first stretch
        if grown_seconds > self.TOLERANCE_SECONDS:
            self._lateness.clear()
            return self._end_stretch(now_seconds, grown_seconds)
        self._lateness.append((now_seconds, self._smallest_seconds))
        self._usual_seconds = self._smallest_seconds
        return self._end_stretch(now_seconds, 0.0)

    def _end_stretch(self, now_seconds: float, lost_seconds: float) -> int:
        lost = max(0, round(lost_seconds * self._sample_rate_hz))
        self._counted += lost
        self._smallest_seconds = math.inf
        self._stretch_end_seconds = now_seconds + self.STRETCH_SECONDS
        return lost
