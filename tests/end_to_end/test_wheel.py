"""What a device gets: the wheel with `[cpu]` alone, in an environment of its own, away from the checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from dasvdd_runtime.errors import EXIT_UNAVAILABLE
from dasvdd_runtime.scorer import Scorer

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "tests" / "data" / "schema_1.0" / "audio.onnx"
PROGRAMS = ("dasvdd-monitor", "dasvdd-train", "dasvdd-export", "dasvdd-sign")
NOT_ON_A_DEVICE = ("torch", "onnx", "scipy", "librosa", "matplotlib", "sklearn", "rich")


def run(*words: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command in `cwd` without the variables through which the checkout could be found."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run(
        list(map(str, words)), cwd=cwd, env=environment, capture_output=True, encoding="utf-8", check=False
    )


def must_run(*words: str | Path, cwd: Path) -> str:
    """Standard output of a command that has to succeed."""
    done = run(*words, cwd=cwd)
    assert done.returncode == 0, f"{words} exited with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the checkout with the build back end of this environment."""
    folder = tmp_path_factory.mktemp("wheel")
    must_run(
        *(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", folder, ROOT),
        cwd=folder,
    )
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def device(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` folder of a fresh virtual environment with the wheel and its `[cpu]` extra."""
    folder = tmp_path_factory.mktemp("device")
    venv.create(folder / "venv", symlinks=True)
    programs = folder / "venv" / "bin"
    pip = (sys.executable, "-m", "pip", "--python", programs / "python")
    must_run(*pip, "install", "--quiet", "-c", ROOT / "constraints.txt", f"{wheel}[cpu]", cwd=folder)
    return programs


def test_the_wheel_holds_the_packages_their_types_and_the_device_profiles(wheel: Path) -> None:
    """Three packages with py.typed, every file of the page and of firmware_configs beside the runtime, and no tests."""
    names = set(zipfile.ZipFile(wheel).namelist())
    for package in ("dasvdd_runtime", "dasvdd_train", "dasvdd_export"):
        assert {f"{package}/__init__.py", f"{package}/py.typed"} <= names
    web = ROOT / "runtime" / "dasvdd_runtime" / "endpoint" / "web"
    assert {f"dasvdd_runtime/endpoint/web/{path.name}" for path in web.iterdir()} <= names
    profiles = ROOT / "firmware_configs"
    expected = {
        f"dasvdd_runtime/firmware_configs/{path.relative_to(profiles).as_posix()}"
        for path in profiles.rglob("*")
        if path.is_file()
    }
    assert {name for name in names if "firmware_configs" in name} == expected
    assert {name.split("/")[0].split("-")[0] for name in names} == {
        *("dasvdd_runtime", "dasvdd_train", "dasvdd_export", "dasvdd")
    }


@pytest.mark.parametrize("module", NOT_ON_A_DEVICE)
def test_a_device_does_not_carry(module: str, device: Path, tmp_path: Path) -> None:
    """Nothing that belongs to training or export is importable."""
    done = run(device / "python", "-c", f"import {module}", cwd=tmp_path)
    assert done.returncode == 1
    assert f"No module named '{module}'" in done.stderr


def test_the_device_imports_the_installed_runtime_and_not_the_checkout(device: Path, tmp_path: Path) -> None:
    """Otherwise the other tests here would prove nothing."""
    where = must_run(device / "python", "-c", "import dasvdd_runtime; print(dasvdd_runtime.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(device.parent)


def test_the_device_scores_a_recording_as_this_environment_does(device: Path, tmp_path: Path) -> None:
    """`dasvdd-monitor score` on a WAV: one line for every whole window, with the scores of the full installation."""
    scorer = Scorer(MODEL)
    metadata = scorer.metadata
    rate_hz = round(metadata.sample_rate_hz)
    frames = metadata.window_samples + 5 * metadata.window_hop_samples + metadata.window_hop_samples // 2
    samples = (0.1 * np.random.default_rng(0).standard_normal((frames, metadata.channels))).astype(np.float32)
    soundfile.write(tmp_path / "noise.wav", samples, rate_hz, subtype="FLOAT")
    output = must_run(device / "dasvdd-monitor", "score", MODEL, "noise.wav", "--format", "jsonl", cwd=tmp_path)
    lines = [json.loads(line) for line in output.splitlines()]
    scores = [line["score"] for line in lines if line["type"] == "window"]
    assert len(scores) == 6
    np.testing.assert_allclose(scores, scorer.score_signal(samples).score, rtol=1e-6)


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_works_on_a_device(program: str, device: Path, tmp_path: Path) -> None:
    """Also of the programs whose packages are not there."""
    assert "Usage:" in must_run(device / program, "--help", cwd=tmp_path)


@pytest.mark.parametrize(
    ("command", "extra"),
    [(("dasvdd-train", ".", "--out", "run"), "train"), (("dasvdd-export", "model.pt"), "export")],
    ids=["train", "export"],
)
def test_a_missing_extra_is_one_line_with_the_pip_command(
    command: tuple[str, ...], extra: str, device: Path, tmp_path: Path
) -> None:
    """No traceback; the exit code says that something is not installed."""
    (tmp_path / "model.pt").write_bytes(b"")
    done = run(device / command[0], *command[1:], cwd=tmp_path)
    assert done.returncode == EXIT_UNAVAILABLE
    assert f"pip install 'dasvdd[{extra}]'" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
