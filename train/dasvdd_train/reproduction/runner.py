"""Cells -> results: loads each data set once, skips what is finished, goes on where one data set or cell fails."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from dasvdd_runtime import __version__
from dasvdd_runtime.errors import DasvddError, DataError
from numpy.typing import NDArray

from .cells import Cell
from .datasets import Dataset, OneClassSplit, load_dataset
from .history import History
from .methods import METHODS, RowScores, item_auc
from .preprocessing import preprocess
from .results import Result, Results
from .training import fit_observed


class Listener(Protocol):
    """Who is told how a run goes."""

    def begin(self, cells: Sequence[Cell], finished: Sequence[Result]) -> None:
        """`cells` will be run; `finished` are there already."""
        ...

    def cell(self, cell: Cell, result: Result) -> None:
        """One more is finished."""
        ...

    def failed(self, cell: Cell, reason: str) -> None:
        """One could not be run."""
        ...


@dataclass
class Library:
    """The data sets that were asked for: those that are there, and why the others are not."""

    data_dir: Path
    loaded: dict[str, Dataset] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    """Data set -> one line: what was looked for, where, and where it is published; or which file is damaged."""

    def get(self, name: str) -> Dataset | None:
        """The data set, or None where it is missing."""
        if name not in self.loaded and name not in self.missing:
            try:
                self.loaded[name] = load_dataset(name, self.data_dir)
            except DasvddError as error:
                self.missing[name] = str(error)
        return self.loaded.get(name)


def run_cells(
    cells: Sequence[Cell], library: Library, results: Results, listener: Listener, *, device: str
) -> dict[str, str]:
    """Run the `cells` that are not finished, in order; returns the key of each that failed -> why."""
    finished = [result for cell in cells if (result := results.get(cell))]
    left = list({cell.key: cell for cell in cells if not results.get(cell)}.values())
    listener.begin(left, finished)
    split_of = _splits(library)
    failed: dict[str, str] = {}
    for cell in left:
        try:
            result, arrays = run_cell(cell, split_of(cell), device=device)
        except (DasvddError, ValueError, FloatingPointError) as error:
            failed[cell.key] = str(error)
            listener.failed(cell, str(error))
            continue
        results.add(cell, result, **arrays)
        listener.cell(cell, result)
    return failed


def run_cell(cell: Cell, split: OneClassSplit, *, device: str) -> tuple[Result, dict[str, NDArray[Any]]]:
    """Train and test `cell` on `split`, already preprocessed.

    Returns the result and, per test item, `score`, `label`, and for DASVDD both terms; of an observed cell its history.
    """
    started = time.monotonic()
    arrays: dict[str, NDArray[Any]] = {}
    if cell.observed:
        history = History()
        fitted = fit_observed(split.train, cell.settings, seed=cell.seed, device=device, observer=history)
        error, distance = fitted.terms(split.test)
        rows = RowScores(error + fitted.gamma * distance, error, distance, fitted.gamma)
        arrays |= history.arrays()
    else:
        rows = METHODS[cell.method].score(split.train, split.test, cell.settings, cell.seed, device)
    aucs: dict[str, float | None] = {}
    for name in ("score", "reconstruction_error", "center_distance"):
        values = getattr(rows, name)
        aucs[name] = None
        if values is not None:
            items = split.item_scores(values)
            aucs[name] = item_auc(split.labels, items)
            arrays[name] = items.astype(np.float64)
    arrays["label"] = split.labels
    total = aucs["score"]
    assert total is not None
    result = Result(
        key=cell.key,
        dataset=cell.dataset,
        class_name=cell.class_name,
        method=cell.method,
        seed=cell.seed,
        settings=cell.used_settings,
        auc=total,
        auc_reconstruction=aucs["reconstruction_error"],
        auc_center=aucs["center_distance"],
        gamma=rows.gamma,
        features=split.train.shape[1],
        train_rows=len(split.train),
        test_items=len(split.labels),
        seconds=time.monotonic() - started,
        device=device,
        version=__version__,
    )
    return result, arrays


def _splits(library: Library) -> Callable[[Cell], OneClassSplit]:
    """The preprocessed split of a cell; the last one is kept, since cells of one split follow each other."""

    @functools.lru_cache(maxsize=1)
    def split(dataset: str, class_name: str, seed: int, how: str) -> OneClassSplit:
        data = library.get(dataset)
        if data is None:
            raise DataError(library.missing[dataset])
        return preprocess(data.split(class_name, seed=seed), how)  # type: ignore[arg-type]

    def of(cell: Cell) -> OneClassSplit:
        data = library.get(cell.dataset)
        seed = cell.seed if data is not None and data.seeded else 0
        return split(cell.dataset, cell.class_name, seed, cell.settings.preprocessing)

    return of
