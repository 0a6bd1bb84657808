"""What all commands of dasvdd-monitor share: exit codes, pipes, interrupts, help."""

from __future__ import annotations

import signal
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import click
import pytest
import soundfile
from click.testing import CliRunner
from dasvdd_runtime import __version__, cli
from dasvdd_runtime.cli.common import reports_errors
from dasvdd_runtime.errors import ConfigError
from monitor_child import MONITOR
from white_noise import RATE_HZ, noise


def test_a_reader_that_goes_away_is_no_error(tiny_model: Any, tmp_path: Path) -> None:
    """`| head -1` ends the program with 141 and nothing on standard error."""
    wav = tmp_path / "long.wav"
    soundfile.write(wav, noise(300), RATE_HZ)
    with subprocess.Popen(
        [*MONITOR, "score", str(tiny_model()), str(wav)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(20) == 141


def test_control_c_ends_cleanly(tiny_model: Any, tmp_path: Path) -> None:
    """An interrupt exits with 130, one word and no traceback."""
    wav = tmp_path / "long.wav"
    soundfile.write(wav, noise(300), RATE_HZ)
    with subprocess.Popen(
        [*MONITOR, "score", str(tiny_model()), str(wav)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # A shell lets its background jobs, and what they start, ignore interrupts.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()  # it is scoring, and soon waits for the pipe
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        assert process.stderr.read() == b"interrupted\n"
        assert process.wait(20) == 130


def test_any_other_exception_keeps_its_traceback() -> None:
    """A fault of the program is not dressed up as one of the user."""

    @reports_errors
    def faulty() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        faulty()


def test_a_dasvdd_error_becomes_its_exit_code() -> None:
    """The decorator alone makes a click command report: one line, the error's code."""

    @click.command()
    @reports_errors
    def command() -> None:
        raise ConfigError("k = 5 of n = 3")

    result = CliRunner().invoke(command)
    assert (result.exit_code, result.stderr) == (78, "error: k = 5 of n = 3\n")


@pytest.mark.parametrize("command", list(cli.COMMANDS))
def test_every_command_has_help_with_examples(command: str) -> None:
    """--help works for each command of the table and shows how it is called."""
    result = CliRunner().invoke(cli.main, [command, "--help"])
    assert result.exit_code == 0, result.output
    assert f"dasvdd-monitor {command}" in result.output.split("Examples:")[1]


def test_help_and_version_of_the_program() -> None:
    """The group lists its commands and knows its version."""
    listed = CliRunner().invoke(cli.main, ["--help"]).output
    assert all(name in listed for name in cli.COMMANDS)
    assert __version__ in CliRunner().invoke(cli.main, ["--version"]).output


def test_an_unknown_command_names_the_nearest() -> None:
    """A slip of the keyboard is answered with the command that was meant."""
    result = CliRunner().invoke(cli.main, ["scroe"])
    assert result.exit_code == 2
    assert "Did you mean 'score'?" in result.stderr
