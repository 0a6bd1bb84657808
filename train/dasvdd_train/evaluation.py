"""Scores of labelled recordings -> how well normal and anomalous are told apart, and how well the threshold does it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate

import numpy as np
from dasvdd_runtime.calibration import Calibration
from dasvdd_runtime.detector import DecisionSettings, smooth
from dasvdd_runtime.errors import DataError
from dasvdd_runtime.manifest import Role
from numpy.typing import NDArray

PARTIAL_AUC_MAX_FPR = 0.1
"""Largest false-positive rate that the partial AUC looks at, as in the DCASE challenge's task 2."""


@dataclass(frozen=True)
class ScoredStream:
    """The scores of one uninterrupted stretch of one recording."""

    name: str
    role: Role
    machine: str
    condition: str
    times_seconds: NDArray[np.float64]
    """Time of each window within the recording, shape [windows]."""
    scores: NDArray[np.float64]
    """Score of each window before smoothing, shape [windows]."""


@dataclass(frozen=True)
class Evaluation:
    """Figures over all windows of the labelled recordings."""

    auc: float
    """Area under the ROC curve of raw window scores, 0 to 1; 0.5 is guessing."""
    partial_auc: float
    """The same up to a false-positive rate of 0.1, standardised (McClish) so that 0.5 is guessing and 1 is perfect."""
    false_alarm_rate: float
    """Share of normal windows whose smoothed score lies above the threshold; nan without a threshold."""
    missed_alarm_rate: float
    """Share of anomalous windows whose smoothed score lies at or below the threshold; nan without a threshold."""
    normal_windows: int
    anomalous_windows: int
    fpr: list[float]
    """False-positive rates of the ROC curve, from 0 to 1; raw window scores."""
    tpr: list[float]
    """True-positive rates beside `fpr`."""


def smoothed_scores(
    scores: NDArray[np.float64], *, decision: DecisionSettings, window_hop_seconds: float
) -> NDArray[np.float64]:
    """`scores` [windows] after the decision chain's exponential smoothing, which starts at the first of them."""
    step = partial(smooth, alpha=decision.smoothing_alpha(window_hop_seconds))
    return np.fromiter(accumulate(scores.tolist(), step), np.float64, len(scores))


def evaluate(
    streams: Sequence[ScoredStream],
    *,
    calibration: Calibration | None,
    decision: DecisionSettings,
    window_hop_seconds: float,
) -> Evaluation:
    """`Evaluation` of the streams with the roles test_normal and test_anomalous; other roles are passed over.

    Held-out streams do not count as normal, since the threshold was chosen on them. Raises DataError where one of the
    two roles has no window, and for a score that is not finite.
    """
    from sklearn.metrics import roc_auc_score, roc_curve

    normal = [stream for stream in streams if stream.role == "test_normal"]
    anomalous = [stream for stream in streams if stream.role == "test_anomalous"]
    normal_scores, anomalous_scores = _joined(normal), _joined(anomalous)
    _check_both_roles(len(normal_scores), len(anomalous_scores))
    labels = np.repeat([0, 1], [len(normal_scores), len(anomalous_scores)])
    scores = np.concatenate([normal_scores, anomalous_scores])
    fpr, tpr, _ = roc_curve(labels, scores)

    def share_above(group: Sequence[ScoredStream]) -> float:
        if calibration is None:
            return math.nan
        smoothed = [
            smoothed_scores(stream.scores, decision=decision, window_hop_seconds=window_hop_seconds) for stream in group
        ]
        return float(np.mean(np.concatenate(smoothed) > calibration.threshold))

    return Evaluation(
        auc=float(roc_auc_score(labels, scores)),
        partial_auc=float(roc_auc_score(labels, scores, max_fpr=PARTIAL_AUC_MAX_FPR)),
        false_alarm_rate=share_above(normal),
        missed_alarm_rate=1 - share_above(anomalous),
        normal_windows=len(normal_scores),
        anomalous_windows=len(anomalous_scores),
        fpr=fpr.tolist(),
        tpr=tpr.tolist(),
    )


def _joined(streams: Sequence[ScoredStream]) -> NDArray[np.float64]:
    for stream in streams:
        bad = np.flatnonzero(~np.isfinite(stream.scores))
        if len(bad):
            raise DataError(
                f"{stream.name}: score {stream.scores[bad[0]]} at window {bad[0]} of {len(stream.scores)}; an "
                "evaluation needs finite scores. Check the recording there, or leave it out."
            )
    return np.concatenate([stream.scores for stream in streams]) if streams else np.empty(0)


def _check_both_roles(normal_windows: int, anomalous_windows: int) -> None:
    if normal_windows and anomalous_windows:
        return
    missing = [
        role
        for role, windows in (("test_normal", normal_windows), ("test_anomalous", anomalous_windows))
        if not windows
    ]
    raise DataError(
        f"{normal_windows} windows of role test_normal and {anomalous_windows} of test_anomalous: an evaluation "
        f"compares both, so add recordings of role {' and '.join(missing)} that are at least one window long, or give "
        "neither."
    )
