"""A model card: one HTML page without scripts, links or anything from outside, for the file of a machine."""

from __future__ import annotations

from html import escape

from ..contract import ModelMetadata
from ..words import count, duration, rate
from .card_plots import loss_plot, residual_plot, score_plot
from .inspection import Inspection, facts

STYLE = """
:root { --ink: #1b1f24; --soft: #51585f; --line: #d5dadf; --bar: #2f6f9f; --bad: #a61b1b; }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 60rem; color: var(--ink); background: #fff;
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: .25rem 0 1rem; }
h1 span { color: var(--soft); font-weight: normal; }
h2 { font-size: 1.2rem; margin: 2rem 0 .5rem; }
ul { padding-left: 1.2rem; } li { margin: .25rem 0; }
dl { display: grid; grid-template-columns: 10rem 1fr; margin: 0; font-size: .925rem; }
dt, dd { margin: 0; padding: .3rem 0; border-bottom: 1px solid var(--line); }
dt { color: var(--soft); padding-right: 1rem; }
.bad { border-left: .4rem solid var(--bad); padding: .6rem 1rem; background: #f6f8fa; color: var(--bad); }
figure { margin: 0; } figcaption { color: var(--soft); font-size: .925rem; }
svg { width: 100%; height: auto; display: block; }
@media (max-width: 40rem) { dl { display: block; } dt { border: 0; padding-bottom: 0; } dd { padding-top: 0; }
  .scroll { overflow-x: auto; } svg { width: 40rem; } }
@media print { body { max-width: none; padding: 0; font-size: 10pt; } figure { break-inside: avoid; } }
"""
POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def model_card(found: Inspection) -> str:
    """The page."""
    metadata = found.metadata
    name = escape(metadata.name)
    fault = f'<p class="bad">{escape(found.golden_fault)}</p>' if found.golden_fault else ""
    uses = "".join(f"<p>{escape(text)}</p>" for text in intended_use(metadata))
    limits = "".join(f"<li>{escape(text)}</li>" for text in limits_of_use(metadata))
    tables = "".join(
        f"<h2>{heading}</h2><dl>"
        + "".join(f"<dt>{escape(label)}</dt><dd>{escape(value)}</dd>" for label, value in rows)
        + "</dl>"
        for heading, rows in facts(found).items()
    )
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light"><meta http-equiv="Content-Security-Policy" content="{POLICY}">
<title>{name} – model card</title><style>{STYLE}</style></head>
<body><main><h1>{name} <span>– model card</span></h1>{fault}
<h2>Intended use</h2>{uses}
<h2>Limits of use</h2><ul>{limits}</ul>
{tables}
{_plots(metadata)}
</main></body></html>
"""


def _plots(metadata: ModelMetadata) -> str:
    """Training, held-out scores and usual residual; what the file does not hold is said."""
    learning, scores = metadata.learning, metadata.held_out_scores
    what = "band" if metadata.kind == "audio" else "part of the input"
    figures = [
        (
            "Training",
            loss_plot(learning) if learning else "",
            "Mean over each epoch of both terms of the loss, and the score of held-out running, which should fall with "
            "them; where it rises again, the networks learn the recordings by heart.",
        ),
        (
            "Held-out scores",
            score_plot(scores, metadata.calibration.threshold) if scores else "",
            "How often windows of held-out normal running scored how much, before smoothing. The threshold is for the "
            "smoothed score. The file keeps no scores of faults.",
        ),
        (
            "What is usual",
            residual_plot(metadata.residual_names, metadata.residual_baseline),
            f"Mean reconstruction error of each {what} in normal running. An alarm names those that rise above this.",
        ),
    ]
    return "".join(
        f"<h2>{heading}</h2>"
        + (
            f'<figure><div class="scroll">{plot}</div><figcaption>{caption}</figcaption></figure>'
            if plot
            else "<p>The file says nothing of it; see the report.html of its training.</p>"
        )
        for heading, plot, caption in figures
    )


def intended_use(metadata: ModelMetadata) -> list[str]:
    """What the model is for."""
    what = "sound" if metadata.kind == "audio" else "sensor signal"
    return [
        f"To call a person when the {what} of the machine that '{metadata.name}' was trained on differs from its "
        f"healthy running. It learned {duration(metadata.training.seconds)} of that, from "
        f"{count(metadata.training.recordings, 'recording')}. An alarm is a reason to look, with the bands that carry "
        "it; it is no diagnosis.",
        f"False alarms it is set for: {rate(metadata.calibration.false_alarms_per_day)} of running, after the whole "
        "decision chain.",
    ]


def limits_of_use(metadata: ModelMetadata) -> list[str]:
    """What it must not be relied on for, from what the file says of itself."""
    calibration = metadata.calibration
    hours = duration(3600 * calibration.hours)
    how_sure = (
        f"The false-alarm rate rests on {hours} of held-out running and extrapolates from it: it was not observed. "
        "Calibrate on site (dasvdd-monitor calibrate) before you rely on it."
        if calibration.extrapolates
        else f"The false-alarm rate was counted on {hours} of held-out running and holds for running like that."
    )
    return [
        "It is no safety device, and it does not replace inspection. Some faults make no sound that differs.",
        how_sure,
        "It says nothing about how surely faults are found: this file holds no recordings of faults. See the "
        "report.html of its training.",
        f"It knows one machine, one place and one sensor, at {metadata.sample_rate_hz:g} Hz. Another mounting, gain, "
        "room or way of running can alarm, or hide a fault: dasvdd-monitor check compares level and spectrum.",
        f"What it judges is a window of {metadata.window_seconds:g} s. A shorter event counts only as far as it "
        "changes the window.",
        f"The file holds {_pieces(metadata)}, "
        "which devices score again before they trust it. Who has the file can read them out"
        + (" and hear them." if metadata.kind == "audio" else "."),
    ]


def _pieces(metadata: ModelMetadata) -> str:
    """How many pieces of how many seconds the golden windows or sequences are."""
    pieces, samples = metadata.golden.shape[0], metadata.window_samples
    if metadata.stream is not None:
        pieces, samples = metadata.stream.golden.shape[:2]
    return f"{count(pieces, 'piece')} of the recordings, {samples / metadata.sample_rate_hz:g} s each"
