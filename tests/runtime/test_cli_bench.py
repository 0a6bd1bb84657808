"""`dasvdd-monitor bench`: what it measures."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from dasvdd_runtime import cli


@pytest.mark.parametrize("kind", ["audio", "sensor"])
def test_bench_measures_what_it_prints(tiny_model: Any, kind: str) -> None:
    """Both batch sizes, consistent numbers, and memory that agrees with the kernel's own account."""
    arguments = ["bench", str(tiny_model(kind=kind)), "--seconds", "0.1", "--provider", "cpu"]
    result = CliRunner().invoke(cli.main, [*arguments, "--format", "json"])
    assert result.exit_code == 0, result.output
    measured = json.loads(result.stdout)
    one, many = measured["timings"]
    assert (one["batch"], many["batch"]) == (1, 64)
    for timing in (one, many):
        assert 0 < timing["p50_milliseconds"] <= timing["p99_milliseconds"]
        assert timing["windows_per_second"] == pytest.approx(1000 * timing["batch"] / timing["p50_milliseconds"])
        assert timing["times_real_time"] == pytest.approx(0.05 * timing["windows_per_second"])
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    assert many["memory_megabytes"]["resident"] == pytest.approx(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, rel=0.1)
    table = CliRunner().invoke(cli.main, arguments).output
    assert "CPUExecutionProvider" in table
    assert "MB resident" in table
