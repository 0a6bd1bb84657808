"""What the figures of a run mean, in words for the people beside the machine. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from dasvdd_runtime.calibration import Calibration
from dasvdd_runtime.detector import DecisionSettings, find_episodes

from ..evaluation import ScoredStream, smoothed_scores
from .data import ReportData

CLEAR_AUC, USABLE_AUC = 0.95, 0.8
LARGE_SHARE = 0.05
"""A band or channel with less of the residual than this is not worth a name."""


@dataclass(frozen=True)
class RecordingFinding:
    """What the decision chain makes of one recording."""

    number: int
    """From 1, in the order of the report's streams; the figure over time shows it too."""
    stream: ScoredStream
    seconds: float
    peak_of_threshold: float
    """Largest smoothed score over the threshold; nan without a threshold or without a window."""
    alarms: int
    first_alarm_seconds: float | None


@dataclass(frozen=True)
class Verdict:
    """The report's first sentence."""

    level: Literal["good", "caution", "bad"]
    headline: str
    text: str


def recording_findings(data: ReportData) -> list[RecordingFinding]:
    """One finding per stream of `data`, in order."""
    return [_recording_finding(data, number, stream) for number, stream in enumerate(data.streams, start=1)]


def _recording_finding(data: ReportData, number: int, stream: ScoredStream) -> RecordingFinding:
    seconds = len(stream.scores) * data.window_hop_seconds
    if data.calibration is None or not len(stream.scores):
        return RecordingFinding(number, stream, seconds, math.nan, 0, None)
    threshold, hop = data.calibration.threshold, data.window_hop_seconds
    episodes = find_episodes(
        stream.times_seconds,
        stream.scores,
        threshold=threshold,
        settings=data.decision,
        window_hop_seconds=hop,
        usual_score=data.calibration.usual_score,
    )
    smoothed = smoothed_scores(stream.scores, decision=data.decision, window_hop_seconds=hop)
    return RecordingFinding(
        number=number,
        stream=stream,
        seconds=seconds,
        peak_of_threshold=float(smoothed.max()) / threshold,
        alarms=len(episodes),
        first_alarm_seconds=episodes[0].rise_seconds if episodes else None,
    )


def verdict(data: ReportData, recordings: Sequence[RecordingFinding]) -> Verdict:
    """Whether to use the model, in a headline and a sentence or two."""
    text = " ".join([_separation_words(data), alarm_words(data, recordings)]).strip()
    if data.warnings:
        count = "a warning" if len(data.warnings) == 1 else f"{len(data.warnings)} warnings"
        return Verdict("bad", f"Do not rely on this model yet: training ended with {count}", text)
    if data.calibration is None:
        return Verdict(
            "caution",
            "Trained, but there is no alarm threshold",
            f"No recordings were held out, so none could be chosen. Give dasvdd-export healthy recordings with "
            f"--calibration. {text}",
        )
    if data.evaluation is None:
        return Verdict(
            "caution",
            "Ready to try; not yet put to the test",
            f"{text} Healthy and faulty test recordings were not both given, so nothing here says how well it tells "
            "them apart. Train with --test-normal and --test-anomalous to find out.".strip(),
        )
    if data.evaluation.auc < USABLE_AUC:
        return Verdict("bad", "The scores do not tell these faults from normal running well enough", text)
    wrong = [r for r in recordings if _is_wrong(r)]
    if data.evaluation.auc < CLEAR_AUC or wrong:
        return Verdict("caution", "Usable with care", text)
    return Verdict("good", "Ready to export", text)


def _is_wrong(finding: RecordingFinding) -> bool:
    """A false alarm, or a faulty recording of a window or more without an alarm."""
    if finding.stream.role == "test_anomalous":
        return finding.alarms == 0 and len(finding.stream.scores) > 0
    return finding.alarms > 0


def _separation_words(data: ReportData) -> str:
    if data.evaluation is None:
        return ""
    auc = data.evaluation.auc
    steps = (
        (CLEAR_AUC, "clearly higher than"),
        (USABLE_AUC, "mostly higher than"),
        (0.6, "only somewhat higher than"),
        (0.4, "no higher than"),
        (0.0, "lower than"),
    )
    how = next(words for least, words in steps if auc >= least)
    return f"Faulty running scores {how} healthy running (AUC {auc:.3f})."


def alarm_words(data: ReportData, recordings: Sequence[RecordingFinding]) -> str:
    """In how many labelled recordings the whole decision chain raised an alarm; empty without a threshold or labels."""
    if data.calibration is None:
        return ""
    parts = []
    for role, adjective in (("test_anomalous", "faulty"), ("test_normal", "healthy")):
        group = [r for r in recordings if r.stream.role == role and len(r.stream.scores)]
        if group:
            parts.append(f"{sum(r.alarms > 0 for r in group)} of {len(group)} {adjective}")
    return f"An alarm rose in {' and '.join(parts)} test recordings." if parts else ""


def hours_to_count(calibration: Calibration) -> float:
    """Hours without any alarm after which the target rate is met with the calibration's confidence (Poisson)."""
    return -math.log1p(-calibration.confidence) / calibration.false_alarms_per_day * 24


def calibration_words(calibration: Calibration | None) -> str:
    """What the threshold rests on and how far to trust it."""
    if calibration is None:
        return "There is no threshold: nothing was held out to choose it on."
    rate = calibration.false_alarms_per_day
    basis = (
        f"The threshold is {calibration.threshold:.4g}. An alarm needs a smoothed score above it. It is meant for at "
        f"most {_count(rate, 'false alarm')} per day of running, and rests on {_hours(calibration.hours)} of held-out "
        f"healthy running ({calibration.windows} windows). "
    )
    bound = (
        "The held-out data alone prove no more than a rate of at most "
        f"{calibration.episodes_per_day_upper:.3g} per day ({calibration.confidence:.0%} confidence)."
    )
    if not calibration.extrapolates:
        return basis + "That is enough to count false alarms, so the threshold was counted, not estimated. " + bound
    return (
        basis + "That is too little to observe such a rate, so the threshold extrapolates from the highest held-out "
        f"scores: the true rate may differ several-fold. About {_hours(hours_to_count(calibration))} of healthy "
        "running without an alarm would be needed to count it. " + bound
    )


def decision_words(decision: DecisionSettings, *, window_hop_seconds: float) -> str:
    """How scores become an alarm."""
    smoothing = f"smoothed over {decision.smoothing_seconds:g} s" if decision.smoothing_seconds else "not smoothed"
    lasting = f" for {decision.minimum_duration_seconds:g} s" if decision.minimum_duration_seconds > 0 else ""
    return (
        f"The machine is scored every {window_hop_seconds:.3g} s and the score is {smoothing}. An alarm rises when "
        f"{decision.k} of the last {decision.n} scores lie above the threshold{lasting}, and clears when "
        f"{decision.n} in a row have fallen back by {1 - decision.clear_ratio:.0%} of the way to the usual score."
    )


def residual_words(data: ReportData) -> str:
    """Which bands carry the residual, and which ones a fault raises most; empty where nothing was measured."""
    noun = "band" if data.kind == "audio" else "channel"
    sentences = []
    for role, subject in (("holdout", "In healthy running"), ("test_anomalous", "In faulty recordings")):
        residual = np.asarray(data.residual_by_role.get(role, []))
        if residual.size and residual.sum() > 0:
            share = residual / residual.sum()
            top = [i for i in np.argsort(share)[::-1][:3] if share[i] >= LARGE_SHARE]
            named = ", ".join(f"{data.residual_names[i]} ({share[i]:.0%} of it)" for i in top)
            where = f"largest at {named}" if top else f"spread over all {len(share)} {noun}s"
            sentences.append(f"{subject} the residual is {where}.")
    usual, faulty = (np.asarray(data.residual_by_role.get(role, [])) for role in ("holdout", "test_anomalous"))
    if usual.size and faulty.size and (usual > 0).any():
        ratio = np.divide(faulty, usual, out=np.zeros(len(usual)), where=usual > 0)
        most = int(ratio.argmax())
        sentences.append(
            f"A fault raises the {noun} {data.residual_names[most]} most: {ratio[most]:.3g} times the healthy value."
        )
    return " ".join(sentences)


def _count(number: float, noun: str) -> str:
    return f"{number:g} {noun}{'' if number == 1 else 's'}"


def _hours(hours: float) -> str:
    return f"{hours:.3g} hours" if hours >= 1 else f"{hours * 60:.2g} minutes"
