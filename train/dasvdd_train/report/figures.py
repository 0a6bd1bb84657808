"""The report's figures as inline SVG. The same input gives the same text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from ..metrics import EpochMetrics, early_stop
from .drawing import NARROW, ROLE_COLORS, ROLE_LABELS, WIDE, as_svg, canvas, legend, logarithmic, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TIMELINE_POINTS = 3000
"""Most points drawn of all recordings together; less is lost than a screen can show."""
MOST_BARS = 16
"""More bands or channels than this are drawn as an outline."""
LOG_RATIO = 8.0
"""Values whose largest is this many times the lowest median of a role go on a logarithmic axis."""


def loss_figure(epochs: Sequence[EpochMetrics]) -> str:
    """Both loss terms and the held-out score by epoch."""
    curves = {
        "reconstruction error": ([m.reconstruction_error for m in epochs], "#0072b2", "-"),
        "gamma × center distance": ([m.gamma * m.center_distance for m in epochs], "#c44e00", "-"),
        "held-out score": (
            [m.holdout_score if m.holdout_score is not None else np.nan for m in epochs],
            "#444444",
            "--",
        ),
    }
    with canvas(NARROW) as (figure, axes):
        for label, (values, color, style) in curves.items():
            if np.isfinite(values).any():
                marker = "o" if len(epochs) == 1 else ""
                axes.plot([m.epoch for m in epochs], values, style, color=color, marker=marker, label=label)
        stop = early_stop(epochs)
        if stop is not None and len(epochs) > 1:
            axes.axvline(stop.best_epoch, color="#444444", linewidth=1, linestyle=":", label="lowest held-out score")
            if stop.stop_epoch is not None:
                axes.axvline(stop.stop_epoch, color="#a61b1b", linewidth=1, label="early stopping")
        axes.set_xlim(min(0, epochs[0].epoch - 1), epochs[-1].epoch + 1)
        axes.set_xlabel("epoch")
        axes.set_ylabel("mean per feature vector")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        logarithmic(axes, "y")
        legend(figure, columns=2)
        last = epochs[-1]
        return as_svg(
            figure,
            "loss",
            f"Loss terms by epoch: reconstruction error from {epochs[0].reconstruction_error:.3g} to "
            f"{last.reconstruction_error:.3g}, gamma times center distance from "
            f"{epochs[0].gamma * epochs[0].center_distance:.3g} to {last.gamma * last.center_distance:.3g}",
        )


def histogram_figure(smoothed: Mapping[str, NDArray[np.float64]], threshold: float | None) -> str:
    """Share of windows by smoothed score, one outline per role. `smoothed` maps a role to its scores [windows]."""
    scores = np.concatenate(list(smoothed.values()))
    log = _wants_log(smoothed.values())
    ends = [*scores[scores > 0].tolist(), *([threshold] if threshold else [])] if log else [*scores, threshold or 0.0]
    low, high = float(np.min(ends)), float(np.max(ends)) * 1.001 + 1e-9
    edges = np.geomspace(low, high, 51) if log else np.linspace(low, high, 51)
    with canvas(NARROW) as (figure, axes):
        for role, values in smoothed.items():
            shares = np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0] / len(values)
            axes.stairs(shares, edges, color=ROLE_COLORS[role], label=ROLE_LABELS[role], fill=True, alpha=0.25)
            axes.stairs(shares, edges, color=ROLE_COLORS[role], linewidth=1.5)
        if threshold is not None:
            axes.axvline(threshold, color="black", linestyle="--", label="threshold")
        if log:
            logarithmic(axes, "x")
        axes.set_xlabel("smoothed score")
        axes.set_ylabel("share of windows")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0%}"))
        legend(figure, columns=2)
        return as_svg(
            figure,
            "histogram",
            "Histogram of smoothed scores, medians: "
            + ", ".join(f"{ROLE_LABELS[role]} {np.median(values):.3g}" for role, values in smoothed.items()),
        )


def timeline_figure(
    recordings: Sequence[tuple[str, NDArray[np.float64]]], *, window_hop_seconds: float, threshold: float | None
) -> str:
    """Smoothed score over time, the recordings laid end to end. Each is its role and its scores [windows]."""
    unit, seconds_per_unit = _time_unit(sum(len(series) for _, series in recordings) * window_hop_seconds)
    budget = max(2, TIMELINE_POINTS // max(1, len(recordings)))
    curves: dict[str, list[NDArray[np.float64]]] = {}
    starts, start = [], 0
    for role, series in recordings:
        index, values = _envelope(series, budget)
        at = (start + index) * window_hop_seconds / seconds_per_unit
        curves.setdefault(role, []).extend([np.stack([at, values]), np.full((2, 1), np.nan)])
        starts.append(start * window_hop_seconds / seconds_per_unit)
        start += len(series)
    with canvas(WIDE) as (figure, axes):
        for role, pieces in curves.items():
            line = np.concatenate(pieces, axis=1)
            axes.plot(*line, color=ROLE_COLORS[role], linewidth=1.0, label=ROLE_LABELS[role])
        if threshold is not None:
            axes.axhline(threshold, color="black", linestyle="--", label="threshold")
        if _wants_log(_by_role(recordings).values()):
            logarithmic(axes, "y")
        _mark_recordings(axes, starts, start * window_hop_seconds / seconds_per_unit)
        axes.set_xlabel(f"running time, recordings end to end ({unit})")
        axes.set_ylabel("smoothed score")
        legend(figure, columns=4)
        highest = max((float(values.max()) for _, values in recordings if len(values)), default=0.0)
        return as_svg(
            figure,
            "timeline",
            f"Smoothed score over {len(recordings)} recordings, highest {highest:.3g}"
            + (f", threshold {threshold:.3g}" if threshold is not None else ""),
        )


def roc_figure(fpr: Sequence[float], tpr: Sequence[float], *, auc: float) -> str:
    """The ROC curve of raw window scores, beside that of guessing."""
    with canvas(NARROW) as (figure, axes):
        axes.plot([0, 1], [0, 1], color="#767676", linestyle=":", label="guessing")
        axes.plot(fpr, tpr, color="#0072b2", linewidth=2, label="this model")
        axes.axvspan(0, 0.1, color="#0072b2", alpha=0.08, linewidth=0, label="part in the partial AUC")
        axes.set_xlabel("healthy windows taken for faulty")
        axes.set_ylabel("faulty windows found")
        axes.set_xlim(-0.01, 1.01)
        axes.set_ylim(-0.01, 1.01)
        legend(figure, columns=3)
        return as_svg(figure, "roc", f"ROC curve with an area of {auc:.3f}")


def residual_figure(names: Sequence[str], by_role: Mapping[str, Sequence[float]], *, noun: str) -> str:
    """Mean residual per role and `noun`: band, channel or sample. `by_role` maps a role to a value per name."""
    edges = np.arange(len(names) + 1) - 0.5
    with canvas(NARROW) as (figure, axes):
        for place, (role, residual) in enumerate(by_role.items()):
            color, label = ROLE_COLORS[role], ROLE_LABELS[role]
            if len(names) <= MOST_BARS:
                width = 0.8 / len(by_role)
                left = np.arange(len(names)) - 0.4 + place * width
                axes.bar(left, residual, width, align="edge", color=color, label=label)
            else:
                axes.stairs(residual, edges, color=color, linewidth=1.5, label=label, baseline=None)
        positive = [value for residual in by_role.values() for value in residual if value > 0]
        if positive and _wants_log(np.array(values) for values in by_role.values()):
            logarithmic(axes, "y", nonpositive="clip")
        else:
            axes.set_ylim(bottom=0)
        shown = np.unique(np.linspace(0, len(names) - 1, min(len(names), 8)).round().astype(int))
        axes.set_xticks(shown, [shortened(names[i]) for i in shown], rotation=30, ha="right", rotation_mode="anchor")
        axes.set_xlabel(noun)
        axes.set_ylabel("mean residual")
        legend(figure, columns=3)
        return as_svg(figure, "residual", f"Mean residual by {noun}")


def _wants_log(groups: Iterable[NDArray[np.float64]]) -> bool:
    """Whether the largest value would flatten the usual ones of some group, however few those are."""
    groups = [group for group in groups if len(group)]
    medians = [float(np.median(group)) for group in groups]
    if not medians or min(medians) <= 0:
        return False
    return max(float(group.max()) for group in groups) > LOG_RATIO * min(medians)


def _by_role(recordings: Sequence[tuple[str, NDArray[np.float64]]]) -> dict[str, NDArray[np.float64]]:
    roles = dict.fromkeys(role for role, _ in recordings)
    return {role: np.concatenate([series for r, series in recordings if r == role]) for role in roles}


def _time_unit(seconds: float) -> tuple[str, float]:
    for unit, length in (("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= 2 * length:
            return unit, length
    return "seconds", 1.0


def _envelope(series: NDArray[np.float64], points: int) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """At most `points` (at least 2) indices and values of `series`: the smallest and largest of each stretch."""
    if len(series) <= points:
        return np.arange(len(series)), series
    kept = set()
    for stretch in np.array_split(np.arange(len(series)), points // 2):
        kept |= {int(stretch[series[stretch].argmin()]), int(stretch[series[stretch].argmax()])}
    index = np.array(sorted(kept))
    return index, series[index]


def _mark_recordings(axes: Axes, starts: Sequence[float], end: float) -> None:
    """Shade every other recording, and number those that have room for a number."""
    bounds = [*starts, end]
    last_labelled = -np.inf
    for number, (left, right) in enumerate(pairwise(bounds), start=1):
        if number % 2 == 0 and len(starts) <= 200:
            axes.axvspan(left, right, color="black", alpha=0.05, linewidth=0)
        middle = (left + right) / 2
        if len(starts) > 1 and middle - last_labelled > 0.04 * end:
            axes.annotate(str(number), (middle, 1), xycoords=("data", "axes fraction"), ha="center", fontsize=9)
            last_labelled = middle
    axes.set_xlim(0, end)
