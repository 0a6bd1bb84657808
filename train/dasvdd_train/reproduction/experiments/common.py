"""What all experiments share: the plan that the command line makes, and the look-up of results."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dasvdd_runtime.errors import ConfigError

from ..cells import Cell
from ..methods import METHODS
from ..results import Result, Results
from ..runner import Library
from ..settings import ENTRIES, CellSettings, settings_for


@dataclass(frozen=True)
class Plan:
    """What was asked for."""

    datasets: tuple[str, ...]
    classes: tuple[str, ...] | None
    """Normal classes; None: all of a data set."""
    seeds: int
    """Seeds 0 .. seeds - 1."""
    changes: dict[str, Any] = field(default_factory=dict)
    """Settings over those of section 4.3."""
    methods: tuple[str, ...] = ("dasvdd",)


@dataclass(frozen=True)
class Context:
    """What a report is made from."""

    plan: Plan
    library: Library
    results: Results
    failed: dict[str, str]
    """Key of each cell that could not be run -> why."""

    def found(self, cells: Sequence[Cell]) -> list[Result]:
        """The results of those `cells` that are finished."""
        return [result for cell in cells if (result := self.results.get(cell))]

    def preamble(self, cells: Sequence[Cell]) -> list[str]:
        """Paragraphs for the top of a page: how much is finished, what differs from the paper, what is missing."""
        paragraphs = [f"{len(self.found(cells))} of {len(cells)} cells are finished. AUC in percent, mean ± deviation."]
        changed = ", ".join(f"{name} = {value}" for name, value in self.plan.changes.items())
        if changed:
            paragraphs.append(f"**Not the paper's settings:** {changed}.")
        absent = [f"- {ENTRIES[name].title}: {why}" for name, why in self.library.missing.items()]
        failures = {cell.key: f"- {cell}: {self.failed[cell.key]}" for cell in cells if cell.key in self.failed}
        if absent or failures:
            paragraphs.append("\n".join(["Not run:", "", *absent, *failures.values()]))
        return paragraphs


@dataclass(frozen=True)
class Experiment:
    """One command of dasvdd-reproduce."""

    name: str
    datasets: tuple[str, ...]
    """By default."""
    classes: tuple[str, ...] | None
    """By default; None: all."""
    seeds: int
    """By default."""
    cells: Callable[[Plan, Library], list[Cell]]
    report: Callable[[Context, Path], list[Path]]
    """(context, folder) -> the files that it wrote there."""


def splits_of(plan: Plan, library: Library) -> Iterator[tuple[str, str]]:
    """(data set, class) of all that was asked for and is there."""
    for dataset in plan.datasets:
        data = library.get(dataset)
        if data is None:
            continue
        # A data set of one class has nothing to choose.
        wanted = None if len(data.class_names) == 1 else plan.classes
        yield from ((dataset, name) for name in data.class_names if wanted is None or name in wanted)


def require_known_classes(plan: Plan, library: Library) -> None:
    """Raises ConfigError for a class of `plan` that none of its data sets has; one of them at least is there."""
    known = {dataset: data.class_names for dataset in plan.datasets if (data := library.get(dataset)) is not None}
    for name in plan.classes or ():
        if all(name not in names for names in known.values()):
            there = "; ".join(f"{dataset}: {', '.join(names)}" for dataset, names in known.items())
            only = " Leave --classes out: it is run whole." if set(known.values()) == {("all",)} else ""
            raise ConfigError(f"--classes: there is no class '{name}'. Known here: {there}.{only}")


def cells_of(
    plan: Plan, library: Library, dataset: str, class_name: str, *, method: str = "dasvdd", **changes: Any
) -> list[Cell]:
    """One cell a seed, of one method with `changes` over the plan's settings; a single one where no seed matters."""
    settings: CellSettings = settings_for(dataset, plan.changes | changes)
    data = library.get(dataset)
    matters = METHODS[method].seeded or (data is not None and data.seeded)
    return [Cell(dataset, class_name, method, seed, settings) for seed in range(plan.seeds if matters else 1)]
