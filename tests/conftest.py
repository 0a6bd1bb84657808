"""What tests of every stage share."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable

import pytest


@pytest.fixture
def require_program() -> Callable[[str], str]:
    """`require_program("pactl")` is its path; without it the test skips here and fails under continuous integration."""

    def find(name: str) -> str:
        path = shutil.which(name)
        if path is None:
            absent(f"the program '{name}' is not installed")
        assert path is not None
        return path

    return find


def absent(reason: str) -> None:
    """End the test since a part that it needs is missing: a failure where CI=true, else a skip."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{reason}, and under CI nothing may be skipped")
    pytest.skip(reason)
