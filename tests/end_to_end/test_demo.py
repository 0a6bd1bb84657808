"""`make demo DATA=folder` on small simulated recordings, with the real programs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import simulated_machine as machine
import soundfile
from alarm_views import Replay, chart

ROOT = Path(__file__).parents[2]


def demo(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the demonstration as make does, but in `cwd`."""
    words = [sys.executable, str(ROOT / "scripts" / "demo.py"), *arguments]
    return subprocess.run(words, cwd=cwd, capture_output=True, encoding="utf-8", check=False)


def write_wav(path: Path, samples: machine.Samples) -> None:
    """Write 16-bit audio, with its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, machine.SAMPLE_RATE_HZ, subtype="PCM_16")


@pytest.mark.slow
def test_it_raises_an_alarm_on_the_fault_and_none_on_another_healthy_recording(tmp_path: Path) -> None:
    """Two recordings under faulty/, one of them healthy, names with a space and brackets: one verdict each."""
    for seed in range(1, 5):
        write_wav(tmp_path / "my data" / "normal" / f"{seed}.wav", machine.healthy(seconds=20, seed=seed))
    fault = machine.developing_fault(seconds=40, fault_onset_seconds=-40, seed=9)
    write_wav(tmp_path / "my data" / "faulty" / "june [a]" / "bearing 1.wav", fault)
    write_wav(tmp_path / "my data" / "faulty" / "quiet.wav", machine.healthy(seconds=20, seed=10))
    done = demo("my data", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "june [a]/bearing 1.wav: alarm at 0:0" in done.stdout
    assert "quiet.wav: no alarm" in done.stdout
    assert "$ dasvdd-train 'my data/normal' --out demo_output/run" in done.stdout
    for left in ("run/model.pt", "run/model.onnx", "run/report.html", "events.jsonl", "alarm.png"):
        assert f"demo_output/{left}" in done.stdout
        assert (tmp_path / "demo_output" / left).stat().st_size > 1000


@pytest.mark.parametrize("missing", ["normal", "faulty"])
def test_a_missing_folder_is_named_with_what_belongs_there(missing: str, tmp_path: Path) -> None:
    """Exit code 66 (no input), before anything is trained."""
    there = {"normal": "faulty", "faulty": "normal"}[missing]
    write_wav(tmp_path / "data" / there / "a.wav", np.zeros(100, np.float32))
    done = demo("data", cwd=tmp_path)
    assert done.returncode == 66
    assert f"data/{missing} is not there" in done.stderr
    assert "dasvdd-train" not in done.stdout


@pytest.mark.slow
def test_a_step_that_fails_ends_the_demonstration_with_its_exit_code(tmp_path: Path) -> None:
    """Silent recordings cannot be trained on: 65, as dasvdd-train says, and no export after that."""
    for folder in ("normal", "faulty"):
        write_wav(tmp_path / folder / "silence.wav", np.zeros(16_000 * 5, np.float32))
    done = demo(".", cwd=tmp_path)
    assert done.returncode == 65
    assert "silent" in done.stderr
    assert "dasvdd-train stopped with exit code 65" in done.stderr
    assert "dasvdd-export" not in done.stdout


REPLAY = Replay(
    name="x.wav",
    threshold=2.0,
    times=np.arange(1.0, 101.0),
    smoothed_scores=np.where(np.arange(1.0, 101.0) > 50, 6.0, 1.0),
    alarms=[53.0],
    bands=[],
    onset_seconds=50.0,
)


@pytest.mark.parametrize("width", [20, 80, 200])
@pytest.mark.parametrize("unicode", [True, False])
def test_the_chart_keeps_to_its_width_and_character_set(width: int, unicode: bool) -> None:
    """No line is longer than the terminal is wide, and a terminal without Unicode gets ASCII."""
    lines = chart(REPLAY, width=width, unicode=unicode)
    assert max(map(len, lines)) <= max(width, 30)
    assert unicode or "".join(lines).isascii()


def test_the_chart_rises_where_the_score_does() -> None:
    """One column a second: those of windows that end after 50 s fill the chart, the others stay below the threshold."""
    lines = chart(REPLAY, width=108, unicode=True)
    top, threshold = lines[0][8:], next(line for line in lines if line.startswith("alarm >"))[8:]
    assert top == " " * 51 + "█" * 49
    assert threshold == "┄" * 51 + "█" * 49


def test_the_verdict_says_how_long_after_the_onset() -> None:
    """Times are minutes and seconds; an alarm before the onset is called false."""
    assert REPLAY.verdict() == "alarm at 0:53, 3 s after the fault began at 0:50"
    early = Replay(**{**vars(REPLAY), "alarms": [20.0, 53.0]})
    assert early.verdict() == "FALSE alarm at 0:20 (2 in all), 30 s before the fault began at 0:50"
