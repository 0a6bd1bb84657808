"""dasvdd-reproduce as a user runs it, on a small table in the publisher's format."""

from __future__ import annotations

import csv
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


def test_a_sweep_has_the_papers_figure_at_its_usual_value_alone(tmp_path: Path) -> None:
    """Table 2's 72.2 for gamma by eq. 6, none for a gamma that the paper gives no figure for."""
    write_pima(tmp_path)
    done = reproduce(
        "gamma", "--data-dir", tmp_path, "--datasets", "pima", "--seeds", 1, "--epochs", 1, "--out", tmp_path / "out"
    )
    assert done.returncode == 0, done.stderr
    with (tmp_path / "out" / "gamma.csv").open() as file:
        rows = {row["gamma"]: row for row in csv.DictReader(file)}
    assert float(rows["auto"]["paper_mean"]) == 72.2
    assert float(rows["auto"]["difference"]) == pytest.approx(float(rows["auto"]["mean"]) - 72.2, abs=1e-3)
    assert {row["paper_mean"] for name, row in rows.items() if name != "auto"} == {""}


def test_table_3_compares_what_the_paper_has(tmp_path: Path) -> None:
    """PIMA is not in the paper's table 3: the trainable center stands beside table 2, the fixed one beside nothing."""
    write_pima(tmp_path)
    done = reproduce(
        "table3", "--data-dir", tmp_path, "--datasets", "pima", "--seeds", 1, "--epochs", 1, "--out", tmp_path / "out"
    )
    assert done.returncode == 0, done.stderr
    with (tmp_path / "out" / "table3.csv").open() as file:
        figures = {row["center"]: row["paper_mean"] for row in csv.DictReader(file)}
    assert figures == {"trainable": "72.2", "fixed": ""}


def test_missing_and_damaged_data_sets_are_one_line_each_and_the_rest_runs(tmp_path: Path) -> None:
    """What was looked for, where, and where it is published; a damaged file by its name."""
    write_pima(tmp_path)
    damaged = tmp_path / "speech.mat"
    damaged.write_bytes((tmp_path / "pima.mat").read_bytes()[:3000])
    arguments = ("table2", "--data-dir", tmp_path, "--datasets", "cifar10,speech,pima", "--seeds", 1, "--epochs", 1)
    done = reproduce(*arguments, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    missing, broken = (line for line in done.stderr.splitlines() if line.startswith("warning: "))
    assert all(words in missing for words in ("test_batch", str(tmp_path), "https://www.cs.toronto.edu/~kriz/cifar"))
    assert str(damaged) in broken
    assert len((tmp_path / "out" / "results.jsonl").read_text().splitlines()) == 1


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
