"""Does the machine run? Level or an external signal -> judged or not. Pure: it counts the seconds that it is told."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

STEP_SECONDS = 0.1
"""How finely a stream is gated."""


@dataclass(frozen=True)
class GateSettings:
    """Levels in dBFS or in the unit of the external signal. Raises ValueError on values that cannot work."""

    stop_level: float
    """Below it the machine stands still."""
    start_level: float
    """Above it the machine runs; at least `stop_level`. Between the two it stays what it was."""
    hold_seconds: float = 3.0
    """It must stand still for this long before the source is IDLE; such windows are withheld from the first on."""
    settle_seconds: float = 5.0
    """After IDLE it must run for this long before it is judged again: a machine that starts sounds unusual."""

    def __post_init__(self) -> None:
        if not self.start_level >= self.stop_level:
            raise ValueError(f"start level {self.start_level} below the stop level {self.stop_level}: swap them")
        if not (self.hold_seconds >= 0 and self.settle_seconds >= 0):
            raise ValueError(f"hold {self.hold_seconds} s, settle {self.settle_seconds} s: both must be 0 or more")


class RunningGate:
    """Hysteresis between running and idle. A value that is not a number counts as standing still."""

    def __init__(self, settings: GateSettings) -> None:
        self.settings = settings
        self.idle = False
        self._still_seconds = 0.0
        self._running_seconds = 0.0

    def update(self, value: float, seconds: float) -> bool:
        """`value` held for the next `seconds`; True if they may be judged."""
        if not value >= self.settings.stop_level:
            self._running_seconds = 0.0
            self._still_seconds += seconds
            self.idle = self.idle or self._still_seconds > self.settings.hold_seconds
            return False
        if self.idle and value <= self.settings.start_level and self._running_seconds == 0.0:
            return False
        self._still_seconds = 0.0
        self._running_seconds += seconds
        # A little less, so that fifty tenths of a second are five seconds.
        if self._running_seconds > self.settings.settle_seconds - 1e-6:
            self.idle = False
        return not self.idle

    def gap(self) -> None:
        """Samples are missing: what was counted up to here counts no longer. A machine that stood still stays IDLE."""
        self._still_seconds = self._running_seconds = 0.0


Sums = tuple[int, NDArray[np.float64], NDArray[np.float64]]
"""Of samples that follow each other: their number, and of each channel the sum and the sum of squares."""


class LevelMeter:
    """Level over the newest second, dB relative to a full-scale sine (sensors: to 1 unit rms times sqrt(2)).

    The mean of each channel is removed, as levels.level_dbfs does. Sums are kept of every tenth of a second since the
    last gap, and the level is that of as few of the newest as cover a second: which, no size of blocks changes.
    """

    def __init__(self, sample_rate_hz: float) -> None:
        self._second_samples = max(1, round(sample_rate_hz))
        self._part_samples = max(1, round(STEP_SECONDS * sample_rate_hz))
        self._parts: deque[Sums] = deque()
        self._samples = 0

    def add(self, samples: NDArray[np.float32]) -> None:
        """The next `samples` [samples, channels]."""
        if not len(samples):
            return
        precise = samples.astype(np.float64)
        unfilled = self._part_samples - (self._parts[-1][0] if self._parts else self._part_samples)
        starts = [*([0] if unfilled else []), *range(unfilled, len(samples), self._part_samples)]
        totals = np.add.reduceat(precise, starts, axis=0)
        squares = np.add.reduceat(np.square(precise), starts, axis=0)
        for number, (start, end) in enumerate(pairwise([*starts, len(samples)])):
            self._add_part((end - start, totals[number], squares[number]), continues=start < unfilled)

    def _add_part(self, part: Sums, *, continues: bool) -> None:
        if continues:
            count, total, squares = self._parts[-1]
            self._parts[-1] = (count + part[0], total + part[1], squares + part[2])
        else:
            self._parts.append(part)
        self._samples += part[0]
        while self._samples - self._parts[0][0] >= self._second_samples:
            self._samples -= self._parts.popleft()[0]

    def restart(self) -> None:
        """Forget what came before a gap."""
        self._parts.clear()
        self._samples = 0

    @property
    def level_dbfs(self) -> float | None:
        """The level; -inf for silence, NaN where samples are not finite, None before the first. From any thread."""
        return level_of(self.sums)

    @property
    def sums(self) -> tuple[Sums, ...]:
        """What `level_of` makes the level of: a window keeps them until it is scored, which may be later."""
        return tuple(self._parts)


def level_of(sums: Sequence[Sums]) -> float | None:
    """The level of samples of which these are the sums, as `LevelMeter.level_dbfs`; None without any."""
    if not sums:
        return None
    samples = sum(count for count, _, _ in sums)
    total = np.sum([part for _, part, _ in sums], axis=0)
    squares = np.sum([part for _, _, part in sums], axis=0)
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        power = float(np.mean(np.maximum(squares / samples - np.square(total / samples), 0.0)))
        return float(10 * np.log10(2 * power))
