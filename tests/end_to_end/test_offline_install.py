"""An installation without a network: the wheelhouse of `scripts/wheelhouse.py`, and what a device does with it."""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import wheelhouse
from dasvdd_runtime.devices.profile import load_profile
from dasvdd_runtime.errors import EXIT_UNAVAILABLE
from dasvdd_runtime.scorer import Scorer

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "tests" / "data" / "schema_1.0" / "audio.onnx"
THIS_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


@functools.cache
def without_network() -> list[str]:
    """What to put before a command so that it has no network; nothing where this user may not do that."""
    command = ["unshare", "--net"]
    allowed = (
        shutil.which("unshare") and not subprocess.run([*command, "true"], capture_output=True, check=False).returncode
    )
    return command if allowed else []


def run(*words: str | Path, cwd: Path, alone: bool = False) -> subprocess.CompletedProcess[str]:
    """Run a command; `alone`: without the checkout, the settings of pip and, where that is allowed, any network."""
    environment = dict(os.environ)
    prefix: list[str] = []
    if alone:
        environment = {name: value for name, value in environment.items() if not name.startswith(("PYTHON", "PIP_"))}
        environment["PIP_CONFIG_FILE"] = os.devnull
        prefix = without_network()
    command = [*prefix, *map(str, words)]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, encoding="utf-8", check=False)


def must_run(*words: str | Path, cwd: Path, alone: bool = False) -> str:
    """Standard output of a command that has to succeed."""
    done = run(*words, cwd=cwd, alone=alone)
    assert done.returncode == 0, f"{words} exited with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def wheelhouse_of(*words: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the script."""
    return run(sys.executable, ROOT / "scripts" / "wheelhouse.py", *words, cwd=cwd)


def tiny_wheel(folder: Path, name: str, *requires: str) -> None:
    """A wheel with nothing but metadata."""
    lines = [f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n", *(f"Requires-Dist: {line}\n" for line in requires)]
    with zipfile.ZipFile(folder / f"{name}-1-py3-none-any.whl", "w") as archive:
        archive.writestr(f"{name}-1.dist-info/METADATA", "".join(lines))


def test_requirements_are_judged_for_the_device(tmp_path: Path) -> None:
    """Markers hold for the device's Python and architecture, through extras and dependencies."""
    tiny_wheel(tmp_path, "dasvdd", "here", 'lost; extra == "cpu"', 'other; extra == "gpu"')
    tiny_wheel(tmp_path, "here", 'old>=2; python_version < "3.12"', 'arm; platform_machine == "aarch64"', "dasvdd")
    device = load_profile("raspberry-pi-5")
    assert set(wheelhouse.missing(tmp_path, "cpu", device, python="3.13")) == {"lost", "arm"}
    assert set(wheelhouse.missing(tmp_path, "cpu", device, python="3.11")) == {"lost", "arm", "old>=2"}
    assert set(wheelhouse.missing(tmp_path, "cpu", load_profile("container"), python="3.12")) == {"lost"}


def test_platforms_are_those_that_the_device_runs() -> None:
    """From the glibc of its oldest system down, and no other architecture."""
    tags = wheelhouse.platforms(load_profile("raspberry-pi-4"))
    assert tags[0] == "manylinux_2_36_aarch64"
    assert {"manylinux_2_28_aarch64", "manylinux2014_aarch64", "linux_aarch64"} <= set(tags)
    assert all(tag.endswith("_aarch64") for tag in tags)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--device", "jetson-orin"], "onnxruntime-gpu: give the file of its wheel with --wheel"),
        (["--device", "raspberry-pi-5", "--provider", "cuda"], "has no CUDA"),
    ],
    ids=["a wheel that no index has", "no GPU"],
)
def test_what_cannot_be_had_is_named(words: list[str], message: str, tmp_path: Path) -> None:
    """One line with the package, exit code 69, and no half of a wheelhouse."""
    done = wheelhouse_of(*words, "--out", tmp_path / "wheels", cwd=tmp_path)
    assert done.returncode == EXIT_UNAVAILABLE
    assert message in done.stderr
    assert not (tmp_path / "wheels").exists()


@pytest.mark.slow
def test_a_package_without_a_wheel_for_the_device_is_named(tmp_path: Path) -> None:
    """Where pip finds none, the error names the package, the architecture and what to do."""
    done = wheelhouse_of(*("--device", "raspberry-pi-5", "--python", "3.7", "--out", tmp_path / "wheels"), cwd=tmp_path)
    assert done.returncode == EXIT_UNAVAILABLE
    assert re.search(r"aarch64, glibc 2\.36 and Python 3\.7:\n.*dasvdd", done.stderr, re.DOTALL)
    assert "--wheel" in done.stderr


@pytest.mark.slow
def test_a_raspberry_pi_finds_everything_in_its_wheelhouse(tmp_path: Path) -> None:
    """pip, told to install for aarch64 from the folder alone, resolves the package with all that a device may need."""
    extras = [word for extra in ("mqtt", "serial", "modbus", "opcua", "metrics", "sign") for word in ("--extra", extra)]
    made = wheelhouse_of("--device", "raspberry-pi-5", *extras, "--out", tmp_path / "wheels", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    requirement = made.stdout.split("'")[-2]
    assert requirement == "dasvdd[cpu,mqtt,serial,modbus,opcua,metrics,sign]"
    for python in load_profile("raspberry-pi-5").pythons:
        platforms = [
            word for tag in wheelhouse.platforms(load_profile("raspberry-pi-5")) for word in ("--platform", tag)
        ]
        report = must_run(
            *(sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed", "--report", "-"),
            *("--no-index", "--find-links", "wheels", "--only-binary=:all:", "--target", tmp_path / "target"),
            *(*platforms, "--python-version", python, "--implementation", "cp", requirement),
            cwd=tmp_path,
            alone=True,
        )
        names = [item["download_info"]["url"].rsplit("/")[-1] for item in json.loads(report)["install"]]
        assert any(name.startswith("onnxruntime-") and "aarch64" in name for name in names)
        assert not any("x86_64" in name for name in names)


@pytest.mark.slow
def test_an_x86_machine_is_installed_offline_and_scores(tmp_path: Path, require_program: Callable[[str], str]) -> None:
    """Wheelhouse, checksums, a fresh environment without an index, init, and the same scores as here."""
    stick, device = tmp_path / "stick", tmp_path / "device"
    device.mkdir()
    made = wheelhouse_of(
        *(
            "--device",
            "x86-industrial-pc",
            *("--extra", "mqtt", "--extra", "metrics"),
            "--python",
            THIS_PYTHON,
            "--out",
            stick / "wheels",
        ),
        cwd=tmp_path,
    )
    assert made.returncode == 0, made.stderr
    must_run(require_program("sha256sum"), "-c", "SHA256SUMS", cwd=stick / "wheels")
    must_run(sys.executable, "-m", "venv", device / "venv", cwd=device, alone=True)
    programs = device / "venv" / "bin"
    must_run(
        *(programs / "python", "-m", "pip", "install", "--no-index", "--find-links", stick / "wheels"),
        "dasvdd[cpu,mqtt,metrics]",
        cwd=device,
        alone=True,
    )
    listed = must_run(programs / "dasvdd-monitor", "init", "--list", cwd=device, alone=True)
    assert "x86-industrial-pc" in listed
    must_run(
        *(
            programs / "dasvdd-monitor",
            "init",
            "--device",
            "x86-industrial-pc",
            "--broker",
            "b",
            "--yes",
            "--out",
            stick,
        ),
        cwd=device,
        alone=True,
    )
    assert "pip install --no-index --find-links wheels 'dasvdd[cpu,mqtt,metrics]'" in (stick / "INSTALL.md").read_text()
    scorer = Scorer(MODEL)
    samples = (0.1 * np.random.default_rng(0).standard_normal((64000, scorer.metadata.channels))).astype(np.float32)
    soundfile.write(device / "noise.wav", samples, round(scorer.metadata.sample_rate_hz), subtype="FLOAT")
    output = must_run(
        *(programs / "dasvdd-monitor", "score", MODEL, "noise.wav", "--format", "jsonl"), cwd=device, alone=True
    )
    windows = [line for line in map(json.loads, output.splitlines()) if line["type"] == "window"]
    np.testing.assert_allclose([window["score"] for window in windows], scorer.score_signal(samples).score, rtol=1e-6)
