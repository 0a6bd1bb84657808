"""Paths that are not there: one rule of exit codes for all programs and commands."""

from __future__ import annotations

import importlib
import shutil
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from dasvdd_export.cli import main as export
from dasvdd_runtime.cli import COMMANDS
from dasvdd_runtime.cli import main as monitor
from dasvdd_runtime.signing.cli import main as sign
from dasvdd_train.cli import main as train
from dasvdd_train.reproduction.cli import main as reproduce

PROGRAMS: dict[str, click.Command] = {
    "monitor": monitor,
    "sign": sign,
    "train": train,
    "export": export,
    "reproduce": reproduce,
}
DATA_OR_MODEL = [
    "train nowhere --out out",
    "train here --out out --test-normal nowhere",
    "train here --out out --test-anomalous nowhere",
    "export nowhere",
    "export model.pt --calibration nowhere",
    "export model.pt --recenter nowhere",
    "reproduce table2 --data-dir nowhere",
    "sign sign nowhere --key key.pem",
    "sign sign model.onnx --key nowhere",
    "sign sign model.onnx --key key.pem --passphrase-file nowhere",
    "sign verify nowhere --trusted key.pem",
    "sign verify model.onnx --trusted nowhere",
    "monitor inspect nowhere",
    "monitor verify nowhere",
    "monitor bench nowhere",
    "monitor score nowhere here",
    "monitor score model.onnx nowhere",
    "monitor calibrate monitor.toml --from nowhere --alarms-per-day 20000",
    "monitor alarms --state nowhere",
    "monitor ack 1234 --verdict real --state nowhere",
    "monitor mute pump7 --for 2h --state nowhere",
    "monitor test-alarm --state nowhere",
    "monitor export-labels --out labels.csv --state nowhere",
    "monitor export-labels --out labels.csv --state here --recordings nowhere",
    "monitor run no_model.toml",
    "monitor check no_model.toml",
    "monitor calibrate no_model.toml",
]
CONFIGURATION = [
    "train here --out out --config nowhere",
    "monitor run nowhere",
    "monitor check nowhere",
    "monitor calibrate nowhere",
    "monitor record --config nowhere --out out --minutes 1",
    "monitor alarms --config nowhere",
    "monitor ack 1234 --verdict real --config nowhere",
    "monitor mute pump7 --for 2h --config nowhere",
    "monitor test-alarm --config nowhere",
    "monitor export-labels --out labels.csv --config nowhere",
    "monitor hours --config nowhere",
]
WITHOUT_AN_INPUT = {"init", "devices"}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with everything but `nowhere`."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(Path(__file__).parent / "data" / "schema_1.0" / "audio.onnx", "model.onnx")
    (tmp_path / "here").mkdir()
    for name in ("model.pt", "key.pem"):
        (tmp_path / name).write_bytes(b"")
    source = '[[source]]\nname = "pump7"\nkind = "microphone"\n[state]\ndirectory = "state"\n'
    (tmp_path / "monitor.toml").write_text(f'[model]\npath = "model.onnx"\n{source}')
    (tmp_path / "no_model.toml").write_text(f'[model]\npath = "nowhere"\n{source}')
    return tmp_path


def exit_code(words: str) -> tuple[int, str]:
    program, *arguments = words.split()
    done = CliRunner().invoke(PROGRAMS[program], arguments)
    return done.exit_code, done.output


@pytest.mark.parametrize("words", DATA_OR_MODEL)
def test_data_or_a_model_that_is_not_there_is_66(here: Path, words: str) -> None:
    """And the message names it."""
    code, output = exit_code(words)
    assert code == 66, output
    assert "nowhere" in output


@pytest.mark.parametrize("words", CONFIGURATION)
def test_a_configuration_that_is_not_there_is_78(here: Path, words: str) -> None:
    """As is every configuration that cannot work: systemd does not start it again."""
    code, output = exit_code(words)
    assert code == 78, output
    assert "nowhere: there is no such file" in output


def test_ctrl_c_while_a_command_is_imported_is_130(monkeypatch: pytest.MonkeyPatch) -> None:
    """As later: a script that stops a command need not know how far it had come."""

    def interrupted(name: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(importlib, "import_module", interrupted)
    assert exit_code("monitor calibrate monitor.toml") == (130, "interrupted\n")


def test_a_file_in_the_place_of_a_folder_is_wrong_usage(here: Path) -> None:
    """2, as an option that is not known."""
    assert exit_code("reproduce table2 --data-dir key.pem")[0] == 2
    assert exit_code("train --out")[0] == 2


def test_no_command_is_left_out() -> None:
    """Each command of the monitor stands above, and takes a path or is known to take none."""
    told = {words.split()[1] for words in DATA_OR_MODEL + CONFIGURATION if words.startswith("monitor")}
    assert told | WITHOUT_AN_INPUT == set(COMMANDS)
