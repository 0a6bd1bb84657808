"""Are samples that could be read any good? Counted over blocks, so that a day of audio needs no day of memory."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ..condition.levels import CLIPPED_SHARE, FULL_SCALE, SILENT_DBFS
from .recording_types import Kind


class Quality:
    """Silence and clipping of one recording, channel by channel.

    Audio is silent where a channel lies at or below levels.SILENT_DBFS without its mean, and clipped where more than
    levels.CLIPPED_SHARE of a channel's samples are at full scale. Sensors are silent where no channel ever changes.
    """

    def __init__(self, kind: Kind, channel_names: tuple[str, ...]) -> None:
        self._kind = kind
        self._names = channel_names
        self._count = 0
        self._first = np.zeros(len(channel_names), np.float32)
        self._changes = False
        self._sum = np.zeros(len(channel_names))
        self._sum_of_squares = np.zeros(len(channel_names))
        self._clipped = np.zeros(len(channel_names), np.int64)

    def add(self, samples: NDArray[np.float32]) -> None:
        """The next `samples` [samples, channels]."""
        if not len(samples):
            return
        if not self._count:
            self._first = samples[0].copy()
        self._count += len(samples)
        if self._kind == "sensor":
            self._changes = self._changes or bool((samples != self._first).any())
            return
        # Around the first sample, so that a constant offset costs no precision.
        moved = np.subtract(samples, self._first, dtype=np.float64)
        self._sum += moved.sum(axis=0)
        self._sum_of_squares += np.square(moved).sum(axis=0)
        self._clipped += (np.abs(samples) >= FULL_SCALE).sum(axis=0)

    def fault(self) -> str | None:
        """What is wrong, for instance 'silent: ...' or 'clipped: ...'; None for good samples."""
        if not self._count:
            return "empty: no samples"
        if self._kind == "sensor":
            return None if self._changes else "silent: no channel ever changes. Check the sensor and its cable."
        power = self._sum_of_squares / self._count - np.square(self._sum / self._count)
        quietest = int(np.argmin(power))
        level = 10 * math.log10(2 * power[quietest]) if power[quietest] > 0 else -math.inf
        if level <= SILENT_DBFS:
            return (
                f"silent: level of {self._names[quietest]} {level:.1f} dBFS, a recording lies above "
                f"{SILENT_DBFS:.0f} dBFS. Check the microphone, its mute switch and its cable."
            )
        shares = self._clipped / self._count
        worst = int(np.argmax(shares))
        if shares[worst] > CLIPPED_SHARE:
            return (
                f"clipped: {100 * shares[worst]:.1f} % of the samples of {self._names[worst]} are at full scale, at "
                f"most {100 * CLIPPED_SHARE:.1f} % may be. Turn the gain down and record again."
            )
        return None
