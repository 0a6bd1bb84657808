"""What the figures of a run mean, in words for the people beside the machine. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from dasvdd_runtime.calibration import Calibration
from dasvdd_runtime.detector import DecisionSettings
from dasvdd_runtime.thresholds.promises import hours_to_count
from dasvdd_runtime.words import count, duration, long_duration, rate

from ..diagnosis import USABLE_AUC
from ..metrics import PATIENCE, early_stop
from ..outcomes import Outcome, outcomes
from ..summary import comparison_words
from .data import ReportData

CLEAR_AUC = 0.95
LARGE_SHARE = 0.05
"""A band or channel with less of the residual than this is not worth a name."""
REASONS = {
    "loss-not-falling": "the training did not learn",
    "collapsed": "every recording gets the same code",
    "nothing-reconstructed": "the autoencoder did not learn to reconstruct the machine",
    "little-data": "there is too little data to learn from",
    "faults-not-told": "the scores do not tell these faults from normal running well enough",
    "faults-missed": "it misses half of the faults in the test recordings or more",
}
"""Code of a serious doubt -> the half sentence that follows 'Not ready:'."""


@dataclass(frozen=True)
class Verdict:
    """The report's first sentence, and what to do."""

    level: Literal["good", "caution", "bad"]
    headline: str
    text: str
    next_steps: list[str]


def recording_outcomes(data: ReportData) -> list[Outcome]:
    """One outcome per stream of `data`, in order."""
    return outcomes(
        data.streams,
        calibration=data.calibration,
        decision=data.decision,
        window_seconds=data.window_seconds,
        window_hop_seconds=data.window_hop_seconds,
    )


def verdict(data: ReportData, recordings: Sequence[Outcome]) -> Verdict:
    """Whether to use the model, in a headline and a sentence or two, and what to do next."""
    separation = data.evaluation.overall.separation if data.evaluation else None
    serious = [doubt for doubt in data.warnings if doubt.serious]
    wrong = [r for r in recordings if _is_wrong(r)]
    level: Literal["good", "caution", "bad"] = "caution"
    if serious:
        level, headline = "bad", f"Not ready: {REASONS.get(serious[0].code, 'the training has a serious fault')}."
    elif data.calibration is None:
        headline = "Not ready: trained, but there is no alarm threshold."
    elif wrong:
        headline = f"Ready to try with care: {_wrong_words(wrong, recordings)}."
    elif separation is None:
        headline = "Ready to try: trained and calibrated, but not yet put to the test."
    elif separation.auc < CLEAR_AUC:
        headline = "Ready to try with care: faults and normal running overlap."
    else:
        level, headline = "good", "Ready to try: faults in the test recordings stand out clearly."
    text = " ".join(filter(None, [_separation_words(data), alarm_words(data, recordings), _doubt_words(data)]))
    return Verdict(level, headline, text, _next_steps(data, serious=bool(serious), wrong=len(wrong)))


def _is_wrong(outcome: Outcome) -> bool:
    """A false alarm, or a faulty recording that is long enough for an alarm and has none."""
    if outcome.stream.role == "test_anomalous":
        return outcome.alarms == 0 and outcome.can_alarm
    return outcome.alarms > 0


def _wrong_words(wrong: Sequence[Outcome], recordings: Sequence[Outcome]) -> str:
    faulty = sum(r.stream.role == "test_anomalous" and r.can_alarm for r in recordings)
    missed = sum(r.stream.role == "test_anomalous" for r in wrong)
    if missed:
        return f"{missed} of {count(faulty, 'faulty test recording')} raised no alarm"
    return "healthy recordings raised an alarm"


def _separation_words(data: ReportData) -> str:
    separation = data.evaluation.overall.separation if data.evaluation else None
    if separation is None:
        return ""
    steps = (
        (CLEAR_AUC, "clearly higher than"),
        (USABLE_AUC, "mostly higher than"),
        (0.6, "only somewhat higher than"),
        (0.4, "no higher than"),
        (0.0, "lower than"),
    )
    how = next(words for least, words in steps if separation.auc >= least)
    return f"Faulty running scores {how} healthy running (AUC {separation.auc:.3f})."


def alarm_words(data: ReportData, recordings: Sequence[Outcome]) -> str:
    """In how many recordings the whole decision chain raised an alarm; empty without a threshold or recordings."""
    if data.calibration is None:
        return ""
    parts = []
    for role, noun in (
        ("test_anomalous", "faulty test recording"),
        ("test_normal", "healthy test recording"),
        ("holdout", "held-out healthy stretch"),
    ):
        group = [r for r in recordings if r.stream.role == role and len(r.stream.scores)]
        if group:
            nouns = noun if len(group) == 1 else f"{noun}es" if noun.endswith("ch") else f"{noun}s"
            short = sum(not r.can_alarm for r in group)
            too_short = f" ({short} too short for one)" if short else ""
            parts.append(f"{sum(r.alarms > 0 for r in group)} of {len(group)} {nouns}{too_short}")
    if not parts:
        return ""
    return f"An alarm rose in {parts[0] if len(parts) == 1 else ', '.join(parts[:-1]) + ' and ' + parts[-1]}."


def _doubt_words(data: ReportData) -> str:
    warnings = len(data.warnings)
    return f"{count(warnings, 'warning')} below {'says' if warnings == 1 else 'say'} what to mind." if warnings else ""


def _next_steps(data: ReportData, *, serious: bool, wrong: int) -> list[str]:
    steps = []
    mixed = any(doubt.code == "mixture" for doubt in data.warnings)
    if mixed:
        steps.append(_listen_words(data))
    if serious:
        return [*steps, "Follow the red warnings below, and train again.", "Only then export the model."]
    if wrong:
        steps.append(
            f"Look at the table of recordings: {count(wrong, 'test recording')} without the alarm that a fault should "
            "raise, or with one that healthy running should not. More epochs, more training data or another front end "
            "(front_end.type) may mend it."
        )
    if data.calibration is None:
        steps.append("Train with held-out data, or give dasvdd-export healthy recordings: --calibration FOLDER.")
    if data.evaluation is None:
        steps.append(
            "Put it to the test where you can: --test-normal with recordings of another day, --test-anomalous with "
            "known faults."
        )
    elif data.evaluation.overall.separation is None and data.evaluation.overall.anomalous_recordings:
        steps.append(
            "Give healthy recordings that were not trained on too (--test-normal): AUC and the comparison with cheap "
            "baselines take both kinds."
        )
    steps.append("Export it with dasvdd-export, and run dasvdd-monitor check beside the machine.")
    if data.calibration is not None and data.calibration.extrapolates:
        steps.append(
            "Let the monitor run for some days on the healthy machine before you act on alarms, and let it set its "
            "threshold from them: dasvdd-monitor calibrate monitor.toml."
        )
    if data.inspection.clips and not mixed:
        steps.append(_listen_words(data))
    return steps


def _listen_words(data: ReportData) -> str:
    if data.kind == "audio" and data.with_audio:
        return "Listen to the most unusual pieces below: a cough, a horn or a fault there does not belong in."
    return "Look at the most unusual pieces below: what is not healthy running there does not belong in."


def calibration_words(data: ReportData) -> list[str]:
    """What the threshold rests on and how far to trust it, a paragraph each."""
    calibration = data.calibration
    if calibration is None:
        return ["There is no threshold: not enough was held out to choose it on."]
    counted = calibration.hours * 3600
    paragraphs = [
        f"The threshold is {calibration.threshold:.4g}. An alarm needs a smoothed score above it. It is meant for at "
        f"most {count(calibration.false_alarms_per_day, 'false alarm')} per day of running, and rests on "
        f"{duration(counted)} of held-out healthy running."
    ]
    if data.held_out_seconds:
        paragraphs.append(
            f"The held-out recordings are {duration(data.held_out_seconds)} long. They hold {calibration.windows} "
            f"windows, and each counts for the {data.window_hop_seconds:.3g} s from one to the next, but for the "
            f"first few of each stretch, before an alarm can rise: {duration(counted)} of running in which one could "
            f"have risen. Of every stretch, the first {data.window_seconds:.3g} s pass before there is a score."
        )
    return [*paragraphs, _trust_words(calibration)]


def _trust_words(calibration: Calibration) -> str:
    bound = (
        f"The held-out data alone prove no more than a rate of at most {rate(calibration.episodes_per_day_upper)} "
        f"({calibration.confidence:.0%} confidence)."
    )
    if not calibration.extrapolates:
        return "That is enough to count false alarms, so the threshold was counted, not estimated. " + bound
    return (
        "That is too little to observe such a rate, so the threshold extrapolates from the highest held-out "
        "scores: the true rate may differ several-fold. About "
        f"{long_duration(3600 * hours_to_count(calibration))} of healthy running without an alarm would be needed to "
        "count it. " + bound
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
    noun = data.residual_noun
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


def rival_words(data: ReportData) -> str:
    """How the model does against the cheap baselines, and why nothing is said where nothing is."""
    if not data.inspection.rivals or data.evaluation is None or data.evaluation.overall.separation is None:
        return f"No comparison with cheap baselines: {data.inspection.rivals_missing or 'nothing was labelled'}."
    words = comparison_words(data.evaluation.overall.separation.auc, data.inspection.rivals)
    return f"{words[:1].upper()}{words[1:]}."


def training_words(data: ReportData) -> str:
    """How the training went by the held-out score, and where early stopping would have ended it."""
    general = "Both terms should fall and level off."
    stop = early_stop(data.epochs)
    if stop is None:
        return f"{general} Nothing was held out, so nothing shows whether fewer epochs would have done."
    text = (
        f"{general} The held-out score was lowest after epoch {stop.best_epoch} ({stop.best_score:.4g}; after the "
        f"last, epoch {data.epochs[-1].epoch}: {stop.last_score:.4g})."
    )
    if stop.stop_epoch is None:
        return f"{text} Early stopping with a patience of {count(PATIENCE, 'epoch')} would not have ended it."
    return (
        f"{text} Early stopping with a patience of {count(PATIENCE, 'epoch')} would have ended the training after "
        f"epoch {stop.stop_epoch}. From the lowest point on, the model learned its training recordings by heart."
    )
