"""The plots of a model card, as SVG without a library."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from .curves import LearningCurve, ScoreHistogram

WIDTH, HEIGHT, LABELS_BELOW, SPACE_LEFT = 720, 180, 24, 72
TOP = 22
"""Where the legend ends."""
MOST_LABELS = 9
LOGARITHMIC_FROM = 20.0
"""Ratio of the largest to the smallest value from which the axis of the losses is logarithmic."""
BLUE, ORANGE, BLACK, RED, GREY = "#2f6f9f", "#b35900", "#1b1f24", "#a61b1b", "#51585f"


def loss_plot(curve: LearningCurve) -> str:
    """Both terms of the loss and the held-out score over the epochs; empty where nothing of it can be drawn."""
    lines: list[tuple[str, str, str, Sequence[float | None]]] = [
        ("reconstruction error", BLUE, "", curve.reconstruction_error),
        ("gamma × center distance", ORANGE, "6 3", curve.weighted_center_distance),
        ("held-out score", BLACK, "2 3", curve.holdout_score),
    ]
    values = [value for *_, line in lines for value in line if value is not None and value > 0]
    if not values:
        return ""
    top, logarithmic = max(values), max(values) > LOGARITHMIC_FROM * min(values)
    bottom = min(values) if logarithmic else 0.0
    first, last = curve.epochs[0], max(curve.epochs[-1], curve.epochs[0] + 1)

    def place(epoch: int, value: float) -> str:
        share = math.log(value / bottom) / math.log(top / bottom) if logarithmic else value / top
        x = SPACE_LEFT + (WIDTH - SPACE_LEFT - 10) * (epoch - first) / (last - first)
        return f"{x:.1f},{HEIGHT - (HEIGHT - TOP - 6) * share:.1f}"

    parts = [_axes(top, bottom), _label(SPACE_LEFT, f"epoch {first}", "start")]
    parts.append(_label(WIDTH, str(last), "end"))
    if logarithmic:
        parts.append(_label((SPACE_LEFT + WIDTH) / 2, "logarithmic axis", "middle"))
    for number, (name, color, dashes, line) in enumerate(lines):
        points = [place(e, v) for e, v in zip(curve.epochs, line, strict=True) if v is not None and v > 0]
        style = f'stroke="{color}" stroke-width="2" stroke-dasharray="{dashes}" fill="none"'
        x = SPACE_LEFT + number * 220
        parts.append(f'<polyline points="{" ".join(points)}" {style}/><path d="M{x} 10h28" {style}/>')
        parts.append(f'<text x="{x + 34}" y="15">{name}</text>')
    return _svg("Loss and held-out score by epoch", parts)


def score_plot(histogram: ScoreHistogram, threshold: float) -> str:
    """Bars of how many windows scored how much, with the threshold."""
    left, right = min(histogram.lowest, threshold), max(histogram.highest, threshold)
    most = max(histogram.counts)
    width = (histogram.highest - histogram.lowest) / len(histogram.counts)

    def across(score: float) -> float:
        return SPACE_LEFT + (WIDTH - SPACE_LEFT - 10) * (score - left) / (right - left)

    parts = [_axes(most, 0), _label(SPACE_LEFT, f"score {left:.4g}", "start"), _label(WIDTH, f"{right:.4g}", "end")]
    for number, count in enumerate(histogram.counts):
        score, height = histogram.lowest + number * width, (HEIGHT - TOP - 6) * count / most
        x, bar = across(score), max(1.0, across(score + width) - across(score) - 0.5)
        title = f"{count} windows from {score:.4g} to {score + width:.4g}"
        parts.append(_bar(x, height, bar, title))
    x = across(threshold)
    anchor, beside = ("end", x - 6) if x > WIDTH / 2 else ("start", x + 6)
    parts.append(f'<path d="M{x:.1f} {TOP - 8}V{HEIGHT}" stroke="{RED}" stroke-width="2" stroke-dasharray="6 3"/>')
    parts.append(f'<text x="{beside:.1f}" y="15" text-anchor="{anchor}" fill="{RED}">threshold {threshold:.4g}</text>')
    return _svg("Scores of held-out windows", parts)


def residual_plot(names: Sequence[str], values: Sequence[float]) -> str:
    """Bars of the usual residual; empty where there is none."""
    top = max(values, default=0.0)
    if not top > 0:
        return ""
    step = (WIDTH - SPACE_LEFT) / len(values)
    every = -(-len(names) // MOST_LABELS)
    parts = [_axes(top, 0)]
    for place, (name, value) in enumerate(zip(names, values, strict=True)):
        x, height = SPACE_LEFT + place * step, (HEIGHT - TOP - 6) * max(0.0, value / top)
        parts.append(_bar(x, height, max(0.5, step * 0.85), f"{name}: {value:.4g}"))
        if place % every == 0:
            parts.append(_label(x + step * 0.425, name[:18], "middle"))
    return _svg("Usual residual", parts)


def _axes(top: float, bottom: float) -> str:
    return (
        f'<line x1="{SPACE_LEFT}" x2="{WIDTH}" y1="{HEIGHT}" y2="{HEIGHT}" stroke="{GREY}"/>'
        f'<text x="{SPACE_LEFT - 6}" y="{TOP + 10}" text-anchor="end">{_short(top)}</text>'
        f'<text x="{SPACE_LEFT - 6}" y="{HEIGHT}" text-anchor="end">{_short(bottom)}</text>'
    )


def _short(value: float) -> str:
    return f"{value:.4g}" if 1e-3 < value < 1e4 or value == 0 else f"{value:.2g}"


def _label(x: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{HEIGHT + 18}" text-anchor="{anchor}">{escape(text)}</text>'


def _bar(x: float, height: float, width: float, title: str) -> str:
    return (
        f'<rect x="{x:.1f}" y="{HEIGHT - height:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{BLUE}">'
        f"<title>{escape(title)}</title></rect>"
    )


def _svg(label: str, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH + 24} {HEIGHT + LABELS_BELOW}" role="img" aria-label="{label}" font-size="13" '
        f'fill="{BLACK}">{"".join(parts)}</svg>'
    )
