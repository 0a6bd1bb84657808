"""The report's figures as inline SVG. The same input gives the same text."""

from __future__ import annotations

import io
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter
from numpy.typing import NDArray

from ..metrics import EpochMetrics

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SVG = "http://www.w3.org/2000/svg"
XLINK = "http://www.w3.org/1999/xlink"
ROLE_LABELS = {"holdout": "held-out healthy", "test_normal": "test, healthy", "test_anomalous": "test, faulty"}
ROLE_COLORS = {"holdout": "#0072b2", "test_normal": "#00785a", "test_anomalous": "#c44e00"}
"""Darkened Okabe-Ito colours: told apart with any colour vision, at least 4.5:1 on white."""
NARROW, WIDE = (5.2, 3.5), (10.4, 3.5)
"""Figure sizes in inches. A narrow one shown at a phone's width has its text at about 10 pixels."""
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "dasvdd",
    "font.size": 11,
    "font.family": ["sans-serif"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "legend.frameon": False,
    # A band called "$x^$" is a name, not a formula.
    "text.parse_math": False,
}
TIMELINE_POINTS = 3000
"""Most points drawn of all recordings together; less is lost than a screen can show."""
MOST_BARS = 16
"""More bands or channels than this are drawn as an outline."""
LOG_RATIO = 20.0
"""Scores whose largest is this many times the median go on a logarithmic axis."""


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
    with _figure(NARROW) as (figure, axes):
        for label, (values, color, style) in curves.items():
            if np.isfinite(values).any():
                marker = "o" if len(epochs) == 1 else ""
                axes.plot([m.epoch for m in epochs], values, style, color=color, marker=marker, label=label)
        axes.set_xlim(min(0, epochs[0].epoch - 1), epochs[-1].epoch + 1)
        axes.set_xlabel("epoch")
        axes.set_ylabel("mean per feature vector")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        _logarithmic(axes, "y")
        _legend(figure, columns=2)
        return _svg(figure, "loss", "Loss terms by epoch")


def histogram_figure(smoothed: Mapping[str, NDArray[np.float64]], threshold: float | None) -> str:
    """Share of windows by smoothed score, one outline per role. `smoothed` maps a role to its scores [windows]."""
    scores = np.concatenate(list(smoothed.values()))
    log = _wants_log(scores)
    ends = [*scores[scores > 0].tolist(), *([threshold] if threshold else [])] if log else [*scores, threshold or 0.0]
    low, high = float(np.min(ends)), float(np.max(ends)) * 1.001 + 1e-9
    edges = np.geomspace(low, high, 51) if log else np.linspace(low, high, 51)
    with _figure(NARROW) as (figure, axes):
        for role, values in smoothed.items():
            shares = np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0] / len(values)
            axes.stairs(shares, edges, color=ROLE_COLORS[role], label=ROLE_LABELS[role], fill=True, alpha=0.25)
            axes.stairs(shares, edges, color=ROLE_COLORS[role], linewidth=1.5)
        if threshold is not None:
            axes.axvline(threshold, color="black", linestyle="--", label="threshold")
        if log:
            _logarithmic(axes, "x")
        axes.set_xlabel("smoothed score")
        axes.set_ylabel("share of windows")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0%}"))
        _legend(figure, columns=2)
        return _svg(figure, "histogram", "Histogram of smoothed scores")


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
    with _figure(WIDE) as (figure, axes):
        for role, pieces in curves.items():
            line = np.concatenate(pieces, axis=1)
            axes.plot(*line, color=ROLE_COLORS[role], linewidth=1.0, label=ROLE_LABELS[role])
        if threshold is not None:
            axes.axhline(threshold, color="black", linestyle="--", label="threshold")
        if _wants_log(np.concatenate([series for _, series in recordings])):
            _logarithmic(axes, "y")
        _mark_recordings(axes, starts, start * window_hop_seconds / seconds_per_unit)
        axes.set_xlabel(f"running time, recordings end to end ({unit})")
        axes.set_ylabel("smoothed score")
        _legend(figure, columns=4)
        return _svg(figure, "timeline", "Smoothed score over time")


def roc_figure(fpr: Sequence[float], tpr: Sequence[float]) -> str:
    """The ROC curve of raw window scores, beside that of guessing."""
    with _figure(NARROW) as (figure, axes):
        axes.plot([0, 1], [0, 1], color="#767676", linestyle=":", label="guessing")
        axes.plot(fpr, tpr, color="#0072b2", linewidth=2, label="this model")
        axes.axvspan(0, 0.1, color="#0072b2", alpha=0.08, linewidth=0, label="part in the partial AUC")
        axes.set_xlabel("healthy windows taken for faulty")
        axes.set_ylabel("faulty windows found")
        axes.set_xlim(-0.01, 1.01)
        axes.set_ylim(-0.01, 1.01)
        _legend(figure, columns=3)
        return _svg(figure, "roc", "ROC curve")


def residual_figure(names: Sequence[str], by_role: Mapping[str, Sequence[float]], *, kind: str) -> str:
    """Mean residual per band or channel and role. `by_role` maps a role to a value per name."""
    edges = np.arange(len(names) + 1) - 0.5
    with _figure(NARROW) as (figure, axes):
        for place, (role, residual) in enumerate(by_role.items()):
            color, label = ROLE_COLORS[role], ROLE_LABELS[role]
            if len(names) <= MOST_BARS:
                width = 0.8 / len(by_role)
                left = np.arange(len(names)) - 0.4 + place * width
                axes.bar(left, residual, width, align="edge", color=color, label=label)
            else:
                axes.stairs(residual, edges, color=color, linewidth=1.5, label=label, baseline=None)
        positive = [value for residual in by_role.values() for value in residual if value > 0]
        if positive and _wants_log(np.array(positive)):
            _logarithmic(axes, "y", nonpositive="clip")
        else:
            axes.set_ylim(bottom=0)
        shown = np.unique(np.linspace(0, len(names) - 1, min(len(names), 8)).round().astype(int))
        axes.set_xticks(shown, [_short(names[i]) for i in shown], rotation=30, ha="right", rotation_mode="anchor")
        axes.set_xlabel("band" if kind == "audio" else "channel")
        axes.set_ylabel("mean residual")
        _legend(figure, columns=3)
        return _svg(figure, "residual", "Mean residual by band or channel")


@contextmanager
def _figure(inches: tuple[float, float]) -> Iterator[tuple[Figure, Axes]]:
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=inches, layout="constrained")
        yield figure, figure.add_subplot()


def _svg(figure: Figure, name: str, description: str) -> str:
    """The figure as an SVG element that scales with the page, its identifiers prefixed with `name`."""
    buffer = io.BytesIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(buffer, format="svg", metadata=nothing)
    root = ET.fromstring(buffer.getvalue())
    for metadata in root.findall(f"{{{SVG}}}metadata"):
        root.remove(metadata)
    for size in ("width", "height"):
        root.attrib.pop(size, None)
    for element in root.iter():
        for key, value in element.attrib.items():
            if key == "id":
                element.set(key, f"{name}-{value}")
            elif key in ("href", f"{{{XLINK}}}href"):
                element.set(key, value.replace("#", f"#{name}-"))
            elif "url(#" in value:
                element.set(key, value.replace("url(#", f"url(#{name}-"))
    root.set("role", "img")
    root.set("aria-label", description)
    ET.register_namespace("", SVG)
    ET.register_namespace("xlink", XLINK)
    return ET.tostring(root, encoding="unicode")


def _legend(figure: Figure, *, columns: int) -> None:
    figure.legend(loc="outside upper left", ncols=columns, fontsize=10, handlelength=1.6, columnspacing=1.2)


def _logarithmic(axes: Axes, which: Literal["x", "y"], *, nonpositive: Literal["mask", "clip"] = "mask") -> None:
    """A logarithmic axis with plain numbers. Bars, which start at 0, need 'clip'; lines break with 'mask'."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    (axes.set_xscale if which == "x" else axes.set_yscale)("log", nonpositive=nonpositive)
    plain = FuncFormatter(lambda value, _: f"{value:g}")
    axis.set_major_formatter(plain)
    low, high = sorted(axes.get_xlim() if which == "x" else axes.get_ylim())
    # Over two decades or fewer, powers of ten alone may leave one label or none.
    few = low > 0 and np.log10(high / low) < 2.2
    axis.set_minor_formatter(FuncFormatter(_leading_two_or_five) if few else NullFormatter())


def _leading_two_or_five(value: float, _: int) -> str:
    return f"{value:g}" if f"{value:e}"[0] in "25" else ""


def _wants_log(values: NDArray[np.float64]) -> bool:
    median = float(np.median(values))
    return median > 0 and float(values.max()) > LOG_RATIO * median


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


def _short(name: str, most: int = 14) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"
