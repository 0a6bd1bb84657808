"""What a monitor knows of a source, or of a receiver, at one moment, for metrics and pages. Read-only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..condition.drift import DriftReport
from ..condition.health import State
from ..events import Counts

Keeps = Literal["nothing", "spectrogram", "values", "sound"]
"""Of an alarm: nothing, levels without speech, sensor values too slow for a voice, or samples with what was said."""


@dataclass(frozen=True)
class Residual:
    """How badly each band or channel of one window was reconstructed. All three have one entry a band."""

    values: NDArray[np.float64]
    usual: Sequence[float]
    """Its mean over normal windows."""
    names: Sequence[str]


@dataclass(frozen=True)
class Heard:
    """What arrived newest, of the channels that the model uses."""

    blocks: tuple[NDArray[np.float32], ...]
    """Blocks [samples, channels] that follow each other: a second at least once there is one. Not to be written to."""
    sample_rate_hz: float


@dataclass(frozen=True)
class SourceSnapshot:
    """One source, as `Service.snapshot` finds it."""

    name: str
    model: str
    """The configuration's name of its model, or the model's own where the configuration gives none."""
    model_fingerprint: str
    state: State
    score: float | None
    """Score of the newest window that was judged; None before the first."""
    smoothed_score: float | None
    threshold: float
    in_alarm: bool
    counts: Counts
    """A copy: windows, gaps, lost and dropped seconds, running hours, episodes."""
    drift_ppm: float | None
    """By how much the device's clock is faster than this machine's; None until it is known, or without a device."""
    level_dbfs: float | None
    """Level of the channels that the model uses over the newest second; None before the first."""
    waiting_seconds: float
    """For how long the open source has given no samples."""
    live: bool
    """It gives samples by the clock; False for a file or a pipe."""
    ended: bool
    alive: bool = True
    """Its driver comes back from reading; where it does not, a restart is all that helps."""
    failed: bool = False
    """It ended with a fault."""
    latched_alarms: int = 0
    """Alarms whose scores have cleared, but which nobody has acknowledged; with one, `in_alarm` is true."""
    drift: DriftReport | None = None
    """The last whole day of running against normal running; None before the first."""
    muted: bool = False
    """Nobody is to be called for it."""
    state_reason: str = ""
    """Why it is in its state, with figures; empty before the first."""
    usual_level_dbfs: tuple[float, float, float] | None = None
    """5th, 50th and 95th percentile of the level in normal running; None where it says nothing."""
    residual: Residual | None = None
    """Of the newest window that was judged; None before the first."""
    heard: Heard | None = None
    """Its newest second."""
    keeps: Keeps = "nothing"
    """What is kept of its alarms."""


TestFate = Literal["delivered", "refused", "held"]


@dataclass(frozen=True)
class HeldBack:
    """Events that are held for a receiver by its limit, though it would take them."""

    events: int
    until: float
    """Unix time."""


@dataclass(frozen=True)
class Standing:
    """One receiver of events, as the outbox finds it."""

    waiting: int
    """Events that it has not acknowledged, at most."""
    lost: dict[str, int]
    """What it never got, by kind: `events`, `scores`, `refused`."""
    held: HeldBack | None = None
    """What of it is held by a limit of its table."""
    fault: str = ""
    """Why it takes nothing now, without a secret."""
    tests: Mapping[str, TestFate] = field(default_factory=dict)
    """By id, what became of the newest test alarms that came to it."""
