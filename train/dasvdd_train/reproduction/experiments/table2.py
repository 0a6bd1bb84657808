"""Table 2: AUC of DASVDD and of the competing methods on every class of every data set."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .. import paper
from ..cells import Cell
from ..datasets.split import ALL
from ..methods import METHODS, PAPER_ONLY
from ..plots import OURS, PAPER, figure, here_and_paper, write_png
from ..results import Result
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

MANY_LABELS = 10
"""More than this many stand upright below a panel."""
CSV_HEADER = (
    *("dataset", "class", "method", "runs", "mean", "deviation", "paper_mean", "paper_deviation", "difference"),
    *("gamma", "gamma_per_feature", "paper_gamma", "source"),
)


def cells(plan: Plan, library: Library) -> list[Cell]:
    """Every method on every class."""
    return [
        cell
        for dataset, class_name in splits_of(plan, library)
        for method in plan.methods
        for cell in cells_of(plan, library, dataset, class_name, method=method)
    ]


def report(context: Context, out: Path) -> list[Path]:
    """table2.csv, table2.md and, where anything is finished, table2.png."""
    wanted = cells(context.plan, context.library)
    finished = context.found(wanted)
    by_split: Splits = defaultdict(lambda: defaultdict(list))
    for result in finished:
        by_split[result.dataset, result.class_name][result.method].append(result)
    parts = context.preamble(wanted)
    rows: list[Row] = []
    for dataset in context.plan.datasets:
        entry = ENTRIES[dataset]
        parts.append(f"## {entry.title}")
        if dataset in context.library.missing:
            parts.append(f"Not run: {context.library.missing[dataset]}")
            rows += [
                (dataset, None, method, 0, *[None] * 2, paper.average(dataset, method), *[None] * 5, "not run")
                for method in paper.METHODS
            ]
            continue
        classes = list(dict.fromkeys(cell.class_name for cell in wanted if cell.dataset == dataset))
        parts += [_own_table(dataset, classes, by_split), _competitors(dataset, classes, by_split)]
        rows += _csv_rows(dataset, classes, by_split)
    files = [
        write_csv(out / "table2.csv", CSV_HEADER, rows),
        write_markdown(out / "table2.md", "Table 2: AUC on benchmark data sets", parts),
    ]
    return files + ([_plot(out / "table2.png", by_split)] if finished else [])


def class_means(by_class: Sequence[Sequence[Result]]) -> Summary | None:
    """Mean over classes, with its deviation over those seeds that every class has; None if a class has no result."""
    if not by_class or not all(by_class):
        return None
    by_seed = [{result.seed: result.auc for result in results} for results in by_class]
    shared = sorted(set.intersection(*(set(aucs) for aucs in by_seed)))
    return summarise([float(np.mean([aucs[seed] for aucs in by_seed])) for seed in shared])


def paper_mean(dataset: str, classes: Sequence[str], method: str) -> float:
    """The paper's figure for a data set; where only some of its classes were run, the mean of the paper's rows."""
    rows = [paper.TABLE_2[dataset, name][method].mean for name in classes if (dataset, name) in paper.TABLE_2]
    whole = len([key for key in paper.TABLE_2 if key[0] == dataset])
    return float(np.mean(rows)) if 0 < len(rows) < whole else paper.average(dataset, method)


Splits = defaultdict[tuple[str, str], defaultdict[str, list[Result]]]
"""Results by (data set, class) and method; none of a split that is looked up and has none."""


def _own_table(dataset: str, classes: list[str], by_split: Splits) -> str:
    rows: list[Row] = []
    for name in classes:
        results = by_split[dataset, name]["dasvdd"]
        ours = summarise([result.auc for result in results])
        theirs = paper.TABLE_2.get((dataset, name), {}).get("DASVDD")
        rows.append(
            (
                name,
                len(results),
                shown_or_none(ours),
                None if theirs is None else shown(theirs.mean, theirs.deviation),
                difference(ours, theirs.mean if theirs else None),
                _mean_of(results, "auc_reconstruction"),
                _mean_of(results, "auc_center"),
                _gamma(results),
            )
        )
    if len(classes) > 1:
        whole = class_means([by_split[dataset, name]["dasvdd"] for name in classes])
        theirs_mean = paper_mean(dataset, classes, "DASVDD")
        rows.append(
            (
                *("mean", None, shown_or_none(whole), shown(theirs_mean), difference(whole, theirs_mean)),
                *[None] * 3,
            )
        )
    header = ("class", "runs", "DASVDD here", "paper", "difference", "reconstruction alone", "distance alone")
    gamma = f"gamma, per feature (paper {ENTRIES[dataset].paper_gamma:g})"
    return markdown_table((*header, gamma), rows)


def _competitors(dataset: str, classes: list[str], by_split: Splits) -> str:
    """Every method's mean: here, and the paper's figure beside it."""
    rows: list[Row] = []
    for title in paper.METHODS:
        name = next((key for key, method in METHODS.items() if method.title == title), None)
        ours = None if name is None else class_means([by_split[dataset, each][name] for each in classes])
        theirs = paper_mean(dataset, classes, title)
        if name is None:
            source = f"paper's figure only: {PAPER_ONLY[title]}"
        else:
            source = METHODS[name].origin if ours else "not run here"
        rows.append((title, shown_or_none(ours), shown(theirs), difference(ours, theirs), source))
    which = f"class {classes[0]}" if len(classes) == 1 else f"mean over classes {', '.join(classes)}"
    title = "Every method of the paper" + ("" if classes == [ALL] else f", {which}")
    return f"{title}:\n\n" + markdown_table(("method", "here", "paper", "difference", "code"), rows)


def _csv_rows(dataset: str, classes: list[str], by_split: Splits) -> list[Row]:
    rows: list[Row] = []
    for class_name in classes:
        for title in paper.METHODS:
            name = next((key for key, method in METHODS.items() if method.title == title), None)
            results = by_split[dataset, class_name][name] if name else []
            ours = summarise([result.auc for result in results])
            theirs = paper.TABLE_2.get((dataset, class_name), {}).get(title)
            gammas = [result.gamma for result in results if result.gamma is not None]
            gamma = float(np.mean(gammas)) if gammas else None
            rows.append(
                (
                    *(dataset, class_name, title, len(results)),
                    *((ours.mean, ours.deviation) if ours else (None, None)),
                    *((theirs.mean, theirs.deviation) if theirs else (None, None)),
                    ours.mean - theirs.mean if ours and theirs else None,
                    gamma,
                    gamma / results[0].features if gamma is not None else None,
                    ENTRIES[dataset].paper_gamma if title == "DASVDD" else None,
                    METHODS[name].origin if name and ours else "paper only" if name is None else "not run here",
                )
            )
    return rows


def _mean_of(results: Sequence[Result], field: str) -> str | None:
    values = [value for result in results if (value := getattr(result, field)) is not None]
    return shown(float(np.mean(values))) if values else None


def _gamma(results: Sequence[Result]) -> str | None:
    gammas = [result.gamma for result in results if result.gamma is not None]
    if not gammas:
        return None
    mean = float(np.mean(gammas))
    return f"{mean:.4g}, {mean / results[0].features:.3g}"


def _plot(path: Path, by_split: Splits) -> Path:
    """A panel a data set; where one method was run, a place a class, else a place a class and method."""
    datasets = list(dict.fromkeys(dataset for (dataset, _), by_method in by_split.items() if any(by_method.values())))
    several = len({method for methods in by_split.values() for method, results in methods.items() if results}) > 1
    drawing = figure(width=9, height=2.6 * len(datasets) + 0.3)
    for axes, dataset in zip(drawing.subplots(len(datasets), squeeze=False)[:, 0], datasets, strict=True):
        labels: list[str] = []
        for (each, class_name), by_method in by_split.items():
            for name, method in METHODS.items():
                ours = summarise([result.auc for result in by_method[name]])
                if each != dataset or ours is None:
                    continue
                at = len(labels)
                shown_class = f"{class_name} " if class_name != ALL else ""
                labels.append(f"{shown_class}{method.title}" if several else class_name)
                axes.errorbar(at - 0.1, ours.mean, ours.deviation or 0, fmt="o", color=OURS, capsize=3)
                theirs = paper.TABLE_2.get((dataset, class_name), {}).get(method.title)
                if theirs:
                    axes.errorbar(at + 0.1, theirs.mean, theirs.deviation or 0, fmt="s", color=PAPER, capsize=3)
        axes.set(title=ENTRIES[dataset].title, ylabel="AUC, %", xlim=(-0.6, len(labels) - 0.4))
        whole = {name for each, name in by_split if each == dataset} == {ALL}
        axes.set_xlabel("normal class" if not several else "method" if whole else "normal class and method")
        many = len(labels) > MANY_LABELS
        axes.set_xticks(range(len(labels)), labels, rotation=90 if many else 0, fontsize=6 if many else 9)
        here_and_paper(axes)
        axes.grid(axis="y", alpha=0.3)
    return write_png(path, drawing)


TABLE_2 = Experiment(
    name="table2",
    datasets=tuple(ENTRIES),
    classes=None,
    seeds=10,
    cells=cells,
    report=report,
)
