"""Cells -> results: loads each data set once, skips what is finished, goes on where one data set or cell fails."""

from __future__ import annotations

import functools
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from dasvdd_runtime import __version__
from dasvdd_runtime.errors import DasvddError, DataError
from numpy.typing import NDArray

from .cells import Cell
from .datasets import Dataset, OneClassSplit, load_dataset
from .history import History
from .methods import METHODS, Networks, RowScores, item_auc
from .preprocessing import preprocess
from .results import Result, Results
from .training import Job, fit_many, members_at_once
from .unfinished import Unfinished

Arrays = dict[str, NDArray[Any]]


class Listener(Protocol):
    """Who is told how a run goes."""

    def say(self, text: str) -> None:
        """A line for the user."""
        ...

    def begin(self, cells: Sequence[Cell], finished: Sequence[Result]) -> None:
        """`cells` will be run; `finished` are there already."""
        ...

    def underway(self, cells: Sequence[Cell], epoch: int) -> None:
        """`cells`, models trained at once, have done so many epochs."""
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
    cells: Sequence[Cell], library: Library, results: Results, listener: Listener, *, device: str, stack: int | None
) -> dict[str, str]:
    """Run the `cells` that are not finished, in order; returns the key of each that failed -> why.

    Models of one shape are trained `stack` at a time; None: as many as pay on the `device`. Interrupted stacks come
    first and go on as they were.
    """
    finished = [result for cell in cells if (result := results.get(cell))]
    left = {cell.key: cell for cell in cells if not results.get(cell)}
    listener.begin(list(left.values()), finished)
    failed: dict[str, str] = {}

    def fail(cell: Cell, error: Exception) -> None:
        if cell.key in left:
            failed[cell.key] = str(error)
            listener.failed(cell, str(error))

    unfinished = Unfinished(results, device, listener.say)
    interrupted = unfinished.stacks(cells)
    going_on = {cell.key for group in interrupted for cell in group}
    new = [cell for cell in left.values() if cell.key not in going_on]
    batches = [*((group, len(group)) for group in interrupted), (new, stack)]
    split_of = _splits(library)
    groups = (_stacks(batch, split_of, at_once, torch.device(device), fail) for batch, at_once in batches)
    for group in itertools.chain.from_iterable(groups):
        untold = dict(group)
        try:
            for cell, scores, arrays, seconds in _scored(group, listener, device, unfinished):
                split = untold.pop(cell)
                if cell.key not in left:  # finished before the interruption
                    continue
                try:
                    if isinstance(scores, Exception):
                        raise scores
                    result, more = _result(cell, split, scores, seconds, device)
                except (DasvddError, ValueError) as error:
                    fail(cell, error)
                    continue
                results.add(cell, result, **arrays, **more)
                listener.cell(cell, result)
        except (DataError, ValueError, FloatingPointError) as error:
            for cell in untold:
                fail(cell, error)
            continue
        for cell in untold:
            fail(
                cell, DataError("it left its stack before the interruption, and has no result. Run the command again.")
            )
    return failed


def _scored(
    group: Sequence[tuple[Cell, OneClassSplit]], listener: Listener, device: str, unfinished: Unfinished
) -> Iterator[tuple[Cell, RowScores | DataError, Arrays, float]]:
    """Train the models of `group` at once: of each cell the scores of its test rows, more to be kept, and seconds.

    The seconds are a cell's share of the stack's.
    """
    started = time.monotonic()
    cells = [cell for cell, _ in group]
    first, split = group[0]
    how = METHODS[first.method].how
    if not isinstance(how, Networks):
        scores = RowScores(how(split.train, split.test, first.settings, first.seed, device))
        yield first, scores, {}, time.monotonic() - started
        return
    history = History() if first.observed else None
    jobs = [Job(split.train, how.settings(cell.settings), cell.seed) for cell, split in group]
    # A history begins with the first step, so an observed training does too.
    checkpoint = None if history else unfinished.checkpoint(cells, jobs)
    fits = fit_many(
        jobs,
        device=device,
        on_step=history,
        on_epoch=lambda metrics: listener.underway(cells, metrics.epoch),
        checkpoint=checkpoint,
    )
    for number, fitted in fits:
        cell, split = group[number]
        if isinstance(fitted, DataError):
            yield cell, fitted, {}, 0.0
            continue
        scores = how.rows(fitted, split.test)
        seconds = max(fitted.seconds, time.monotonic() - started) / len(group)
        yield cell, scores, history.arrays() if history else {}, seconds
    if checkpoint is not None:
        checkpoint.remove()


def _result(cell: Cell, split: OneClassSplit, rows: RowScores, seconds: float, device: str) -> tuple[Result, Arrays]:
    """The result of `cell` and, per test item, `score`, `label`, and for DASVDD both terms."""
    arrays: Arrays = {}
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
        seconds=seconds,
        device=device,
        version=__version__,
    )
    return result, arrays


def _stacks(
    cells: Sequence[Cell],
    split_of: Callable[[Cell], OneClassSplit],
    wanted: int | None,
    device: torch.device,
    fail: Callable[[Cell, Exception], None],
) -> Iterator[list[tuple[Cell, OneClassSplit]]]:
    """`cells` in order with their splits, those that follow each other and have one recipe together.

    A cell that no split can be made for is told to `fail`.
    """
    group: list[tuple[Cell, OneClassSplit]] = []
    shared: object = None
    most = 1
    for cell in cells:
        try:
            split = split_of(cell)
        except (DasvddError, ValueError) as error:
            fail(cell, error)
            continue
        how = METHODS[cell.method].how
        recipe = None
        if isinstance(how, Networks) and not cell.observed:
            recipe = Job(split.train, how.settings(cell.settings), cell.seed).recipe
        kind = (cell.dataset, cell.method, recipe)
        if group and (kind != shared or len(group) >= most):
            yield group
            group = []
        if not group:
            shared = kind
            most = 1 if recipe is None else members_at_once(recipe, wanted, device)
        group.append((cell, split))
    if group:
        yield group


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
