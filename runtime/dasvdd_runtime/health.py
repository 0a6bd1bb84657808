"""Is what arrives from a source fit to be judged? Pure: told of samples, waiting and faults, it keeps no clock."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .levels import CLIPPED_SHARE, SILENT_DBFS, clipped_share, level_dbfs

RECOVERY_SECONDS = 5.0
"""A source is FAULT or CLIPPED until it has been without for this long."""
CLIP_SECONDS = 1.0
"""Clipping is judged over stretches of this length."""
SILENT_EDGE_SECONDS = 0.25
"""An audio window that begins or ends with this much silence is cut out of a source that comes or goes."""


class State(StrEnum):
    """What a source is doing. Windows of silence or with values that are not finite are withheld from the detector."""

    STARTING = "STARTING"
    OK = "OK"
    STALLED = "STALLED"
    """The device is open, but no samples arrive."""
    MISSING = "MISSING"
    """The device is not there or cannot be opened."""
    SILENT = "SILENT"
    """Samples arrive, but carry nothing: a level at or below SILENT_DBFS, or sensors of which none changes."""
    CLIPPED = "CLIPPED"
    """Samples at full scale. Scored all the same, since a loud machine is real, but not to be trusted fully."""
    FAULT = "FAULT"
    """Samples or scores that are not finite."""


@dataclass(frozen=True)
class StateChange:
    """From which state to which, and why."""

    previous: State
    state: State
    reason: str


class SourceHealth:
    """The state of one source. Each method returns a StateChange, or None if the state stays."""

    def __init__(
        self,
        *,
        kind: Literal["audio", "sensor"],
        sample_rate_hz: float,
        silent_seconds: float,
        stall_seconds: float,
    ) -> None:
        self.state = State.STARTING
        self._kind = kind
        self._sample_rate_hz = sample_rate_hz
        self._silent_seconds = silent_seconds
        self._stall_seconds = max(stall_seconds, 3 / sample_rate_hz)
        self._silence = SilentRun(kind)
        self._since_fault_seconds = math.inf
        self._since_clipped_seconds = math.inf
        self._clip_counted = 0
        self._clip_weight = 0.0
        self._clipped_share = 0.0

    def samples(self, samples: NDArray[np.float32]) -> StateChange | None:
        """`samples` [samples, channels] arrived."""
        if not len(samples):
            return None
        seconds = len(samples) / self._sample_rate_hz
        self._since_fault_seconds += seconds
        self._since_clipped_seconds += seconds
        if not np.isfinite(samples).all():
            return self.fault(f"{np.count_nonzero(~np.isfinite(samples))} values that are not finite")
        self._silence.add(samples)
        self._count_clipped(samples)
        return self._judge()

    def fault(self, reason: str) -> StateChange | None:
        """Something that is not finite: samples, or a score."""
        self._since_fault_seconds = 0.0
        return self._change(State.FAULT, reason)

    def waiting(self, seconds: float) -> StateChange | None:
        """No samples have arrived for `seconds`, though the device is open."""
        if seconds < self._stall_seconds or self.state is State.MISSING:
            return None
        return self._change(State.STALLED, f"no samples for {seconds:.1f} s")

    def missing(self, reason: str) -> StateChange | None:
        """The device went away or cannot be opened."""
        self._silence = SilentRun(self._kind)
        return self._change(State.MISSING, reason)

    def _judge(self) -> StateChange | None:
        silent_seconds = self._silence.samples / self._sample_rate_hz
        if self._since_fault_seconds < RECOVERY_SECONDS:
            return self._change(State.FAULT, "values that are not finite")
        if silent_seconds >= self._silent_seconds:
            return self._change(State.SILENT, self._silent_reason(silent_seconds))
        if self._since_clipped_seconds < RECOVERY_SECONDS:
            share, limit = 100 * self._clipped_share, 100 * CLIPPED_SHARE
            return self._change(State.CLIPPED, f"{share:.2g} % of samples at full scale (limit {limit:g} %)")
        return self._change(State.OK, "samples arrive")

    def _silent_reason(self, seconds: float) -> str:
        if self._kind == "sensor":
            return f"no channel has changed for {seconds:.1f} s"
        return f"level at or below {SILENT_DBFS:g} dBFS for {seconds:.1f} s"

    def _count_clipped(self, samples: NDArray[np.float32]) -> None:
        if self._kind == "sensor":
            return
        self._clip_weight += clipped_share(samples) * len(samples)
        self._clip_counted += len(samples)
        if self._clip_counted >= CLIP_SECONDS * self._sample_rate_hz:
            share = self._clip_weight / self._clip_counted
            if share > CLIPPED_SHARE:
                self._clipped_share, self._since_clipped_seconds = share, 0.0
            self._clip_counted, self._clip_weight = 0, 0.0

    def _change(self, state: State, reason: str) -> StateChange | None:
        previous, self.state = self.state, state
        return None if state is previous else StateChange(previous, state, reason)


class SilentRun:
    """Length of the silence at the end of a stream, the same whatever blocks it arrives in."""

    def __init__(self, kind: Literal["audio", "sensor"]) -> None:
        self._tolerance = _silence_tolerance(kind)
        self._value: NDArray[np.float32] | None = None
        self.samples = 0
        """Samples up to the newest one in which no channel moved."""

    def add(self, samples: NDArray[np.float32]) -> None:
        """The next `samples` [samples >= 1, channels] of the stream."""
        run = _edge_run(samples[::-1], self._tolerance)
        continues = (
            run == len(samples)
            and self._value is not None
            and not _moved(samples[-1:], self._value, self._tolerance).any()
        )
        if not continues:
            self.samples, self._value = 0, samples[-1].copy()
        self.samples += run


def has_silent_edge(samples: NDArray[np.float32], *, sample_rate_hz: float) -> bool:
    """True if an audio window [samples, channels] begins or ends in silence: its source came or went meanwhile.

    Such a window sounds unlike the machine without anything being wrong with it. Windows shorter than
    SILENT_EDGE_SECONDS count if they are silent throughout.
    """
    needed = min(len(samples), round(SILENT_EDGE_SECONDS * sample_rate_hz))
    edges = (samples[:needed], samples[-needed:])
    return any(level_dbfs(edge) <= SILENT_DBFS for edge in edges)


def _silence_tolerance(kind: Literal["audio", "sensor"]) -> float:
    """Largest deviation that still counts as no movement: the amplitude of a sine at SILENT_DBFS, 0 for sensors."""
    return 10 ** (SILENT_DBFS / 20) if kind == "audio" else 0.0


def _edge_run(samples: NDArray[np.float32], tolerance: float) -> int:
    """Number of leading samples [samples, channels] that stay within `tolerance` of the first in every channel."""
    moved = _moved(samples, samples[0], tolerance)
    return int(np.argmax(moved)) if moved.any() else len(samples)


def _moved(samples: NDArray[np.float32], still: NDArray[np.float32], tolerance: float) -> NDArray[np.bool_]:
    """Which of `samples` [samples, channels] differ from `still` [channels] by more than `tolerance` in a channel."""
    differences = np.subtract(samples, still, dtype=np.float64)  # in float32 the largest values would overflow
    return np.asarray((np.abs(differences) > tolerance).any(axis=1))


class LossMeter:
    """Samples of a live source that never arrived, from their count against a monotonic clock.

    A block may come late, but never early: over a few seconds the smallest lateness is the true one. If that has
    grown by more than TOLERANCE_SECONDS since the stretch before, samples were lost. Slow drift between the device's
    clock and this machine's, some 100 ppm, stays far below.
    """

    STRETCH_SECONDS = 5.0
    TOLERANCE_SECONDS = 0.2

    def __init__(self, sample_rate_hz: float) -> None:
        self._sample_rate_hz = sample_rate_hz
        self._origin_seconds: float | None = None
        self._counted = 0
        self._usual_seconds = math.inf
        self._smallest_seconds = math.inf
        self._stretch_end_seconds = 0.0
        self._reopened = False

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
            usual_seconds = min(self._usual_seconds, self._smallest_seconds)
            return self._end_stretch(now_seconds, late_seconds - usual_seconds)
        self._smallest_seconds = min(self._smallest_seconds, late_seconds)
        if now_seconds < self._stretch_end_seconds:
            return 0
        grown_seconds = self._smallest_seconds - self._usual_seconds  # -inf after the first stretch
        if grown_seconds > self.TOLERANCE_SECONDS:
            return self._end_stretch(now_seconds, grown_seconds)
        self._usual_seconds = self._smallest_seconds
        return self._end_stretch(now_seconds, 0.0)

    def _end_stretch(self, now_seconds: float, lost_seconds: float) -> int:
        lost = max(0, round(lost_seconds * self._sample_rate_hz))
        self._counted += lost
        self._smallest_seconds = math.inf
        self._stretch_end_seconds = now_seconds + self.STRETCH_SECONDS
        return lost
