"""Table 3: a trainable center against one that stays at the mean code of the untrained encoder."""

from __future__ import annotations

from pathlib import Path

from .. import paper
from ..cells import Cell
from ..plots import OURS, PAPER, figure, here_and_paper, write_png
from ..runner import Library
from ..settings import ENTRIES
from ..tables import Row, Summary, difference, markdown_table, shown, shown_or_none, write_csv, write_markdown
from .common import Context, Experiment, Plan, cells_of, splits_of
from .table2 import class_means, paper_mean

CENTERS = ("trainable", "fixed")


def cells(plan: Plan, library: Library) -> list[Cell]:
    """Both kinds of center on every class; the trainable ones are cells of table 2."""
    return [
        cell
        for dataset, class_name in splits_of(plan, library)
        for center in CENTERS
        for cell in cells_of(plan, library, dataset, class_name, center=center)
    ]


def report(context: Context, out: Path) -> list[Path]:
    """table3.csv, table3.md and table3.png."""
    wanted = cells(context.plan, context.library)
    rows: list[Row] = []
    lines: list[Row] = []
    means: dict[tuple[str, str], Summary] = {}
    paper_means: dict[tuple[str, str], float | None] = {}
    for dataset in context.plan.datasets:
        if dataset in context.library.missing:
            lines.append((ENTRIES[dataset].title, *[None] * 5, "not run"))
            continue
        for center in CENTERS:
            mine = [cell for cell in wanted if cell.dataset == dataset and cell.settings.center == center]
            names = list(dict.fromkeys(cell.class_name for cell in mine))
            whole = class_means([context.found([c for c in mine if c.class_name == name]) for name in names])
            every = context.plan.classes is None
            theirs = _paper_figure(dataset, center, None if every else names)
            classes = "all" if every else ", ".join(names)
            lines.append(
                (
                    *(ENTRIES[dataset].title, center, classes, shown_or_none(whole)),
                    None if theirs is None else shown(theirs),
                    difference(whole, theirs),
                    _note(dataset, center, every=every),
                )
            )
            rows.append(
                (
                    *(dataset, center, classes, whole.runs if whole else 0),
                    *((whole.mean, whole.deviation) if whole else (None, None)),
                    theirs,
                    whole.mean - theirs if whole and theirs is not None else None,
                )
            )
            if whole:
                means[dataset, center] = whole
                paper_means[dataset, center] = theirs
    header = ("dataset", "center", "classes", "runs", "mean", "deviation", "paper_mean", "difference")
    table = markdown_table(("data set", "center", "classes", "here", "paper", "difference", "note"), lines)
    parts = [*context.preamble(wanted), table, *_gains(means)]
    files = [
        write_csv(out / "table3.csv", header, rows),
        write_markdown(out / "table3.md", "Table 3: trainable against fixed center", parts),
    ]
    return files + ([_plot(out / "table3.png", means, paper_means)] if means else [])


def _paper_figure(dataset: str, center: str, classes: list[str] | None) -> float | None:
    """Table 3's figure for all classes; else, of a trainable center, table 2's mean of `classes`."""
    if classes is None and dataset in paper.TABLE_3:
        return paper.TABLE_3[dataset][center]
    return paper_mean(dataset, classes or [], "DASVDD") if center == "trainable" else None


def _note(dataset: str, center: str, *, every: bool) -> str | None:
    if every and dataset in paper.TABLE_3:
        return None
    return "the paper's is of its table 2" if center == "trainable" else "the paper has no such figure"


def _gains(means: dict[tuple[str, str], Summary]) -> list[str]:
    lines = []
    for dataset in dict.fromkeys(name for name, _ in means):
        both = [means.get((dataset, center)) for center in CENTERS]
        if both[0] and both[1]:
            figures = paper.TABLE_3.get(dataset)
            theirs = (
                f"; the paper's, over all classes: {figures['trainable'] - figures['fixed']:+.1f}" if figures else ""
            )
            gain = both[0].mean - both[1].mean
            lines.append(f"- {ENTRIES[dataset].title}: training the center gains {gain:+.1f} points here{theirs}.")
    return ["\n".join(lines)] if lines else []


def _plot(path: Path, means: dict[tuple[str, str], Summary], paper_means: dict[tuple[str, str], float | None]) -> Path:
    drawing = figure()
    axes = drawing.subplots()
    for at, (key, mean) in enumerate(means.items()):
        axes.errorbar(at - 0.05, mean.mean, mean.deviation or 0, fmt="o", color=OURS, capsize=3)
        theirs = paper_means[key]
        if theirs is not None:
            axes.plot(at + 0.05, theirs, "s", color=PAPER)
    labels = [f"{ENTRIES[dataset].title}\n{center}" for dataset, center in means]
    axes.set(ylabel="AUC, %", title="Table 3: trainable and fixed center")
    axes.set(xticks=range(len(labels)), xticklabels=labels, xlim=(-0.6, len(labels) - 0.4))
    here_and_paper(axes, paper="paper" if any(paper_means.values()) else None)
    axes.grid(axis="y", alpha=0.3)
    return write_png(path, drawing)


TABLE_3 = Experiment(
    name="table3",
    datasets=tuple(paper.TABLE_3),
    classes=None,
    seeds=10,
    cells=cells,
    report=report,
)
