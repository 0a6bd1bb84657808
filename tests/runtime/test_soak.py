"""The monitor for a long time."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

SOAK = Path(__file__).parents[2] / "benchmarks" / "soak.py"


@pytest.mark.slow
def test_nothing_grows_in_a_day_of_audio(require_program: Callable[[str], str]) -> None:
    """A day with 24 alarms, 24 reloads and the broker away for a third of it: memory, descriptors and threads stay."""
    require_program("mosquitto")
    # A leak of a kilobyte a window would be 350 MB.
    command = [sys.executable, str(SOAK), "--hours", "24", "--growth-mb", "10"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "24 alarms of 24" in done.stdout
