"""Is what arrives from a source fit to be judged? Pure: told of samples, waiting and faults, it keeps no clock."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from ..reading.recording_types import Kind
from .levels import CLIPPED_SHARE, SILENT_DBFS, clipped_share
from .silence import SilentRun

RECOVERY_SECONDS = 5.0
"""A source is FAULT or CLIPPED until it has been without for this long."""
CLIP_SECONDS = 1.0
"""Clipping is judged over stretches of this length."""
LEAST_ROWS = 3
"""A slow source is neither stalled before so many rows are due, nor silent before so many are alike."""


class State(StrEnum):
    """What a source is doing. Windows of silence or with values that are not finite are withheld from the detector."""

    STARTING = "STARTING"
    OK = "OK"
    IDLE = "IDLE"
    """The machine stands still, as the running gate says; not judged."""
    STALLED = "STALLED"
    """The device is open, but no samples arrive."""
    MISSING = "MISSING"
    """The device is not there or cannot be opened."""
    SILENT = "SILENT"
    """Samples arrive, but carry nothing: an audio channel at or below SILENT_DBFS, or sensors of which none changes."""
    CLIPPED = "CLIPPED"
    """Samples at full scale. Scored all the same, since a loud machine is real, but not to be trusted fully."""
    FAULT = "FAULT"
    """Samples or scores that are not finite."""


UNWATCHED = frozenset({State.STALLED, State.MISSING, State.SILENT, State.FAULT})
"""States in which a machine is not watched."""


@dataclass(frozen=True)
class StateChange:
    """From which state to which, and why."""

    previous: State
    state: State
    reason: str


class SourceHealth:
    """The state of one source. Each method returns a StateChange, or None if the state stays.

    Silence and clipping are judged on `used_channels`, those that the model listens to; a value that is not finite is
    a fault in any channel.
    """

    def __init__(
        self,
        *,
        kind: Kind,
        used_channels: Sequence[int],
        sample_rate_hz: float,
        silent_seconds: float,
        stall_seconds: float,
    ) -> None:
        self.state = State.STARTING
        self.reason = ""
        self._kind = kind
        self._used_channels = list(used_channels)
        self._sample_rate_hz = sample_rate_hz
        self._silent_seconds = max(silent_seconds, LEAST_ROWS / sample_rate_hz)
        self._stall_seconds = max(stall_seconds, LEAST_ROWS / sample_rate_hz)
        self._silence = SilentRun(kind)
        self._since_fault_seconds = math.inf
        self._since_clipped_seconds = math.inf
        self._clip_counted = 0
        self._clip_weight = 0.0
        self._clipped_share = 0.0

    def samples(self, samples: NDArray[np.float32], *, idle: str | None = None) -> StateChange | None:
        """`samples` [samples, channels] arrived. `idle`: why the machine is taken to stand still, if it is."""
        if not len(samples):
            return None
        seconds = len(samples) / self._sample_rate_hz
        self._since_fault_seconds += seconds
        self._since_clipped_seconds += seconds
        if not np.isfinite(samples).all():
            return self.fault(f"{np.count_nonzero(~np.isfinite(samples))} values that are not finite")
        used = samples[:, self._used_channels]
        self._silence.add(used)
        self._count_clipped(used)
        return self._judge(idle)

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

    def _judge(self, idle: str | None) -> StateChange | None:
        silent_seconds = self._silence.samples / self._sample_rate_hz
        if self._since_fault_seconds < RECOVERY_SECONDS:
            return self._change(State.FAULT, "values that are not finite")
        if silent_seconds >= self._silent_seconds:
            return self._change(State.SILENT, self._silent_reason(silent_seconds))
        if idle is not None:
            return self._change(State.IDLE, idle)
        if self._since_clipped_seconds < RECOVERY_SECONDS:
            share, limit = 100 * self._clipped_share, 100 * CLIPPED_SHARE
            return self._change(State.CLIPPED, f"{share:.2g} % of samples at full scale (limit {limit:g} %)")
        return self._change(State.OK, "samples arrive")

    def _silent_reason(self, seconds: float) -> str:
        if self._kind == "sensor":
            return f"no channel has changed for {seconds:.1f} s"
        channel = ""
        if len(self._used_channels) > 1:
            channel = f"channel {self._used_channels[self._silence.most_silent_channel]}: "
        return f"{channel}level at or below {SILENT_DBFS:g} dBFS for {seconds:.1f} s"

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
        previous, self.state, self.reason = self.state, state, reason
        return None if state is previous else StateChange(previous, state, reason)
