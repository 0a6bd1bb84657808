"""dasvdd-reproduce as a user runs it, on a small table in the publisher's format."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from dasvdd_train.reproduction.cli import COMMANDS
from dasvdd_train.reproduction.experiments import EXPERIMENTS
from dasvdd_train.reproduction.paper import METHODS, TABLE_2, TABLE_2_AVERAGES


def reproduce(*arguments: object) -> subprocess.CompletedProcess[str]:
    code = "from dasvdd_train.reproduction.cli import main; main(prog_name='dasvdd-reproduce')"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    environment = os.environ | {"COLUMNS": "200", "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def write_pima(folder: Path) -> None:
    """768 rows of 8 features as scipy writes them, 268 of them outliers that lie apart."""
    random = np.random.default_rng(0)
    labels = np.repeat([0, 1], [500, 268])
    scipy.io.savemat(
        folder / "pima.mat", {"X": random.normal(10 + 3 * labels[:, None], 1, (768, 8)), "y": labels[:, None]}
    )


def test_every_command_is_an_experiment() -> None:
    """The command line, which must not import torch for --help, names the experiments that there are."""
    assert list(COMMANDS) == list(EXPERIMENTS)


def test_table_2_is_written_and_finished_cells_are_not_run_again(tmp_path: Path) -> None:
    """CSV, Markdown with the paper's figure beside, a picture; a truncated last line costs only its own cell."""
    write_pima(tmp_path)
    arguments = ("table2", "--data-dir", tmp_path, "--datasets", "pima,mnist", "--seeds", 2, "--epochs", 2)
    done = reproduce(*arguments, "--out", tmp_path / "results")
    results = (tmp_path / "results" / "results.jsonl").read_text().splitlines()
    assert len(results) == 2, done.stderr
    assert all(50 < json.loads(line)["auc"] <= 100 for line in results)
    pages = "".join(path.read_text() for path in (tmp_path / "results").rglob("*.md"))
    assert "72.2" in pages
    assert "MNIST" in done.stderr + pages or "mnist" in done.stderr + pages
    assert list((tmp_path / "results").rglob("*.csv"))
    assert list((tmp_path / "results").rglob("*.png"))

    path = tmp_path / "results" / "results.jsonl"
    path.write_text(results[0] + "\n" + results[1][:40])
    again = reproduce(*arguments, "--out", tmp_path / "results")
    lines = [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]
    assert lines[0] == json.loads(results[0]), again.stderr
    assert [line["auc"] for line in lines] == [json.loads(line)["auc"] for line in results]


@pytest.mark.parametrize("dataset", ["mnist", "cifar10", "fmnist"])
def test_the_rows_of_table_2_have_the_averages_that_the_paper_prints(dataset: str) -> None:
    """A figure that was copied wrongly would move its column's mean; the paper itself misprints two of them."""
    misprinted = {("fmnist", "IF"): 0.2, ("fmnist", "DAGMM"): 0.7}
    for method in METHODS:
        mean = np.mean([TABLE_2[dataset, str(digit)][method].mean for digit in range(10)])
        assert mean == pytest.approx(TABLE_2_AVERAGES[dataset][method], abs=misprinted.get((dataset, method), 0.1))


def test_single_figures_are_the_papers() -> None:
    """Typed here from the paper's pages, apart from the table."""
    assert (TABLE_2["mnist", "8"]["DASVDD"].mean, TABLE_2["mnist", "8"]["DASVDD"].deviation) == (94.2, 1.2)
    assert TABLE_2["cifar10", "0"]["PixCNN"].mean == 78.8
    assert TABLE_2["cifar10", "6"]["OCGAN"].mean == 72.3
    assert TABLE_2["fmnist", "8"]["DASVDD"].mean == 89.4
    assert TABLE_2["pima", "all"]["DASVDD"].mean == 72.2
