"""`ReportData` -> one self-contained HTML page: words first, then figures, then tables."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from dasvdd_runtime.words import count, duration
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ..inspection import Clip
from ..outcomes import Outcome, smoothed_scores
from . import figures
from .clip_views import clip_figure, mono, player_data
from .data import ReportData
from .drawing import ROLE_LABELS
from .findings import (
    alarm_words,
    calibration_words,
    decision_words,
    recording_outcomes,
    residual_words,
    rival_words,
    training_words,
    verdict,
)
from .latent_map import LABELS, latent_figure

TEMPLATE = "page.html.jinja"
MOST_RECORDINGS = 50
"""Longest table of recordings; the ones with the highest peaks are shown."""
MOST_NOTES = 30


@dataclass(frozen=True)
class Panel:
    """A figure with what to look for in it."""

    title: str
    caption: str
    svg: Markup
    wide: bool = False


@dataclass(frozen=True)
class ClipView:
    """One of the most unusual pieces, to look at and to listen to."""

    clip: Clip
    role: str
    svg: Markup
    audio: str
    """Data URI, or empty."""
    gain_db: float


def render(data: ReportData) -> str:
    """The page as HTML text."""
    recordings = recording_outcomes(data)
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters |= {"clock": _clock, "value": _setting, "percent": _percent, "three": _three, "path": _path}
    ranked = sorted(enumerate(recordings, start=1), key=_rank)
    return environment.get_template(TEMPLATE).render(
        data=data,
        verdict=verdict(data, recordings),
        serious=[doubt.text for doubt in data.warnings if doubt.serious],
        mild=[doubt.text for doubt in data.warnings if not doubt.serious],
        notes=data.notes[:MOST_NOTES],
        notes_left_out=max(0, len(data.notes) - MOST_NOTES),
        key_figures=_key_figures(data, recordings),
        panels=_panels(data),
        clips=[_clip_view(data, number, clip) for number, clip in enumerate(data.inspection.clips)],
        calibration=calibration_words(data),
        decision=decision_words(data.decision, window_hop_seconds=data.window_hop_seconds),
        rivals=rival_words(data),
        alarms=alarm_words(data, recordings),
        recordings=ranked[:MOST_RECORDINGS],
        recordings_left_out=max(0, len(ranked) - MOST_RECORDINGS),
        role_labels=ROLE_LABELS,
    )


def _rank(numbered: tuple[int, Outcome]) -> tuple[float, int]:
    number, outcome = numbered
    peak = outcome.peak_of_threshold
    return (math.inf if math.isnan(peak) else -peak, number)


def _key_figures(data: ReportData, recordings: list[Outcome]) -> list[tuple[str, str, str]]:
    """(label, value, explanation) of the few numbers to look at first."""
    trained_on = count(data.training.recordings, "recording")
    shown = [("Healthy data trained on", duration(data.training.seconds), f"in {trained_on}")]
    if data.calibration is not None:
        c = data.calibration
        how = "extrapolated" if c.extrapolates else "counted"
        shown.append(("Threshold", f"{c.threshold:.4g}", f"{how} from {duration(c.hours * 3600)} held-out running"))
        shown.append(("False alarms aimed at", f"{c.false_alarms_per_day:g} / day", "after smoothing and k-of-n"))
    overall = data.evaluation.overall if data.evaluation else None
    if overall is None:
        if data.calibration is not None:
            held_out = [r for r in recordings if r.stream.role == "holdout"]
            alarms = sum(r.alarms for r in held_out)
            shown.append(("Alarms in held-out data", str(alarms), f"healthy stretches looked at: {len(held_out)}"))
        return shown
    if overall.separation is not None:
        partial = f"partial AUC (up to 10 % false alarms): {overall.separation.partial_auc:.3f}"
        shown.append(("AUC", f"{overall.separation.auc:.3f}", partial))
    if overall.false_alarm_rate is not None:
        windows = count(overall.normal_windows, "healthy test window")
        shown.append(("False-alarm rate", _percent(overall.false_alarm_rate), f"of {windows} above the threshold"))
    if overall.missed_alarm_rate is not None:
        windows = count(overall.anomalous_windows, "faulty test window")
        shown.append(("Missed-alarm rate", _percent(overall.missed_alarm_rate), f"of {windows} not above it"))
    if overall.f1 is not None and overall.normal_windows:
        shown.append(("F1", f"{overall.f1:.3f}", "at the threshold, over windows"))
    if overall.missed_alarm_rate is not None:
        found = f"alarm in {overall.detected_recordings} of {count(overall.anomalous_recordings, 'faulty recording')}"
        shown.append(("Detection delay", _clock(overall.median_delay_seconds), f"median; {found}"))
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
        for role in ROLE_LABELS
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
    if data.evaluation is not None and data.evaluation.overall.separation is not None:
        auc = data.evaluation.overall.separation.auc
        panels.append(
            Panel(
                "ROC curve",
                "Each point is a possible threshold. The nearer the curve to the upper left corner, the better. "
                + rival_words(data),
                Markup(figures.roc_figure(data.evaluation.fpr, data.evaluation.tpr, auc=auc)),
            )
        )
    residuals = {role: data.residual_by_role[role] for role in ROLE_LABELS if data.residual_by_role.get(role)}
    if residuals:
        panels.append(
            Panel(
                "Where the residual lies",
                residual_words(data),
                Markup(figures.residual_figure(data.residual_names, residuals, noun=data.residual_noun)),
            )
        )
    if data.inspection.codes:
        svg, share = latent_figure(data.inspection.codes, data.center)
        panels.append(
            Panel(
                "Latent map",
                "Each dot is the code of one feature vector, seen in the two directions in which the codes vary most "
                f"({share:.0%} of their variance). Healthy codes lie around the center c; separate islands of training "
                "dots are separate ways of running, and held-out dots off the training dots were not learned.",
                Markup(svg),
            )
        )
    if data.epochs:
        panels.append(Panel("Training", training_words(data), Markup(figures.loss_figure(data.epochs))))
    return panels


def _clip_view(data: ReportData, number: int, clip: Clip) -> ClipView:
    svg = clip_figure(
        clip,
        number,
        kind=data.kind,
        sample_rate_hz=data.sample_rate_hz,
        window_seconds=data.window_seconds,
        channel=data.channel,
        channel_names=data.channel_names,
        units=data.units,
    )
    audio, gain_db = "", 0.0
    if data.kind == "audio" and data.with_audio:
        audio, gain_db = player_data(mono(clip.samples, data.channel), data.sample_rate_hz)
    return ClipView(clip, LABELS[clip.role], Markup(svg), audio, gain_db)


def _path(name: str) -> Markup:
    """A path that breaks after its slashes, so that a file keeps its ending."""
    return Markup("/<wbr>").join(name.split("/"))


def _clock(seconds: float | None) -> str:
    return "–" if seconds is None else duration(seconds)


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.1%}"


def _three(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _setting(value: Any, name: str) -> str:
    """The setting `name` for people: where it is open, it is chosen by the data, or what it asks for is off."""
    return "off" if value is None and name == "training.early_stopping_epochs" else _value(value)


def _value(value: Any) -> str:
    """A setting's value for people."""
    if value is None:
        return "automatic"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_value, value)) or "–"
    return str(value) or "–"
