"""Scores of labelled recordings -> how well normal and anomalous are told apart, and how well the threshold does it.

AUC and partial AUC rank raw window scores. F1 and the two alarm rates compare each smoothed score with the threshold.
Alarms and the detection delay are those of the whole decision chain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from dasvdd_runtime.calibration import Calibration
from dasvdd_runtime.detector import DecisionSettings
from dasvdd_runtime.errors import DataError
from numpy.typing import NDArray

from .outcomes import Outcome, ScoredStream, outcomes, smoothed_scores

__all__ = ["Evaluation", "Figures", "Group", "ScoredStream", "Separation", "evaluate", "separation", "smoothed_scores"]

PARTIAL_AUC_MAX_FPR = 0.1
"""Largest false-positive rate that the partial AUC looks at, as in the DCASE challenge's task 2."""


@dataclass(frozen=True)
class Separation:
    """How well raw scores rank anomalous above normal windows, whatever the threshold."""

    auc: float
    """Area under the ROC curve, 0 to 1; 0.5 is guessing."""
    partial_auc: float
    """The same up to a false-positive rate of 0.1, standardised (McClish) so that 0.5 is guessing and 1 is perfect."""


@dataclass(frozen=True)
class Figures:
    """Figures over some labelled recordings. None stands for what cannot be known without labels or a threshold."""

    normal_windows: int
    anomalous_windows: int
    separation: Separation | None
    """None where one of the two classes has no window."""
    f1: float | None
    """2 TP / (2 TP + FP + FN) over windows, anomalous is positive; None without a threshold or an anomalous window."""
    false_alarm_rate: float | None
    """Share of normal windows whose smoothed score lies above the threshold."""
    missed_alarm_rate: float | None
    """Share of anomalous windows whose smoothed score lies at or below the threshold."""
    normal_recordings: int
    """Recordings, or parts, with at least one window."""
    false_alarms: int
    """Alarms in them, after the whole decision chain."""
    anomalous_recordings: int
    too_short_recordings: int
    """Anomalous recordings with too few windows for an alarm, or without a threshold."""
    detected_recordings: int
    """Anomalous recordings in which an alarm rose."""
    delays_seconds: tuple[float, ...]
    """From the start of each detected recording (or part) to the rise of its first alarm, ascending."""

    @property
    def median_delay_seconds(self) -> float | None:
        """Median of the delays of the detected recordings; None if none was detected."""
        return float(np.median(self.delays_seconds)) if self.delays_seconds else None


@dataclass(frozen=True)
class Group:
    """Figures of one machine in one condition of the manifest."""

    machine: str
    condition: str
    against: str
    """Which normal windows its anomalous ones are compared with; empty where it has no anomalous ones."""
    figures: Figures


@dataclass(frozen=True)
class Evaluation:
    """Figures over the labelled recordings."""

    overall: Figures
    groups: list[Group]
    """One per machine and condition; empty where the recordings name neither."""
    fpr: list[float]
    """False-positive rates of the ROC curve of raw window scores, from 0 to 1; empty without both classes."""
    tpr: list[float]
    """True-positive rates beside `fpr`."""


def evaluate(
    streams: Sequence[ScoredStream],
    *,
    calibration: Calibration | None,
    decision: DecisionSettings,
    window_seconds: float,
    window_hop_seconds: float,
) -> Evaluation | None:
    """`Evaluation` of the streams with the roles test_normal and test_anomalous, or None if they have no window.

    Held-out streams do not count as normal, since the threshold was chosen on them. With one class alone there is no
    AUC, F1 is unknown without anomalous windows, and the rest is given. Raises DataError for a score that is not
    finite.
    """
    from sklearn.metrics import roc_curve

    tested = [s for s in streams if s.role in ("test_normal", "test_anomalous") and len(s.scores)]
    for stream in tested:
        _check_finite(stream)
    if not tested:
        return None
    found = outcomes(
        tested,
        calibration=calibration,
        decision=decision,
        window_seconds=window_seconds,
        window_hop_seconds=window_hop_seconds,
    )
    normal, anomalous = _with_role(found, "test_normal"), _with_role(found, "test_anomalous")
    fpr, tpr = np.empty(0), np.empty(0)
    if normal and anomalous:
        fpr, tpr, _ = roc_curve(*_labelled(_scores(normal), _scores(anomalous)))
    return Evaluation(
        overall=_figures(normal, anomalous, has_threshold=calibration is not None),
        groups=_groups(normal, anomalous, has_threshold=calibration is not None),
        fpr=fpr.tolist(),
        tpr=tpr.tolist(),
    )


def separation(normal: NDArray[np.float64], anomalous: NDArray[np.float64]) -> Separation | None:
    """`Separation` of two sets of scores [windows]; None where one of them is empty."""
    from sklearn.metrics import roc_auc_score

    if not len(normal) or not len(anomalous):
        return None
    labels, scores = _labelled(normal, anomalous)
    return Separation(
        auc=float(roc_auc_score(labels, scores)),
        partial_auc=float(roc_auc_score(labels, scores, max_fpr=PARTIAL_AUC_MAX_FPR)),
    )


def _figures(normal: Sequence[Outcome], anomalous: Sequence[Outcome], *, has_threshold: bool) -> Figures:
    normal_windows, anomalous_windows = (sum(len(o.stream.scores) for o in group) for group in (normal, anomalous))
    false_positives, true_positives = (sum(o.windows_above for o in group) for group in (normal, anomalous))
    missed = anomalous_windows - true_positives
    with_normal, with_anomalous = has_threshold and normal_windows > 0, has_threshold and anomalous_windows > 0
    return Figures(
        normal_windows=normal_windows,
        anomalous_windows=anomalous_windows,
        separation=separation(_scores(normal), _scores(anomalous)),
        f1=2 * true_positives / (2 * true_positives + false_positives + missed) if with_anomalous else None,
        false_alarm_rate=false_positives / normal_windows if with_normal else None,
        missed_alarm_rate=missed / anomalous_windows if with_anomalous else None,
        normal_recordings=len(normal),
        false_alarms=sum(o.alarms for o in normal),
        anomalous_recordings=len(anomalous),
        too_short_recordings=sum(not o.can_alarm for o in anomalous),
        detected_recordings=sum(o.alarms > 0 for o in anomalous),
        delays_seconds=tuple(sorted(o.delay_seconds for o in anomalous if o.delay_seconds is not None)),
    )


def _groups(normal: Sequence[Outcome], anomalous: Sequence[Outcome], *, has_threshold: bool) -> list[Group]:
    keys = sorted({(o.stream.machine, o.stream.condition) for o in (*normal, *anomalous)})
    if keys == [("", "")]:
        return []
    groups = []
    for machine, condition in keys:
        own = [o for o in anomalous if (o.stream.machine, o.stream.condition) == (machine, condition)]
        against, compared = _compared_normal(normal, machine, condition)
        if not own:
            against, compared = (
                "",
                [o for o in normal if (o.stream.machine, o.stream.condition) == (machine, condition)],
            )
        groups.append(Group(machine, condition, against, _figures(compared, own, has_threshold=has_threshold)))
    return groups


def _compared_normal(normal: Sequence[Outcome], machine: str, condition: str) -> tuple[str, list[Outcome]]:
    """The normal recordings most like those of a machine in a condition: a fault has no normal ones of its own."""
    same_machine = [o for o in normal if o.stream.machine == machine]
    same_both = [o for o in same_machine if o.stream.condition == condition]
    if same_both:
        return "this machine and condition", same_both
    if same_machine:
        return "this machine", same_machine
    return "all machines", list(normal)


def _with_role(found: Sequence[Outcome], role: str) -> list[Outcome]:
    return [outcome for outcome in found if outcome.stream.role == role]


def _scores(group: Sequence[Outcome]) -> NDArray[np.float64]:
    return np.concatenate([np.empty(0), *(outcome.stream.scores for outcome in group)])


def _labelled(
    normal: NDArray[np.float64], anomalous: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    return np.repeat([0, 1], [len(normal), len(anomalous)]), np.concatenate([normal, anomalous])


def _check_finite(stream: ScoredStream) -> None:
    bad = np.flatnonzero(~np.isfinite(stream.scores))
    if len(bad):
        raise DataError(
            f"{stream.name}: score {stream.scores[bad[0]]} at window {bad[0]} of {len(stream.scores)}; an "
            "evaluation needs finite scores. Check the recording there, or leave it out."
        )
