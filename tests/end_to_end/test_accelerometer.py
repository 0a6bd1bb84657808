"""An accelerometer's CSV, trained, exported and watched through standard input."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dasvdd_runtime import Scorer
from make_tiny_models import SENSOR_RATE_HZ, write_sensor

FAULT_SECONDS = 30.0


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, tiny_run: Callable[..., Path]) -> Path:
    """A model of a healthy machine's three axes."""
    return tiny_run("sensor", tmp_path_factory.mktemp("sensor")) / "model.onnx"


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A minute of CSV rows in which the machine begins to shake three times as much at 30 s."""
    folder = tmp_path_factory.mktemp("rows")
    write_sensor(folder / "healthy", files=1, seconds=FAULT_SECONDS, seed=7)
    write_sensor(folder / "faulty", files=1, seconds=FAULT_SECONDS, swing=3.0, seed=8)
    healthy, faulty = ((folder / name / "normal_0.csv").read_text() for name in ("healthy", "faulty"))
    return healthy + faulty.split("\n", 1)[1]


def watch(model: Path, rows: str, folder: Path) -> list[dict[str, Any]]:
    config = folder / "monitor.toml"
    config.write_text(
        f'[model]\npath = "{model}"\n[[source]]\nname = "fan"\nkind = "stdin"\nformat = "csv"\n'
        "[events]\nscores = true\n"
    )
    command = [sys.executable, "-c", "from dasvdd_runtime.cli import main; main()", "run", str(config)]
    done = subprocess.run(command, input=rows, capture_output=True, text=True, timeout=60, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_shaking_raises_one_alarm_that_names_its_axes(model: Path, rows: str, tmp_path: Path) -> None:
    """One alarm, within seconds of the change, carried by the axes that shake and not by the one that does not."""
    events = watch(model, rows, tmp_path)
    raised = [event for event in events if event["event"] == "alarm_raised"]
    assert len(raised) == 1
    assert FAULT_SECONDS < raised[0]["stream_seconds"] < FAULT_SECONDS + 5
    assert {band["name"] for band in raised[0]["bands"][:2]} == {"x", "y"}


def test_stream_scores_what_the_whole_table_scores(model: Path, rows: str, tmp_path: Path) -> None:
    """Row by row through a pipe, each window scores what the whole table scores at once."""
    streamed = [event["score"] for event in watch(model, rows, tmp_path) if event["event"] == "score"]
    table = np.loadtxt(rows.splitlines(), delimiter=",", skiprows=1, dtype=np.float32)
    scorer = Scorer(model, provider="cpu")
    assert scorer.metadata.sample_rate_hz == SENSOR_RATE_HZ
    np.testing.assert_allclose(streamed, scorer.score_signal(table).score, rtol=1e-6)


def test_a_broken_row_is_never_normal(model: Path, rows: str, tmp_path: Path) -> None:
    """A row that holds no number is a fault of the source: said, and not scored as normal."""
    lines = rows.splitlines()
    lines[200] = "nan,nan,nan"
    events = watch(model, "\n".join(lines) + "\n", tmp_path)
    assert any(event["event"] == "source_state" and event["state"] == "FAULT" for event in events)
    (stopped,) = [event for event in events if event["event"] == "summary" and event["source"] == "fan"][-1:]
    assert stopped["windows_withheld"] >= 2


@pytest.mark.parametrize("sent", ["", "x,y,z\n0.1,0.1,1\n", "0.1,0.1,ERR\n" * 100])
def test_a_reader_that_gives_nothing_is_no_success(model: Path, sent: str, tmp_path: Path) -> None:
    """A pipe that ends before a window could be judged exits with 65, so that a service manager sees it."""
    with pytest.raises(subprocess.CalledProcessError) as caught:
        watch(model, sent, tmp_path)
    assert caught.value.returncode == 65
    assert "ended before a window could be judged" in caught.value.stderr
