"""What tests of every stage share."""

from __future__ import annotations

import ctypes.util
import os
import shutil
from collections.abc import Callable

import pytest
from hypothesis import settings

# Before torch is imported: threads that wait for each other by spinning take the processor from all that runs beside.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# A busy machine is no fault of the code; under continuous integration the same examples each time.
settings.register_profile("project", deadline=None, derandomize=os.environ.get("CI") == "true")
settings.load_profile("project")


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
