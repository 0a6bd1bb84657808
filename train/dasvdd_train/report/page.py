"""`ReportData` -> one self-contained HTML page: words first, then figures, then tables."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from dasvdd_runtime.words import duration
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ..evaluation import smoothed_scores
from . import figures
from .data import ReportData
from .findings import RecordingFinding, calibration_words, decision_words, recording_findings, residual_words, verdict

TEMPLATE = "page.html.jinja"
MOST_RECORDINGS = 50
"""Longest table of recordings; the ones with the highest peaks are shown."""


@dataclass(frozen=True)
class Panel:
    """A figure with what to look for in it."""

    title: str
    caption: str
    svg: Markup
    wide: bool = False


def render(data: ReportData) -> str:
    """The page as HTML text."""
    recordings = recording_findings(data)
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters |= {"clock": _clock, "value": _value}
    ranked = sorted(recordings, key=_rank)
    return environment.get_template(TEMPLATE).render(
        data=data,
        verdict=verdict(data, recordings),
        key_figures=_key_figures(data, recordings),
        panels=_panels(data),
        calibration=calibration_words(data.calibration),
        decision=decision_words(data.decision, window_hop_seconds=data.window_hop_seconds),
        recordings=ranked[:MOST_RECORDINGS],
        recordings_left_out=max(0, len(ranked) - MOST_RECORDINGS),
        role_labels=figures.ROLE_LABELS,
    )


def _rank(finding: RecordingFinding) -> tuple[float, int]:
    peak = finding.peak_of_threshold
    return (math.inf if math.isnan(peak) else -peak, finding.number)


def _key_figures(data: ReportData, recordings: list[RecordingFinding]) -> list[tuple[str, str, str]]:
    """(label, value, explanation) of the few numbers to look at first."""
    shown = [("Healthy data trained on", duration(data.training.seconds), f"in {data.training.recordings} recordings")]
    if data.calibration is not None:
        c = data.calibration
        how = "extrapolated" if c.extrapolates else "counted"
        shown.append(("Threshold", f"{c.threshold:.4g}", f"{how} from {duration(c.hours * 3600)} held-out running"))
        shown.append(("False alarms aimed at", f"{c.false_alarms_per_day:g} / day", "after smoothing and k-of-n"))
    if data.evaluation is not None:
        e = data.evaluation
        shown.append(("AUC", f"{e.auc:.3f}", f"partial (up to 10 % false positives): {e.partial_auc:.3f}"))
        if data.calibration is not None:
            false, missed = f"{e.false_alarm_rate:.1%}", f"{e.missed_alarm_rate:.1%}"
            shown.append(("False alarms", false, f"of {e.normal_windows} healthy test windows above the threshold"))
            shown.append(("Missed", missed, f"of {e.anomalous_windows} faulty test windows not above it"))
    elif data.calibration is not None:
        held_out = [r for r in recordings if r.stream.role == "holdout"]
        alarms = sum(r.alarms for r in held_out)
        shown.append(("Alarms in held-out data", str(alarms), f"healthy stretches looked at: {len(held_out)}"))
    return shown


def _panels(data: ReportData) -> list[Panel]:
    threshold = data.calibration.threshold if data.calibration is not None else None
    hop = data.window_hop_seconds
    series = [
        (stream.role, smoothed_scores(stream.scores, decision=data.decision, window_hop_seconds=hop))
        for stream in data.streams
    ]
    by_role = {
        role: np.concatenate([values for r, values in series if r == role])
        for role in figures.ROLE_LABELS
        if any(r == role and len(values) for r, values in series)
    }
    panels = []
    if by_role:
        panels += [
            Panel(
                "Score over time",
                "An alarm needs the line to stay above the dashed threshold. A healthy line that climbs steadily means "
                "that the machine or the room changed while recording. Numbers along the top, where there are several "
                "recordings, are those of the table below.",
                Markup(figures.timeline_figure(series, window_hop_seconds=hop, threshold=threshold)),
                wide=True,
            ),
            Panel(
                "How scores are spread",
                "Healthy scores should lie left of the threshold, faulty ones to its right. Where they overlap no "
                "threshold serves both.",
                Markup(figures.histogram_figure(by_role, threshold)),
            ),
        ]
    if data.evaluation is not None:
        panels.append(
            Panel(
                "ROC curve",
                "Each point is a possible threshold. The nearer the curve to the upper left corner, the better.",
                Markup(figures.roc_figure(data.evaluation.fpr, data.evaluation.tpr)),
            )
        )
    residuals = {role: data.residual_by_role[role] for role in figures.ROLE_LABELS if data.residual_by_role.get(role)}
    if residuals:
        panels.append(
            Panel(
                "Where the residual lies",
                residual_words(data),
                Markup(figures.residual_figure(data.residual_names, residuals, kind=data.kind)),
            )
        )
    if data.epochs:
        panels.append(
            Panel(
                "Training",
                "All lines should fall and level off. A held-out score that rises while the others fall means too "
                "little data for this many epochs.",
                Markup(figures.loss_figure(data.epochs)),
            )
        )
    return panels


def _clock(seconds: float | None) -> str:
    return "–" if seconds is None else duration(seconds)


def _value(value: Any) -> str:
    """A setting for people."""
    if value is None:
        return "automatic"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_value, value)) or "–"
    return str(value) or "–"
