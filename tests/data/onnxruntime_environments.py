"""Virtual environments with one version of onnxruntime and what the runtime needs beside it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYTHONS_OF_THE_OLDEST = ("3.11", "3.12")
"""onnxruntime 1.17.3 and numpy 1.26 have wheels for no newer Python."""


@dataclass(frozen=True)
class Environment:
    """The interpreter of an environment."""

    python: Path
    requirements: list[str]
    """As pip takes them."""

    def run(self, *words: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
        """Run this Python with `words`; of the checkout, it sees the runtime alone."""
        settings = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        settings["PYTHONPATH"] = str(ROOT / "runtime")
        command = [str(self.python), *map(str, words)]
        return subprocess.run(command, cwd=cwd, env=settings, capture_output=True, encoding="utf-8", check=False)

    def monitor(self, *words: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
        """`dasvdd-monitor` with `words`."""
        code = "from dasvdd_runtime.cli import main; main(prog_name='dasvdd-monitor')"
        return self.run("-c", code, *words, cwd=cwd)


def oldest(folder: Path) -> Environment:
    """Every package that a device needs at the lowest version that pyproject.toml allows, made once in `folder`.

    The test skips where no Python that these have wheels for is on this machine.
    """
    lowest = [line.replace(">=", "==") for line in runtime_requirements()]
    return _made_once(folder, _python_for_the_oldest(), [f"{line}.*" if "numpy" in line else line for line in lowest])


def newest(folder: Path) -> Environment:
    """The newest onnxruntime and numpy that pip finds for this Python, looked up anew each time, in `folder`."""
    made = _made_once(folder, sys.executable, runtime_requirements())
    _pip(made, "--upgrade", "onnxruntime", "numpy")
    return made


def runtime_requirements() -> list[str]:
    """What pyproject.toml says that a device without a GPU needs."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [*project["dependencies"], *project["optional-dependencies"]["cpu"]]


def _made_once(folder: Path, python: str, requirements: list[str]) -> Environment:
    environment = Environment(folder / "bin" / "python", requirements)
    contents = "\n".join([python, *requirements])
    complete = folder / "complete.txt"  # written last, so that an interrupted installation is made again
    if complete.exists() and complete.read_text(encoding="utf-8") == contents:
        return environment
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([python, "-m", "venv", "--without-pip", str(folder)], check=True)
    _pip(environment, *requirements)
    complete.write_text(contents, encoding="utf-8")
    return environment


def _pip(environment: Environment, *words: str) -> None:
    command = [sys.executable, "-m", "pip", "--python", str(environment.python), "install", "--quiet", "--no-compile"]
    command += ["--disable-pip-version-check", "--only-binary=:all:", *words]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, f"pip install {' '.join(words)}:\n{done.stderr}"


def _python_for_the_oldest() -> str:
    for python in (sys.executable, *(f"python{version}" for version in PYTHONS_OF_THE_OLDEST)):
        code = "import sys, venv; print('%d.%d' % sys.version_info[:2])"
        path = shutil.which(python)
        if path and subprocess.run([path, "-c", code], capture_output=True, text=True).stdout.strip() in (
            PYTHONS_OF_THE_OLDEST
        ):
            return path
    # No failure under CI either: nothing that could be installed there would let this Python run it.
    pytest.skip(
        f"onnxruntime 1.17.3 and numpy 1.26 have wheels for Python {' and '.join(PYTHONS_OF_THE_OLDEST)} alone; this "
        f"is {sys.version_info.major}.{sys.version_info.minor}, and none of those is on PATH"
    )
