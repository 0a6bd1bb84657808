"""Everything that the report shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from dasvdd_runtime.calibration import Calibration
from dasvdd_runtime.contract import TrainingSummary
from dasvdd_runtime.detector import DecisionSettings
from numpy.typing import NDArray

from ..diagnosis import Doubt
from ..evaluation import Evaluation, ScoredStream
from ..inspection import Inspection
from ..metrics import EpochMetrics


@dataclass(frozen=True)
class ReportData:
    """One training run."""

    name: str
    kind: str
    """'audio' or 'sensor'."""
    warnings: list[Doubt]
    notes: list[str]
    """What was said about single recordings while they were read."""
    epochs: list[EpochMetrics]
    streams: list[ScoredStream]
    """Of the roles holdout, test_normal and test_anomalous."""
    residual_names: list[str]
    residual_noun: str
    """What one of them is: a band, a channel or a sample."""
    residual_by_role: dict[str, list[float]]
    """Mean residual per entry of `residual_names`, by role."""
    calibration: Calibration | None
    decision: DecisionSettings
    held_out_seconds: float
    """Length of the held-out recordings; the windows cover a little less of them."""
    sample_rate_hz: float
    channel_names: Sequence[str]
    units: Sequence[str]
    channel: str
    """The channel that the model uses: a number from 0, 'mean' or 'all'."""
    window_seconds: float
    window_hop_seconds: float
    center: NDArray[np.float32]
    """c, [latent]."""
    inspection: Inspection
    with_audio: bool
    """Whether the most unusual pieces may be listened to."""
    evaluation: Evaluation | None
    settings: Mapping[str, Any]
    """Dotted name -> value."""
    training: TrainingSummary
    versions: Mapping[str, str]
