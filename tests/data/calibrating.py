"""The command calibrate, and run and check with what it learned: the real programs on a small model."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import soundfile
from click.testing import CliRunner, Result
from dasvdd_runtime import cli
from dasvdd_runtime.thresholds.site_threshold import SiteThreshold, read_site_file
from monitor_child import MONITOR
from tiny_model import TinyModel
from white_noise import RATE_HZ, noise

OFTEN = "20000"
"""Alarms a day that a few seconds can promise."""


def configure(
    folder: Path, more: str = "", *, source: str = 'kind = "file"\npath = "a.wav"', name: str = "pump7"
) -> Path:
    """A monitor.toml with one source and `more` tables."""
    path = folder / "monitor.toml"
    path.write_text(
        f'[model]\npath = "model.onnx"\nprovider = "cpu"\n[[source]]\nname = "{name}"\n{source}\n'
        f'[state]\ndirectory = "state"\n{more}'
    )
    return path


def make_site(tiny_model: TinyModel, folder: Path) -> Path:
    """A folder with a model whose threshold is far too low for the site, and ten seconds of the healthy machine."""
    tiny_model(threshold=0.001)
    soundfile.write(folder / "a.wav", noise(10), RATE_HZ, subtype="FLOAT")
    configure(folder)
    return folder


def command(folder: Path, *arguments: str) -> Result:
    """`calibrate` on the folder's monitor.toml."""
    return CliRunner().invoke(cli.main, ["calibrate", str(folder / "monitor.toml"), *arguments])


def learn(folder: Path, *arguments: str) -> SiteThreshold:
    """Calibrate, and say that what alarmed meanwhile was normal; what is in force then."""
    done = command(folder, "--alarms-per-day", OFTEN, *arguments)
    if done.exit_code == 1:
        assert "the threshold before raised" in done.stderr and "NOT in force" in done.stdout, done.output
        done = command(folder, "--restore")
    assert done.exit_code == 0, done.output
    noted = read_site_file(folder / "state", "pump7")
    assert noted is not None and noted.current is not None
    return noted.current


def run(folder: Path) -> tuple[list[dict[str, Any]], str]:
    """The events of `run` to its end, and what it said to people."""
    done = subprocess.run([*MONITOR, "run", str(folder / "monitor.toml")], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def check(folder: Path) -> str:
    """What `check` prints."""
    return CliRunner().invoke(cli.main, ["check", str(folder / "monitor.toml"), "--seconds", "3"]).output
