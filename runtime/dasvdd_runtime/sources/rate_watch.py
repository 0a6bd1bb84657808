"""Does a pipe deliver at the rate that it is taken for? Pure: told of arrivals, it keeps no clock."""

from __future__ import annotations

import math


class RateWatch:
    """Counts samples over stretches of STRETCH_SECONDS, of STRETCH_SAMPLES if those take longer, against a clock.

    A rate is known when two stretches in a row agree on it: one alone may have held a pause, or what had gathered
    before the pipe was opened. A source is told of once, and again only after it was right in between.
    """

    STRETCH_SECONDS = 10.0
    STRETCH_SAMPLES = 100
    TOLERANCE = 0.03
    """Far above the drift of any clock, far below the step between two usual rates."""

    def __init__(self, sample_rate_hz: float, *, most_times: float = math.inf, of_rows: bool = False) -> None:
        """What comes `most_times` faster than real time or more is not told of. `of_rows`: it is worded for rows."""
        self._of_rows = of_rows
        self._sample_rate_hz = sample_rate_hz
        self._most_times = most_times
        self._stretch_seconds = max(self.STRETCH_SECONDS, self.STRETCH_SAMPLES / sample_rate_hz)
        self._start_seconds: float | None = None
        self._counted = 0
        self._before_hz = 0.0
        self._told = False

    def reopened(self) -> None:
        """The pipe begins anew."""
        self._start_seconds = None
        self._before_hz = 0.0

    def arrived(self, now_seconds: float, samples: int) -> str | None:
        """`samples` arrived at `now_seconds`; returns what is wrong, once it is known, to follow a name."""
        if samples == 0:  # a stretch lasts from arrival to arrival, or one that comes in bursts would look too slow
            return None
        if self._start_seconds is None:
            self._start_seconds, self._counted = now_seconds, 0
            return None
        self._counted += samples
        seconds = now_seconds - self._start_seconds
        if seconds < self._stretch_seconds:
            return None
        measured_hz = self._counted / seconds
        before_hz, self._before_hz = self._before_hz, measured_hz
        self._start_seconds, self._counted = now_seconds, 0
        if abs(measured_hz - before_hz) > self.TOLERANCE * measured_hz:
            return None
        times = measured_hz / self._sample_rate_hz
        wrong = abs(times - 1) > self.TOLERANCE and times < self._most_times
        told, self._told = self._told, wrong
        if not wrong or told:
            return None
        if self._of_rows:
            return (
                f"rows come at {measured_hz:.3g} Hz, the model was trained at {self._sample_rate_hz:g} Hz. It hears "
                "what it does not know. Have them written at the model's rate, or train with rows like these."
            )
        return (
            f"gives {measured_hz:.5g} samples a second, but is taken for {self._sample_rate_hz:g} Hz. "
            "If it is a live source, its rate, format or number of channels is not what was declared."
        )
