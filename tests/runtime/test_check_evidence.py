"""What `dasvdd-monitor check` says of [evidence]: what is kept, where, and how long there is room."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import soundfile
from click.testing import CliRunner
from dasvdd_runtime import cli
from dasvdd_runtime.cli.check_evidence import clip_bytes
from dasvdd_runtime.evidence.tables import EvidenceTable
from dasvdd_runtime.scorer import Scorer
from evidence_parts import FAULT, RATE_HZ
from monitor_child import MONITOR


@pytest.fixture
def site(tiny_model: Any, tmp_path: Path) -> Path:
    """A folder with a model and a recording with a fault."""
    tiny_model(threshold=0.02)
    soundfile.write(tmp_path / "a.wav", FAULT, RATE_HZ, "PCM_16")
    return tmp_path


def configure(site: Path, text: str, *, source: str = "") -> Path:
    """A monitor.toml of two replays, the second with the further keys `source`, and the further tables `text`."""
    path = site / "monitor.toml"
    first = '[[source]]\nname = "pump7"\nkind = "file"\npath = "a.wav"\npace = "fast"\n'
    path.write_text(
        f'[model]\npath = "model.onnx"\nprovider = "cpu"\n{first}{first.replace("pump7", "fan")}{source}\n{text}'
    )
    return path


def said(site: Path, text: str, *, source: str = "") -> tuple[list[str], int]:
    """The lines about evidence, and the exit code."""
    result = CliRunner().invoke(cli.main, ["check", str(configure(site, text, source=source)), "--seconds", "2"])
    return [line for line in result.stdout.splitlines() if line[9:].startswith("evidence")], result.exit_code


def test_what_is_kept_of_each_source_is_said(site: Path) -> None:
    """Mode and folder, so that nobody records voices without knowing; nothing is written."""
    lines, code = said(site, '[evidence]\ndirectory = "clips"\nmode = "audio"\n', source='evidence = "spectrogram"')
    assert "pump7: the samples (audio; of a microphone voices too)" in lines[0]
    assert "fan: a spectrogram (no speech" in lines[0]
    assert str(site / "clips") in lines[0]
    assert lines[1].startswith("ok ") and "can be written" in lines[1]
    assert "a clip of 60 s of pump7 takes up to" in lines[2] and "older than 30 days" in lines[2]
    assert code == 0
    assert not (site / "clips").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [("", "no state directory"), ('[evidence]\nmode = "none"\n[state]\ndirectory = "s"', "mode is none")],
)
def test_where_nothing_is_kept_that_is_said(site: Path, text: str, words: str) -> None:
    """One line that says why, and nothing of room."""
    (line,), _ = said(site, text)
    assert line.startswith("ok ") and words in line


def test_a_folder_that_cannot_be_written_fails(site: Path) -> None:
    """As `run` would: a configuration that cannot work."""
    lines, code = said(site, '[evidence]\ndirectory = "a.wav/clips"\n')
    assert lines[1].startswith("FAIL") and "cannot be written" in lines[1]
    assert code == 78


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ("min_free_bytes = 1000000000000000", "no clip can be kept"),
        ("max_bytes = 1000000000000000", "the disk takes"),
        ('mode = "audio"\nmax_seconds = 3600\nmax_bytes = 1000000', "it would be lost"),
    ],
)
def test_too_little_room_is_a_warning(site: Path, keys: str, words: str) -> None:
    """Monitoring would begin all the same: both numbers are told, and the exit code stays 0."""
    lines, code = said(site, f'[evidence]\ndirectory = "clips"\n{keys}\n')
    assert lines[-1].startswith("warning") and words in lines[-1]
    assert lines[-1].count("GB") + lines[-1].count("MB") >= 2
    assert code == 0


@pytest.mark.parametrize("mode", ["audio", "spectrogram"])
def test_a_clip_takes_no_more_than_was_said(site: Path, mode: Any) -> None:
    """What a replay really leaves on the disk, scaled to the same length, lies below the figure, and not by far."""
    path = configure(site, f'[evidence]\ndirectory = "clips"\nmode = "{mode}"\n')
    done = subprocess.run([*MONITOR, "run", str(path)], check=True, capture_output=True, text=True)
    kept = [event for event in map(json.loads, done.stdout.splitlines()) if event["event"] == "evidence_kept"]
    assert kept
    largest = clip_bytes(EvidenceTable(mode=mode), mode, Scorer(site / "model.onnx", provider="cpu").metadata)
    for event in kept:
        stem = Path(event["evidence"]).stem
        taken = sum(file.stat().st_size for file in (site / "clips").glob(f"{stem}.*"))
        share = taken / event["seconds"] * 60 / largest
        assert 0.2 < share < 1.2  # a short clip's sidecar has a fixed part, too
