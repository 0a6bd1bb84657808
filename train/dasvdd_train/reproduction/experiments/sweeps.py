"""Figs. 5 to 8: one setting is changed, everything else stays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..cells import Cell
from ..plots import GREY, OURS, figure, legend_beside, write_png
from ..runner import Library
from ..settings import ENTRIES
from ..tables import (
    Row,
    Summary,
    difference,
    markdown_table,
    shown,
    shown_or_none,
    summarise,
    write_csv,
    write_markdown,
)
from .common import Context, Experiment, Plan, cells_of, splits_of
from .table2 import class_means, paper_mean

AUTOMATIC = "auto"


@dataclass(frozen=True)
class Sweep:
    """What is changed, and what the paper says comes of it: its figures carry no numbers."""

    name: str
    title: str
    setting: str
    """A field of CellSettings."""
    values: tuple[float | None, ...]
    symbol: str
    paper_says: str
    logarithmic: bool
    normalised: bool = False
    """Figure over the mean of all values, as fig. 8 shows it."""


def cells(sweep: Sweep, plan: Plan, library: Library) -> list[Cell]:
    """Every value on every class."""
    return [cell for point in _points(sweep, plan, library) for cell in point[2]]


def _points(sweep: Sweep, plan: Plan, library: Library) -> list[tuple[str, float | None, list[Cell]]]:
    """(data set, value, its cells), class after class."""
    points: dict[tuple[str, float | None], list[Cell]] = {}
    for dataset, class_name in splits_of(plan, library):
        for value in sweep.values:
            change: dict[str, Any] = {sweep.setting: value}
            points.setdefault((dataset, value), []).extend(cells_of(plan, library, dataset, class_name, **change))
    return [(dataset, value, cells) for (dataset, value), cells in points.items()]


def report(sweep: Sweep, context: Context, out: Path) -> list[Path]:
    """<name>.csv, <name>.md, <name>.png, and for gamma the ROC curves."""
    points = _points(sweep, context.plan, context.library)
    means = {(dataset, value): _mean(context, mine) for dataset, value, mine in points}
    rows: list[Row] = []
    lines: list[Row] = []
    for dataset, value, mine in points:
        whole = means[dataset, value]
        gammas = [result.gamma for result in context.found(mine) if result.gamma is not None]
        gamma = summarise(gammas)
        relative = _relative(sweep, means, dataset, value)
        theirs = _paper_figure(sweep, dataset, value, mine)
        label = AUTOMATIC if value is None else f"{value:g}"
        rows.append(
            (
                *(dataset, label, whole.runs if whole else 0),
                *((whole.mean, whole.deviation) if whole else (None, None)),
                *((gamma.mean, gamma.deviation) if gamma else (None, None)),
                *(relative, theirs, whole.mean - theirs if whole and theirs is not None else None),
            )
        )
        lines.append(
            (
                *(_title(dataset, mine), label, whole.runs if whole else 0, shown_or_none(whole)),
                *(None if theirs is None else shown(theirs), difference(whole, theirs)),
                f"{gamma.mean:.4g}" if gamma else None,
                None if relative is None else f"{relative:.3f}",
            )
        )
    for dataset in context.plan.datasets:
        if dataset in context.library.missing:
            lines.append((ENTRIES[dataset].title, "not run", *[None] * 6))
    table = markdown_table(
        (
            *("data set", sweep.symbol, "runs", "AUC here", "paper", "difference"),
            *("gamma, mean", "over the mean of all values"),
        ),
        lines,
    )
    wanted = [cell for _, _, mine in points for cell in mine]
    says = f"The paper: {sweep.paper_says} Its figure carries no numbers; that of table 2 stands at its usual value."
    parts = [*context.preamble(wanted), table, says]
    header = (
        *("dataset", sweep.setting, "runs", "mean", "deviation", "gamma_mean", "gamma_deviation", "relative"),
        *("paper_mean", "difference"),
    )
    files = [
        write_csv(out / f"{sweep.name}.csv", header, rows),
        write_markdown(out / f"{sweep.name}.md", sweep.title, parts),
    ]
    if any(means.values()):
        titles = {dataset: _title(dataset, mine) for dataset, _, mine in points}
        files.append(_plot(sweep, out / f"{sweep.name}.png", means, titles))
        if sweep.setting == "gamma":
            files.append(_roc_curves(context, out / f"{sweep.name}_roc.png", points))
    return files


def _paper_figure(sweep: Sweep, dataset: str, value: float | None, mine: Sequence[Cell]) -> float | None:
    """Table 2's, at the value with which it was made."""
    if value != getattr(ENTRIES[dataset].settings, sweep.setting):
        return None
    return paper_mean(dataset, list(dict.fromkeys(cell.class_name for cell in mine)), "DASVDD")


def _title(dataset: str, mine: Sequence[Cell]) -> str:
    """The data set's title, with the normal classes where there is more than one to choose from."""
    names = dict.fromkeys(cell.class_name for cell in mine if cell.class_name != "all")
    title = ENTRIES[dataset].title
    return f"{title}, class {', '.join(names)}" if names else title


def _mean(context: Context, mine: Sequence[Cell]) -> Summary | None:
    names = dict.fromkeys(cell.class_name for cell in mine)
    return class_means([context.found([cell for cell in mine if cell.class_name == name]) for name in names])


Means = dict[tuple[str, float | None], Summary | None]


def _relative(sweep: Sweep, means: Means, dataset: str, value: float | None) -> float | None:
    all_of_it = [mean.mean for (name, _), mean in means.items() if name == dataset and mean]
    mean = means[dataset, value]
    return mean.mean / float(np.mean(all_of_it)) if mean else None


def _plot(sweep: Sweep, path: Path, means: Means, titles: dict[str, str]) -> Path:
    """A line a data set, of `titles`; the automatic value dashed, with its deviation as a band."""
    drawing = figure()
    axes = drawing.subplots()
    for dataset, title in titles.items():
        there = [(value, mean) for (name, value), mean in means.items() if name == dataset and mean]
        chosen = [(value, mean) for value, mean in there if value is not None]
        usual = float(np.mean([mean.mean for _, mean in there])) if sweep.normalised and there else 1.0
        heights = [mean.mean / usual for _, mean in chosen]
        errors = [(mean.deviation or 0) / usual for _, mean in chosen]
        line = axes.errorbar([v for v, _ in chosen], heights, errors, fmt="o-", capsize=3, label=title)
        automatic = dict(there).get(None)
        if automatic:
            color, deviation = line.lines[0].get_color(), automatic.deviation or 0
            axes.axhline(automatic.mean, linestyle="--", color=color, label=f"{title},\n{AUTOMATIC}")
            axes.axhspan(automatic.mean - deviation, automatic.mean + deviation, color=color, alpha=0.12, linewidth=0)
    axes.set(
        xlabel=sweep.symbol, ylabel="AUC / mean over all values" if sweep.normalised else "AUC, %", title=sweep.title
    )
    if sweep.logarithmic:
        axes.set_xscale("log")
    values = [value for value in sweep.values if value is not None]
    axes.set_xticks(values, [f"{value:g}" for value in values], fontsize=8)
    axes.minorticks_off()
    legend_beside(axes)
    axes.grid(alpha=0.3)
    return write_png(path, drawing)


def _roc_curves(context: Context, path: Path, points: list[tuple[str, float | None, list[Cell]]]) -> Path:
    """ROC of the first seed and class of each data set, the automatic gamma thick, as in fig. 5."""
    from matplotlib import colormaps
    from sklearn.metrics import roc_curve

    palette = colormaps["YlOrBr"]
    sweep_values = list(dict.fromkeys(value for _, value, _ in points))
    datasets = list(dict.fromkeys(dataset for dataset, _, _ in points))
    drawing = figure(width=5.5 * len(datasets), height=5)
    for axes, dataset in zip(drawing.subplots(1, len(datasets), squeeze=False)[0], datasets, strict=True):
        for name, value, mine in points:
            first = next((cell for cell in mine if context.results.get(cell)), None)
            if name != dataset or first is None:
                continue
            arrays, result = context.results.arrays(first), context.results.get(first)
            assert result is not None
            false_rate, true_rate, _ = roc_curve(arrays["label"], arrays["score"])
            label = f"auto ({result.gamma:.3g})" if value is None else f"{value:g}"
            # Light yellow would not be seen on white.
            shade = palette(1 - 0.6 * sweep_values.index(value) / max(1, len(sweep_values) - 1))
            style: dict[str, Any] = (
                {"linewidth": 3, "color": OURS} if value is None else {"linewidth": 1.2, "color": shade}
            )
            axes.plot(false_rate, true_rate, label=f"gamma {label}: AUC {result.auc:.1f}", **style)
            axes.set_title(f"{_title(dataset, [first])}, seed {first.seed}")
        axes.plot([0, 1], [0, 1], ":", color=GREY)
        axes.set(xlabel="false-positive rate", ylabel="true-positive rate", aspect="equal")
        axes.legend(loc="lower right")
    return write_png(path, drawing)


def _experiment(sweep: Sweep, *, datasets: tuple[str, ...], classes: tuple[str, ...] | None) -> Experiment:
    return Experiment(
        name=sweep.name,
        datasets=datasets,
        classes=classes,
        seeds=10,
        cells=partial(cells, sweep),
        report=partial(report, sweep),
    )


GAMMA = _experiment(
    Sweep(
        name="gamma",
        title="Fig. 5: gamma",
        setting="gamma",
        values=(1e-5, 1e-3, 1e-1, 10.0, 1e3, None),
        symbol="gamma",
        paper_says="from 0.001 to 10 the AUC hardly changes, at 1000 it falls significantly, and the automatic gamma "
        "is at least as good as any.",
        logarithmic=True,
    ),
    datasets=("cifar10",),
    classes=("8",),
)
TRIALS = _experiment(
    Sweep(
        name="trials",
        title="Fig. 6: T, initialisations for gamma",
        setting="gamma_initialisations",
        values=(1, 2, 5, 10, 15, 20),
        symbol="T",
        paper_says="the AUC rises with T, and much more slowly above about T = 10.",
        logarithmic=False,
    ),
    datasets=("cifar10",),
    classes=None,
)
KAPPA = _experiment(
    Sweep(
        name="kappa",
        title="Fig. 7: kappa",
        setting="kappa",
        values=(0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 1.0),
        symbol="kappa",
        paper_says="0.9 is best on MNIST; 1, which leaves the center where it was initialised, and small values are "
        "worse.",
        logarithmic=False,
    ),
    datasets=("mnist",),
    classes=None,
)
LATENT = _experiment(
    Sweep(
        name="latent",
        title="Fig. 8: latent size",
        setting="latent",
        values=(32, 64, 128, 256, 512, 1024, 2048),
        symbol="latent size",
        paper_says="the size hardly matters, even where the code is larger than the input. (Its text names MNIST, "
        "CIFAR-10 and Fashion-MNIST, the caption Speech instead of the last.)",
        logarithmic=True,
        normalised=True,
    ),
    datasets=("mnist", "cifar10", "fmnist", "speech"),
    classes=None,
)
