"""Silence in a stream: channels that carry nothing. Pure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..reading.recording_types import Kind
from .levels import SILENT_DBFS, level_dbfs

SILENT_EDGE_SECONDS = 0.25
"""An audio window that begins or ends with this much silence is cut out of a source that comes or goes."""

FIRST_LOOK = 64
"""Samples in which nearly every live channel moves, so that no more need be looked at."""


class SilentRun:
    """Length of the silence at the end of a stream, the same whatever blocks it arrives in.

    Audio is silent where any channel is: a dead microphone among live ones is dead. Sensors are silent where no channel
    moves: one that rests may be real.
    """

    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self._tolerance = 10 ** (SILENT_DBFS / 20) if kind == "audio" else 0.0  # the amplitude of a sine at SILENT_DBFS
        self._still: NDArray[np.float32] | None = None
        self._runs = np.zeros(0, np.int64)

    @property
    def samples(self) -> int:
        """Samples of silence up to the newest one."""
        if not self._runs.size:
            return 0
        return int(self._runs.max() if self._kind == "audio" else self._runs.min())

    @property
    def most_silent_channel(self) -> int:
        """The channel that has not moved for longest."""
        return int(np.argmax(self._runs))

    def add(self, samples: NDArray[np.float32]) -> None:
        """The next `samples` [samples >= 1, channels] of the stream."""
        runs = _edge_runs(samples[::-1], self._tolerance)
        whole = runs == len(samples)
        if self._still is None or not whole.any():
            self._runs, self._still = runs, samples[-1].copy()
            return
        continues = whole & ~_moved(samples[-1], self._still, self._tolerance)
        self._runs = runs + np.where(continues, self._runs, 0)
        self._still = np.where(continues, self._still, samples[-1])


def has_silent_edge(samples: NDArray[np.float32], *, sample_rate_hz: float) -> bool:
    """True if an audio window [samples, channels] begins or ends in silence: its source came or went meanwhile.

    Such a window sounds unlike the machine without anything being wrong with it. One silent channel is enough. Windows
    shorter than SILENT_EDGE_SECONDS count if they are silent throughout.
    """
    needed = min(len(samples), round(SILENT_EDGE_SECONDS * sample_rate_hz))
    edges = (samples[:needed], samples[-needed:])
    return any(level_dbfs(edge[:, [i]]) <= SILENT_DBFS for edge in edges for i in range(samples.shape[1]))


def _edge_runs(samples: NDArray[np.float32], tolerance: float) -> NDArray[np.int64]:
    """Number of leading samples [samples, channels] that stay within `tolerance` of the first, per channel."""
    moved = _moved(samples[:FIRST_LOOK], samples[0], tolerance)
    if not moved.any(axis=0).all():
        moved = _moved(samples, samples[0], tolerance)
    return np.where(moved.any(axis=0), np.argmax(moved, axis=0), len(samples))


def _moved(samples: NDArray[np.float32], still: NDArray[np.float32], tolerance: float) -> NDArray[np.bool_]:
    """Which of `samples` [..., channels] differ from `still` [channels] by more than `tolerance`."""
    differences = np.subtract(samples, still, dtype=np.float64)  # in float32 the largest values would overflow
    return np.asarray(np.abs(differences) > tolerance)
