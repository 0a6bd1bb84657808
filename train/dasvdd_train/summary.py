"""The figures of a run as lines of text for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from dasvdd_runtime.calibration import Calibration
from dasvdd_runtime.words import count, duration

from .evaluation import Evaluation, Figures
from .inspection import RivalResult


def calibration_line(calibration: Calibration) -> str:
    """The threshold and what it rests on."""
    basis = "extrapolated from" if calibration.extrapolates else "counted on"
    return (
        f"threshold {calibration.threshold:.6g} for {count(calibration.false_alarms_per_day, 'false alarm')} a day, "
        f"{basis} {duration(3600 * calibration.hours)} of held-out running"
    )


def evaluation_lines(evaluation: Evaluation, rivals: Sequence[RivalResult]) -> list[str]:
    """What the labelled recordings show: over all, per machine and condition, and against the cheap baselines."""
    overall = evaluation.overall
    lines = []
    if overall.separation is not None:
        lines.append(f"AUC {overall.separation.auc:.4f}, partial AUC {overall.separation.partial_auc:.4f} (up to 10 %)")
    for wrong in (_normal_words(overall), _anomalous_words(overall)):
        if wrong:
            lines.append(wrong)
    if overall.f1 is not None and overall.normal_windows:
        lines.append(f"F1 {overall.f1:.4f} at the threshold, over windows")
    if evaluation.groups:
        lines += _table(evaluation)
    if rivals and overall.separation is not None:
        lines.append(comparison_words(overall.separation.auc, rivals))
    return lines


def comparison_words(auc: float, rivals: Sequence[RivalResult]) -> str:
    """Who told the test recordings apart best: this model or the cheap baselines."""
    best = max(rivals, key=lambda rival: rival.separation.auc)
    others = ", ".join(f"{rival.name} {rival.separation.auc:.4f}" for rival in rivals)
    gap = auc - best.separation.auc
    if abs(gap) < 0.005:
        verdict = f"no difference worth a name between this model and {best.name}"
    elif gap > 0:
        verdict = "this model won"
    else:
        verdict = f"{best.name} won"
    return f"on the same features and windows: this model {auc:.4f}, {others} (AUC); {verdict}"


def _normal_words(figures: Figures) -> str:
    if not figures.normal_windows:
        return ""
    above = f", {figures.false_alarm_rate:.1%} above the threshold" if figures.false_alarm_rate is not None else ""
    alarms = f", {count(figures.false_alarms, 'alarm')}" if figures.false_alarm_rate is not None else ""
    return (
        f"healthy: {count(figures.normal_windows, 'window')} in {count(figures.normal_recordings, 'recording')}"
        f"{above}{alarms}"
    )


def _anomalous_words(figures: Figures) -> str:
    if not figures.anomalous_windows:
        return ""
    text = f"faulty: {count(figures.anomalous_windows, 'window')} in {count(figures.anomalous_recordings, 'recording')}"
    if figures.missed_alarm_rate is None:
        return text
    text += f", {figures.missed_alarm_rate:.1%} at or below the threshold, alarm in {figures.detected_recordings}"
    if figures.too_short_recordings:
        text += f" ({figures.too_short_recordings} are too short for one)"
    delay = figures.median_delay_seconds
    return text + (f", median {duration(delay)} after the recording's start" if delay is not None else "")


def _table(evaluation: Evaluation) -> list[str]:
    head = ("machine", "condition", "AUC", "partial AUC", "F1", "false", "missed", "alarms in", "delay")
    rows = [head, *(_row(group.machine, group.condition, group.figures) for group in evaluation.groups)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    return [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def _row(machine: str, condition: str, figures: Figures) -> tuple[str, ...]:
    separated = figures.separation
    faulty = figures.anomalous_recordings > 0
    alarms = (
        f"{figures.detected_recordings} of {figures.anomalous_recordings}"
        if faulty
        else f"{figures.false_alarms} false"
    )
    delay = figures.median_delay_seconds
    return (
        machine or "-",
        condition or "-",
        f"{separated.auc:.4f}" if separated else "-",
        f"{separated.partial_auc:.4f}" if separated else "-",
        f"{figures.f1:.4f}" if figures.f1 is not None and separated else "-",
        f"{figures.false_alarm_rate:.1%}" if figures.false_alarm_rate is not None else "-",
        f"{figures.missed_alarm_rate:.1%}" if figures.missed_alarm_rate is not None else "-",
        alarms,
        duration(delay) if delay is not None else "-",
    )
