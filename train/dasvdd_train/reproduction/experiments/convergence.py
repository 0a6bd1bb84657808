"""Figs. 3 and 4: loss terms, center and biases over the iterations."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from .. import paper
from ..cells import Cell
from ..plots import GREY, OURS, PAPER, figure, write_png
from ..runner import Library
from ..settings import ENTRIES
from ..tables import Row, markdown_table, shown, write_csv, write_markdown
from .common import Context, Experiment, Plan, cells_of, splits_of

SETTLED_SHARE = 0.05
"""The center has settled once it is for good within this share of its whole way from its end."""
CSV_ROWS = 2000
"""At most about this many iterations go into the CSV."""

LINES = 40
"""At most so many biases and components are drawn."""

Arrays = dict[str, NDArray[Any]]


def cells(plan: Plan, library: Library) -> list[Cell]:
    """One observed run a class and seed."""
    return [
        dataclasses.replace(cell, observed=True)
        for dataset, class_name in splits_of(plan, library)
        for cell in cells_of(plan, library, dataset, class_name)
    ]


def report(context: Context, out: Path) -> list[Path]:
    """convergence.md, and a CSV and a PNG for each run."""
    wanted = cells(context.plan, context.library)
    files: list[Path] = []
    lines: list[Row] = []
    for cell in wanted:
        result = context.results.get(cell)
        if result is None:
            continue
        arrays = context.results.arrays(cell)
        stem = f"convergence_{cell.dataset}_{cell.class_name.replace('/', '_')}_seed{cell.seed}"
        files += [_csv(out / f"{stem}.csv", arrays), _plot(out / f"{stem}.png", cell, arrays)]
        reconstruction, svdd = arrays["reconstruction_loss"], arrays["svdd_loss"]
        theirs = paper.TABLE_2[cell.dataset, cell.class_name]["DASVDD"]
        lines.append(
            (
                *(ENTRIES[cell.dataset].title, cell.class_name, cell.seed, len(svdd)),
                *(f"{result.auc:.1f}", shown(theirs.mean, theirs.deviation), f"{result.auc - theirs.mean:+.1f}"),
                f"{svdd[0] / (svdd[0] + reconstruction[0]):.2f}",
                f"{svdd[-1] / (svdd[-1] + reconstruction[-1]):.2f}",
                settled_at(arrays),
                f"{np.abs(arrays['encoder_biases'][-1]).mean():.3g}",
            )
        )
    for dataset in context.plan.datasets:
        if dataset in context.library.missing:
            lines.append((ENTRIES[dataset].title, "not run", *[None] * 9))
    header = (
        *("data set", "class", "seed", "iterations", "AUC", "paper, table 2", "difference"),
        *("SVDD share of the loss, first", "last", "center settled after", "mean size of the encoder's biases"),
    )
    table = markdown_table(header, lines)
    says = (
        "The paper: the loss is nearly all SVDD in the first few iterations and nearly all reconstruction thereafter; "
        "the center converges after almost 150 iterations; biases are not zero, and nothing collapses."
    )
    page = write_markdown(
        out / "convergence.md", "Figs. 3 and 4: convergence", [*context.preamble(wanted), table, says]
    )
    return [page, *files]


def settled_at(arrays: Arrays) -> int:
    """The first iteration from which the center stays within 5 % of its whole way from where it ends."""
    away = np.linalg.norm(arrays["center"] - arrays["center"][-1], axis=1)
    outside = np.flatnonzero(away > SETTLED_SHARE * max(away[0], 1e-12))
    numbers = arrays["snapshot_iteration"]
    return int(numbers[min(outside[-1] + 1, len(numbers) - 1)]) if len(outside) else int(numbers[0])


def _csv(path: Path, arrays: Arrays) -> Path:
    reconstruction, svdd = arrays["reconstruction_loss"], arrays["svdd_loss"]
    snapshot = {int(number): at for at, number in enumerate(arrays["snapshot_iteration"])}
    spacing = max(1, len(svdd) // CSV_ROWS)
    rows: list[Row] = []
    for number in range(0, len(svdd), spacing):
        at = snapshot.get(number)
        norms: tuple[float | None, ...] = (None, None)
        if at is not None:
            norms = tuple(float(np.linalg.norm(arrays[name][at])) for name in ("center", "encoder_biases"))
        total = float(reconstruction[number] + svdd[number])
        rows.append((number, total, float(reconstruction[number]), float(svdd[number]), *norms))
    header = ("iteration", "total_loss", "reconstruction_loss", "svdd_loss", "center_norm", "encoder_bias_norm")
    return write_csv(path, header, rows)


def _plot(path: Path, cell: Cell, arrays: Arrays) -> Path:
    reconstruction, svdd, at = arrays["reconstruction_loss"], arrays["svdd_loss"], arrays["snapshot_iteration"]
    drawing = figure(width=10, height=7)
    (losses, biases), (centers, last) = drawing.subplots(2, 2)
    numbers = np.arange(1, len(svdd) + 1)
    losses.plot(numbers, reconstruction + svdd, color=GREY, linewidth=2.5, label="total")
    losses.plot(numbers, reconstruction, color=OURS, label="reconstruction")
    losses.plot(numbers, svdd, color=PAPER, label="SVDD, times gamma")
    losses.set(xscale="log", yscale="log", xlabel="iteration", ylabel="loss", title=f"{cell}: loss terms (fig. 4)")
    losses.legend()
    title = _lines(biases, at + 1, arrays["encoder_biases"])
    biases.set(xscale="log", xlabel="iteration", ylabel="bias", title=f"{title} encoder biases")
    title = _lines(centers, at + 1, arrays["center"])
    centers.set(xscale="log", xlabel="iteration", ylabel="component", title=f"{title} components of c (fig. 3 b)")
    values = arrays["encoder_biases"][-1]
    side = int(np.ceil(np.sqrt(len(values))))
    square = np.full(side * side, np.nan)
    square[: len(values)] = values
    image = last.imshow(square.reshape(side, side), cmap="RdBu", vmin=-abs(values).max(), vmax=abs(values).max())
    last.set(title="all encoder biases at the end (fig. 3 a)", xticks=[], yticks=[])
    drawing.colorbar(image, ax=last)
    return write_png(path, drawing)


def _lines(axes: Axes, x: NDArray[Any], series: NDArray[Any]) -> str:
    """Plot the columns of `series` [x, columns], evenly spaced ones of many; how many, in words for a title."""
    count = series.shape[1]
    chosen = np.linspace(0, count - 1, min(count, LINES)).astype(int)
    axes.plot(x, series[:, chosen], linewidth=0.6 if count > LINES else 1.0)
    return f"{LINES} of {count}" if count > LINES else f"all {count}"


CONVERGENCE = Experiment(
    name="convergence",
    datasets=("mnist", "fmnist", "cifar10"),
    classes=("8",),
    seeds=1,
    cells=cells,
    report=report,
)
