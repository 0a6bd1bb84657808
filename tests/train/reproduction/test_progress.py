"""Cells done and time left."""

from __future__ import annotations

import dataclasses

import pytest
from dasvdd_train.reproduction.cells import Cell
from dasvdd_train.reproduction.progress import Reporter, TimeLeft
from dasvdd_train.reproduction.results import Result
from dasvdd_train.reproduction.settings import settings_for

CELLS = [Cell("pima", "all", "dasvdd", seed, settings_for("pima", {"epochs": 100})) for seed in range(4)]
FOREST = dataclasses.replace(CELLS[0], method="if")


def finished(cell: Cell, seconds: float) -> Result:
    return Result(
        key=cell.key,
        dataset=cell.dataset,
        class_name=cell.class_name,
        method=cell.method,
        seed=cell.seed,
        settings={},
        auc=70.0,
        auc_reconstruction=None,
        auc_center=None,
        gamma=2.5,
        features=8,
        train_rows=250,
        test_items=518,
        seconds=seconds,
        device="cpu",
        version="1",
    )


def test_time_left_is_that_of_cells_like_those_finished() -> None:
    """The median of a data set and method; what was not seen yet takes the median of all; before that, unknown."""
    time = TimeLeft()
    assert time.of(CELLS) is None
    for seconds in (10.0, 12.0, 50.0):
        time.learn(finished(CELLS[0], seconds))
    assert time.of(CELLS[1:]) == 36
    assert time.of([FOREST]) == 12
    time.learn(finished(FOREST, 2.0))
    assert time.of([CELLS[1], FOREST]) == 14


def test_a_log_has_cells_done_and_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where no terminal shows a bar: a line a cell, and one a minute of a long training, from its epochs' pace."""
    clock = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    with Reporter() as reporter:
        reporter.begin(CELLS[1:], [])
        for epoch in range(1, 101):
            clock[0] += 3
            reporter.underway(CELLS[1:2], epoch)
        reporter.cell(CELLS[1], finished(CELLS[1], 300.0))
        reporter.failed(CELLS[2], "it diverged")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "3 cells"
    # 79 epochs of this model at 3 s, and two more models of 100 epochs.
    assert lines[1] == "0/3  pima DASVDD seed 1, epoch 21/100; about 13 min 57 s left"
    assert len([line for line in lines if "epoch" in line]) == 4
    assert lines[-2] == "1/3  pima DASVDD seed 1: AUC 70.0, gamma 2.5, 300.0 s; about 10 min left"
    assert lines[-1] == "2/3  pima DASVDD seed 2: not run: it diverged; about 5 min left"
