"""dasvdd-reproduce as a user runs it, on a small table in the publisher's format."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from dasvdd_train.reproduction import cli, paper
from dasvdd_train.reproduction.datasets.split import LabelledRows
from dasvdd_train.reproduction.experiments import EXPERIMENTS, Context, Plan
from dasvdd_train.reproduction.methods import METHODS
from dasvdd_train.reproduction.paper import TABLE_2, TABLE_2_AVERAGES
from dasvdd_train.reproduction.results import Results
from dasvdd_train.reproduction.runner import Library
from dasvdd_train.reproduction.settings import ENTRIES, CellSettings
from small_pima import write_pima


def reproduce(*arguments: object) -> Result:
    return CliRunner().invoke(cli.main, [*map(str, arguments)], env={"COLUMNS": "200"})


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_help_names_what_there_is() -> None:
    """--help, which must not import torch, names the experiments, their data sets, the methods and every setting."""
    assert list(cli.COMMANDS) == list(EXPERIMENTS)
    for name, experiment in EXPERIMENTS.items():
        assert all(dataset in cli.COMMANDS[name].default for dataset in experiment.datasets)
    assert cli.DATASETS.split(", ") == list(ENTRIES)
    assert cli.METHODS.split(", ") == list(METHODS)
    assert cli.SETTINGS.split(", ") == list(CellSettings.model_fields)


def test_table_2_is_written_and_finished_cells_are_not_run_again(tmp_path: Path) -> None:
    """Mean, deviation, the paper's and the difference in CSV and Markdown; a cut last line costs its own cell alone."""
    write_pima(tmp_path)
    out = tmp_path / "results"
    arguments = ("table2", "--data-dir", tmp_path, "--datasets", "pima,mnist", "--seeds", 2, "--epochs", 2)
    done = reproduce(*arguments, "--out", out)
    assert done.exit_code == 0, done.stderr
    lines = (out / "results.jsonl").read_text().splitlines()
    aucs = [json.loads(line)["auc"] for line in lines]
    assert len(aucs) == 2
    assert all(50 < auc <= 100 for auc in aucs)
    ours = next(row for row in rows_of(out / "table2.csv") if (row["dataset"], row["method"]) == ("pima", "DASVDD"))
    assert (ours["class"], ours["runs"], ours["paper_mean"], ours["paper_deviation"]) == ("all", "2", "72.2", "1.2")
    assert float(ours["mean"]) == pytest.approx(np.mean(aucs), rel=1e-5)
    assert float(ours["deviation"]) == pytest.approx(np.std(aucs, ddof=1), rel=1e-4)
    assert float(ours["difference"]) == pytest.approx(np.mean(aucs) - 72.2, abs=1e-3)
    shown = f"| all | 2 | {np.mean(aucs):.1f} ± {np.std(aucs, ddof=1):.1f} | 72.2 ± 1.2 | {np.mean(aucs) - 72.2:+.1f} |"
    assert shown in (out / "table2.md").read_text()
    assert "Not run: mnist: looked for" in (out / "table2.md").read_text()
    assert (out / "table2.png").read_bytes().startswith(b"\x89PNG")

    (out / "results.jsonl").write_text(lines[0] + "\n" + lines[1][:40])
    again = reproduce(*arguments, "--out", out)
    assert "2 cells, 1 of them finished before" in again.stderr
    assert "1 line cannot be read" in again.stderr
    now = [line for line in (out / "results.jsonl").read_text().splitlines() if line.endswith("}")]
    assert now[0] == lines[0]
    assert [json.loads(line)["auc"] for line in now] == aucs


def test_table_2_draws_what_is_finished_and_nothing_else(tmp_path: Path) -> None:
    """Where no cell is finished there is no picture, and its tables say so."""
    rows = LabelledRows(np.zeros((4, 2), np.float32), np.ones((4, 2), np.float32))
    context = Context(Plan(("pima",), None, 1), Library(tmp_path, {"pima": rows}), Results(tmp_path), {})
    files = EXPERIMENTS["table2"].report(context, tmp_path)
    assert [path.name for path in files] == ["table2.csv", "table2.md"]
    assert "0 of 1 cells are finished" in files[1].read_text()


def test_a_sweep_has_the_papers_figure_at_its_usual_value_alone(tmp_path: Path) -> None:
    """Table 2's 72.2 for gamma by eq. 6, none for a gamma that the paper gives no figure for; ROC curves beside."""
    write_pima(tmp_path)
    arguments = ("--data-dir", tmp_path, "--datasets", "pima", "--seeds", 1, "--epochs", 1, "--out", tmp_path / "out")
    done = reproduce("gamma", *arguments)
    assert done.exit_code == 0, done.stderr
    rows = {row["gamma"]: row for row in rows_of(tmp_path / "out" / "gamma.csv")}
    assert list(rows) == ["1e-05", "0.001", "0.1", "10", "1000", "auto"]
    assert float(rows["auto"]["paper_mean"]) == 72.2
    assert float(rows["auto"]["difference"]) == pytest.approx(float(rows["auto"]["mean"]) - 72.2, abs=1e-3)
    assert {row["paper_mean"] for name, row in rows.items() if name != "auto"} == {""}
    assert float(rows["10"]["gamma_mean"]) == 10
    assert (tmp_path / "out" / "gamma_roc.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(("name", "setting"), [("trials", "gamma_initialisations"), ("kappa", "kappa")])
def test_a_sweep_changes_its_setting_and_nothing_else(tmp_path: Path, name: str, setting: str) -> None:
    """The models that figs. 6 and 7 compare differ in T or kappa alone, and each value has its row."""
    write_pima(tmp_path)
    out = tmp_path / "out"
    options = ("--data-dir", tmp_path, "--datasets", "pima", "--seeds", 1, "--epochs", 1, "--out", out)
    assert reproduce(name, *options).exit_code == 0
    used = [json.loads(line)["settings"] for line in (out / "results.jsonl").read_text().splitlines()]
    values = [settings.pop(setting) for settings in used]
    assert len(set(values)) == len(values) > 5
    assert all(settings == used[0] for settings in used)
    assert [float(row[setting]) for row in rows_of(out / f"{name}.csv")] == values


def test_table_3_compares_what_the_paper_has(tmp_path: Path) -> None:
    """PIMA is not in the paper's table 3: the trainable center stands beside table 2, the fixed one beside nothing."""
    write_pima(tmp_path)
    arguments = ("--data-dir", tmp_path, "--datasets", "pima", "--seeds", 1, "--epochs", 1, "--out", tmp_path / "out")
    done = reproduce("table3", *arguments)
    assert done.exit_code == 0, done.stderr
    figures = {row["center"]: row["paper_mean"] for row in rows_of(tmp_path / "out" / "table3.csv")}
    assert figures == {"trainable": "72.2", "fixed": ""}


def test_missing_and_damaged_data_sets_are_one_line_each_and_the_rest_runs(tmp_path: Path) -> None:
    """What was looked for, where, and where it is published; a damaged file by its name."""
    write_pima(tmp_path)
    damaged = tmp_path / "odds" / "speech.mat"
    damaged.write_bytes((tmp_path / "odds" / "pima.mat").read_bytes()[:3000])
    arguments = ("--data-dir", tmp_path, "--datasets", "cifar10,speech,pima", "--seeds", 1, "--epochs", 1)
    done = reproduce("table2", *arguments, "--out", tmp_path / "out")
    assert done.exit_code == 0, done.stderr
    missing, broken = (line for line in done.stderr.splitlines() if line.startswith("warning: "))
    assert all(words in missing for words in ("test_batch", str(tmp_path), "https://www.cs.toronto.edu/~kriz/cifar"))
    assert str(damaged) in broken
    assert len((tmp_path / "out" / "results.jsonl").read_text().splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--datasets", "pimma"), 78, "Did you mean 'pima'?"),
        (("--classes", ","), 78, "names are expected"),
        (("--classes", "12"), 78, "no class '12'. Known here: pima: all. Leave --classes out"),
        (("--methods", "ocvsm"), 78, "Did you mean 'ocsvm'?"),
        (("--set", "kapa=0.5"), 78, "Did you mean 'kappa'?"),
        (("--stack", "0"), 78, "--stack 0"),
        (("--datasets", "mnist"), 66, "none of the data sets can be read"),
    ],
)
def test_what_cannot_be_run_is_told_before_anything_is(
    tmp_path: Path, arguments: tuple[str, ...], code: int, words: str
) -> None:
    """One line with the way out, the exit code of its kind, and no results."""
    write_pima(tmp_path)
    done = reproduce("table2", "--data-dir", tmp_path, "--datasets", "pima", "--out", tmp_path / "out", *arguments)
    assert (done.exit_code, words in done.stderr.splitlines()[-1]) == (code, True), done.stderr
    assert not (tmp_path / "out" / "results.jsonl").exists()


@pytest.mark.parametrize("dataset", ["mnist", "cifar10", "fmnist"])
def test_the_rows_of_table_2_have_the_averages_that_the_paper_prints(dataset: str) -> None:
    """A figure that was copied wrongly would move its column's mean; the paper itself misprints two of them."""
    misprinted = {("fmnist", "IF"): 0.2, ("fmnist", "DAGMM"): 0.7}
    for method in paper.METHODS:
        mean = np.mean([TABLE_2[dataset, str(digit)][method].mean for digit in range(10)])
        assert mean == pytest.approx(TABLE_2_AVERAGES[dataset][method], abs=misprinted.get((dataset, method), 0.1))


def test_single_figures_are_the_papers() -> None:
    """Typed here from the paper's pages, apart from the table."""
    assert (TABLE_2["mnist", "8"]["DASVDD"].mean, TABLE_2["mnist", "8"]["DASVDD"].deviation) == (94.2, 1.2)
    assert TABLE_2["cifar10", "0"]["PixCNN"].mean == 78.8
    assert TABLE_2["cifar10", "6"]["OCGAN"].mean == 72.3
    assert TABLE_2["fmnist", "8"]["DASVDD"].mean == 89.4
    assert TABLE_2["pima", "all"]["DASVDD"].mean == 72.2
