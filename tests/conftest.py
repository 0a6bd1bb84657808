"""What tests of every stage share."""

from __future__ import annotations

import ctypes.util
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
from filelock import FileLock
from hypothesis import settings
from make_tiny_models import make_audio, make_sensor

# Before torch is imported: threads that wait for each other by spinning take the processor from all that runs beside.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# A busy machine is no fault of the code; under continuous integration the same examples each time.
settings.register_profile("project", deadline=None, derandomize=os.environ.get("CI") == "true")
settings.load_profile("project")


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Literal["audio", "sensor"], Path], Path]:
    """`tiny_run("audio", folder)` is a run of its own in `folder`: trained and exported once for all processes."""
    own = tmp_path_factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own

    def copy(kind: Literal["audio", "sensor"], folder: Path) -> Path:
        made = shared / f"tiny_{kind}"
        with FileLock(shared / f"tiny_{kind}.lock"):
            if not made.exists():
                making = tmp_path_factory.mktemp(kind)
                {"audio": make_audio, "sensor": make_sensor}[kind](making)
                made.symlink_to(making)
        return Path(shutil.copytree(made / "run", folder / "run"))

    return copy


@pytest.fixture
def require_program() -> Callable[[str], str]:
    """`require_program("pactl")` is its path; without it the test skips, or fails under continuous integration."""

    def find(name: str) -> str:
        return shutil.which(name) or _absent(f"the program '{name}' is not installed")

    return find


@pytest.fixture
def require_library() -> Callable[[str], str]:
    """`require_library("portaudio")` is its file's name; without it as `require_program`."""

    def find(name: str) -> str:
        return ctypes.util.find_library(name) or _absent(f"the library '{name}' is not installed")

    return find


def _absent(reason: str) -> str:
    """End the test, since a part that it needs is missing: a failure where CI=true, else a skip."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{reason}, and under CI nothing may be skipped")
    pytest.skip(reason)
