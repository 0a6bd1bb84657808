"""dasvdd-reproduce with many models at once: which are stacked, and that results stay those of each alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from dasvdd_train.reproduction.cells import Cell
from dasvdd_train.reproduction.results import Result, Results
from dasvdd_train.reproduction.runner import Library, run_cells
from dasvdd_train.reproduction.settings import CellSettings, settings_for
from dasvdd_train.reproduction.training import Job, fit, fit_many, members_at_once
from small_pima import write_pima


class Listening:
    """Notes what a run tells."""

    def __init__(self) -> None:
        self.order: list[str] = []
        self.at_once: set[int] = set()
        self.failures: list[str] = []
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)

    def begin(self, cells: Sequence[Cell], finished: Sequence[Result]) -> None:
        self.left, self.finished = len(cells), len(finished)

    def underway(self, cells: Sequence[Cell], epoch: int) -> None:
        self.at_once.add(len(cells))

    def cell(self, cell: Cell, result: Result) -> None:
        self.order.append(str(cell))

    def failed(self, cell: Cell, reason: str) -> None:
        self.failures.append(reason)


def cells(methods: Sequence[str] = ("dasvdd",), **changes: object) -> list[Cell]:
    settings = settings_for("pima", {"epochs": 3} | changes)
    return [Cell("pima", "all", method, seed, settings) for method in methods for seed in range(5)]


def run(folder: Path, out: str, wanted: list[Cell], stack: int | None) -> tuple[Listening, list[dict[str, object]]]:
    listening = Listening()
    failed = run_cells(wanted, Library(folder), Results(folder / out), listening, device="cpu", stack=stack)
    assert listening.failures == list(failed.values())
    return listening, [json.loads(line) for line in (folder / out / "results.jsonl").read_text().splitlines()]


def test_stacked_cells_have_the_results_of_single_ones(tmp_path: Path) -> None:
    """AUC and gamma of every cell are those of one model at a time; methods do not mix, and no cell is lost."""
    write_pima(tmp_path)
    (tmp_path / "one").mkdir()
    (tmp_path / "many").mkdir()
    wanted = cells(("dasvdd", "ocsvm", "ae"))
    single, alone = run(tmp_path, "one", wanted, 1)
    many, together = run(tmp_path, "many", wanted, 3)
    assert (single.at_once, many.at_once) == ({1}, {2, 3})
    assert [line["key"] for line in together] == [line["key"] for line in alone]
    for one, other in zip(alone, together, strict=True):
        assert other["auc"] == pytest.approx(one["auc"], abs=0.05)
        assert other["gamma"] == (one["gamma"] if one["gamma"] is None else pytest.approx(one["gamma"], rel=1e-5))


def test_finished_cells_are_not_stacked_again(tmp_path: Path) -> None:
    """A second run trains only what is missing, whatever was stacked before."""
    write_pima(tmp_path)
    (tmp_path / "out").mkdir()
    run(tmp_path, "out", cells()[1:3], None)
    listening, lines = run(tmp_path, "out", cells(), None)
    assert (listening.left, listening.finished, listening.at_once) == (3, 2, {3})
    assert len({str(line["key"]) for line in lines}) == len(lines) == 5


def test_values_of_gamma_and_trials_stack(tmp_path: Path) -> None:
    """Figs. 5 and 6 differ in what a member has for itself, so all their cells of one data set are one stack."""
    write_pima(tmp_path)
    (tmp_path / "out").mkdir()
    wanted = [*cells(gamma=0.1)[:2], *cells(gamma=10.0)[:2], *cells(gamma_initialisations=2)[:1]]
    listening, _ = run(tmp_path, "out", wanted, None)
    assert listening.at_once == {5}


def job(**changes: object) -> Job:
    rows = np.random.default_rng(0).standard_normal((100, 6)).astype(np.float32)
    return Job(rows, CellSettings.model_validate({"widths": (8,), "latent": 2, "epochs": 2} | changes), 0)


def test_only_one_recipe_is_a_stack() -> None:
    """Models that are trained otherwise cannot be trained at once."""
    with pytest.raises(ValueError, match="one recipe"):
        list(fit_many([job(), job(kappa=0.5)], device="cpu"))


def test_how_many_at_once_on_a_cpu() -> None:
    """Small networks are stacked, large ones are not; what the user says is done."""
    cpu = torch.device("cpu")
    assert members_at_once(job().recipe, None, cpu) > 1
    assert members_at_once(job(widths=(1024, 256), latent=256).recipe, None, cpu) == 1
    assert members_at_once(job(widths=(1024, 256), latent=256).recipe, 7, cpu) == 7


@pytest.mark.parametrize("changes", [{"center": "fixed"}, {"kappa": 1.0}, {"gamma": 0.0}], ids=str)
def test_a_center_that_stays_takes_no_rows(changes: dict[str, object]) -> None:
    """With a fixed center, kappa = 1 or gamma = 0, c is at the end what it was at the beginning."""
    one = job(**changes)
    short = fit(one.rows, one.settings, seed=0, device="cpu")
    long = fit(one.rows, one.settings.model_copy(update={"epochs": 5}), seed=0, device="cpu")
    assert one.recipe.kappa == 1
    assert torch.equal(short.center, long.center)
