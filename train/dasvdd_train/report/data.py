"""Everything that the report shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dasvdd_runtime.calibration import Calibration
from dasvdd_runtime.contract import TrainingSummary
from dasvdd_runtime.detector import DecisionSettings

from ..evaluation import Evaluation, ScoredStream
from ..metrics import EpochMetrics


@dataclass(frozen=True)
class ReportData:
    """One training run."""

    name: str
    kind: str
    """'audio' or 'sensor'."""
    warnings: list[str]
    epochs: list[EpochMetrics]
    streams: list[ScoredStream]
    """Of the roles holdout, test_normal and test_anomalous."""
    residual_names: list[str]
    residual_by_role: dict[str, list[float]]
    """Mean residual per entry of `residual_names`, by role."""
    calibration: Calibration | None
    decision: DecisionSettings
    window_hop_seconds: float
    evaluation: Evaluation | None
    settings: Mapping[str, Any]
    """Dotted name -> value."""
    training: TrainingSummary
    versions: Mapping[str, str]
