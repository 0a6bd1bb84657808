"""dasvdd-reproduce interrupted in the middle of a stack goes on where it was, bit for bit."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from dasvdd_train.reproduction import unfinished
from dasvdd_train.reproduction.cells import Cell
from dasvdd_train.reproduction.cli import main
from dasvdd_train.reproduction.results import Result, Results
from dasvdd_train.reproduction.runner import Library, run_cells
from dasvdd_train.reproduction.settings import settings_for
from small_pima import write_pima


class Killed(Exception):
    """Stands for the end of the process."""


class Listening:
    """Notes what a run tells, and ends it after the epoch `kill_after` of a stack's first model."""

    def __init__(self, kill_after: int | None = None) -> None:
        self.kill_after = kill_after
        self.epochs: list[int] = []
        self.done: list[str] = []
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)

    def begin(self, cells: Sequence[Cell], finished: Sequence[Result]) -> None:
        self.finished = len(finished)

    def underway(self, cells: Sequence[Cell], epoch: int) -> None:
        self.epochs.append(epoch)
        if epoch == self.kill_after:
            raise Killed

    def cell(self, cell: Cell, result: Result) -> None:
        self.done.append(cell.key)

    def failed(self, cell: Cell, reason: str) -> None:
        raise AssertionError(reason)


def cells(epochs: Sequence[int] = (6, 3, 6, 6, 6)) -> list[Cell]:
    """A cell a seed, the second of other length than the others."""
    return [Cell("pima", "all", "dasvdd", seed, settings_for("pima", {"epochs": n})) for seed, n in enumerate(epochs)]


def run(folder: Path, out: str, listening: Listening, stack: int = 4) -> None:
    (folder / out).mkdir(exist_ok=True)
    run_cells(cells(), Library(folder), Results(folder / out), listening, device="cpu", stack=stack)


def found(out: Path) -> dict[str, tuple[float, float, bytes]]:
    """Key of each finished cell -> its AUC, gamma and scores; no cell stands there twice."""
    lines = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    assert len({line["key"] for line in lines}) == len(lines)
    scores = {line["key"]: np.load(out / "scores" / f"{line['key']}.npz")["score"].tobytes() for line in lines}
    return {line["key"]: (line["auc"], line["gamma"], scores[line["key"]]) for line in lines}


def test_an_interrupted_stack_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the epoch that was next, as the stack that it was, and without its finished cell a second time."""
    monkeypatch.setattr(unfinished, "EVERY_SECONDS", 0.0)
    write_pima(tmp_path)
    run(tmp_path, "quiet", Listening())
    with pytest.raises(Killed):
        run(tmp_path, "out", Listening(kill_after=5))
    assert len(found(tmp_path / "out")) == 1
    again = Listening()
    run(tmp_path, "out", again, stack=2)
    assert again.said == ["going on after epoch 5 with 4 models whose training was interrupted"]
    assert again.epochs == [6, 1, 2, 3, 4, 5, 6]
    assert (again.finished, len(again.done)) == (1, 4)
    assert found(tmp_path / "out") == found(tmp_path / "quiet")
    assert not list((tmp_path / "out" / "unfinished").iterdir())


def test_what_cannot_go_on_begins_anew(tmp_path: Path) -> None:
    """A damaged file and one of other data are named and removed; the cells are those of a quiet run."""
    write_pima(tmp_path)
    run(tmp_path, "quiet", Listening())
    for out, damage in (("cut", True), ("other", False)):
        write_pima(tmp_path, seed=0 if damage else 1)
        with pytest.raises(Killed):
            run(tmp_path, out, Listening(kill_after=2))
        (path,) = (tmp_path / out / "unfinished").iterdir()
        if damage:
            path.write_bytes(path.read_bytes()[:5000])
        write_pima(tmp_path)
        again = Listening()
        run(tmp_path, out, again)
        assert len(again.said) == 1
        assert str(path) in again.said[0]
        assert again.epochs[0] == 1
        assert found(tmp_path / out) == found(tmp_path / "quiet")


class Failing(Listening):
    """Notes what fails, too."""

    def failed(self, cell: Cell, reason: str) -> None:
        self.said.append(f"seed {cell.seed}: {reason}")


def test_a_model_that_left_its_stack_without_a_result_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Results that are lost beside a stack that goes on are no silence: the next run trains that cell anew."""
    monkeypatch.setattr(unfinished, "EVERY_SECONDS", 0.0)
    write_pima(tmp_path)
    with pytest.raises(Killed):
        run(tmp_path, "out", Listening(kill_after=5))
    (tmp_path / "out" / "results.jsonl").unlink()
    again = Failing()
    run(tmp_path, "out", again)
    assert len(again.done) == 4
    assert again.said[1].startswith("seed 1: it left its stack before the interruption")
    last = Listening()
    run(tmp_path, "out", last)
    assert (last.finished, len(last.done)) == (4, 1)


def test_stacks_of_another_command_are_left_alone(tmp_path: Path) -> None:
    """Cells that were not asked for now are neither trained nor lost."""
    write_pima(tmp_path)
    with pytest.raises(Killed):
        run(tmp_path, "out", Listening(kill_after=2))
    (path,) = (tmp_path / "out" / "unfinished").iterdir()
    other = Listening()
    run_cells(cells()[1:2], Library(tmp_path), Results(tmp_path / "out"), other, device="cpu", stack=4)
    assert len(other.done) == 1
    assert path.exists()


def arguments(data: Path, out: Path) -> list[str]:
    options = ["--datasets", "pima", "--seeds", "6", "--epochs", "150", "--stack", "3", "--device", "cpu"]
    return ["table2", "--data-dir", str(data), "--out", str(out), *options]


def start(data: Path, out: Path) -> subprocess.Popen[str]:
    # A shell's background job, in which these tests may run, ignores Ctrl-C, and so would its children.
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    code += "from dasvdd_train.reproduction import unfinished; unfinished.EVERY_SECONDS = 0.0; "
    code += "from dasvdd_train.reproduction.cli import main; main(prog_name='dasvdd-reproduce')"
    command = [sys.executable, "-c", code, *arguments(data, out)]
    return subprocess.Popen(command, text=True, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)


@pytest.mark.slow
def test_the_program_killed_in_a_stack_ends_with_the_same_results(tmp_path: Path) -> None:
    """SIGKILL in the first stack and Ctrl-C in the second: every score is that of a quiet run, bit for bit."""
    write_pima(tmp_path)
    rough = tmp_path / "rough"
    for number, stacks_before in ((signal.SIGKILL, 0), (signal.SIGINT, 1)):
        process = start(tmp_path, rough)
        while process.poll() is None:
            finished = len(found(rough)) if (rough / "results.jsonl").exists() else 0
            if finished == 3 * stacks_before and list((rough / "unfinished").glob("*.pt")):
                break
            time.sleep(0.002)
        process.send_signal(number)
        _, stderr = process.communicate(timeout=60)
        assert process.returncode == (-9 if number is signal.SIGKILL else 130), stderr
        assert list((rough / "unfinished").glob("*.pt")), "killed too late: the stack had ended"
    for out in (rough, tmp_path / "quiet"):
        done = CliRunner().invoke(main, arguments(tmp_path, out))
        assert done.exit_code == 0, done.stderr
    assert found(rough) == found(tmp_path / "quiet")
    assert not list((rough / "unfinished").iterdir())
