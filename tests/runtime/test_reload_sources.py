"""SIGHUP with other models and evidence of sources, while samples come and alarms rise."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import soundfile
from evidence_parts import FAULT, RATE_HZ, STDIN
from monitor_child import MonitorChild
from reloading import HEAD, reload, write
from scraping import wait_until


def test_evidence_changes_from_the_next_clip_on(tiny_model: Any, tmp_path: Path) -> None:
    """A spectrogram, then sound in another folder for the next alarm, then nothing; each clip is whole."""
    tiny_model(threshold=0.02)
    table = '[evidence]\nmode = "{}"\ndirectory = "{}"\npre_seconds = 2\npost_seconds = 3\n'
    (tmp_path / "monitor.toml").write_text(STDIN + table.format("spectrogram", "one"))
    child = MonitorChild(tmp_path / "monitor.toml")
    child.feed(FAULT / 32767)
    child.wait_for("evidence_kept")
    (tmp_path / "monitor.toml").write_text(STDIN + table.format("audio", "two"))
    assert reload(child)["changed"] == ["[evidence]"]
    child.feed(FAULT / 32767)
    kept = child.wait_for("evidence_kept", count=2)
    (tmp_path / "monitor.toml").write_text(STDIN + table.format("none", "two"))
    reload(child)
    child.feed(FAULT / 32767)
    child.wait_for("alarm_cleared", count=3)
    assert child.stop() == 0
    (first,) = (tmp_path / "one").glob("*.json")
    assert json.loads(first.read_text())["file"] is None
    (second,) = (tmp_path / "two").glob("*.json")
    assert second.name == kept["evidence"]
    raised = child.of_kind("alarm_raised")[1]
    sidecar = json.loads(second.read_text())
    heard, _ = soundfile.read(tmp_path / "two" / sidecar["file"], dtype="int16", always_2d=True)
    begin = round((raised["start_seconds"] - 2) * RATE_HZ) - len(FAULT)
    assert (heard == FAULT[begin : begin + len(heard)]).all() and sidecar["clear_seconds"] is not None
    assert "evidence" not in child.of_kind("alarm_cleared")[2]


@pytest.mark.parametrize("mode", ["audio", "none"])
def test_evidence_that_changes_in_an_alarm_leaves_its_clip_whole(tiny_model: Any, tmp_path: Path, mode: str) -> None:
    """The alarm goes on, and its clip ends where the other mode began."""
    tiny_model(threshold=0.02)
    table = '[evidence]\nmode = "{}"\ndirectory = "clips"\npre_seconds = 2\npost_seconds = 3\n'
    (tmp_path / "monitor.toml").write_text(STDIN + table.format("spectrogram"))
    child = MonitorChild(tmp_path / "monitor.toml")
    middle = 12 * RATE_HZ
    child.feed(FAULT[:middle] / 32767)
    child.wait_for("alarm_raised")
    (tmp_path / "monitor.toml").write_text(STDIN + table.format(mode))
    reload(child)
    child.feed(FAULT[middle:] / 32767)
    child.wait_for("alarm_cleared")
    assert child.stop() == 0
    assert len(child.of_kind("alarm_raised")) == len(child.of_kind("evidence_kept")) == 1
    (clip,) = (tmp_path / "clips").glob("*.json")
    sidecar = json.loads(clip.read_text())
    assert sidecar["alarm"] == child.of_kind("alarm_raised")[0]["alarm"]
    end = sidecar["pieces"][-1]["stream_seconds"] + sidecar["pieces"][-1]["seconds"]
    assert 11 < end <= 12
    assert (sidecar["clear_seconds"] is None) == (mode == "none")


def test_another_model_and_evidence_of_a_source_open_no_gap(
    paced_monitor: Callable[..., Any], tiny_model: Any, tmp_path: Path
) -> None:
    """The table of the source changes in these keys alone, and its capture goes on."""
    tiny_model(tmp_path / "other.onnx", threshold=5.0, model_fingerprint="e" * 64)
    child = paced_monitor('[state]\ndirectory = "state"\n', seconds=3)
    child.wait_for("score")
    models = '[[model]]\nname = "other"\npath = "other.onnx"\n'
    head = HEAD.replace('[model]\npath = "model.onnx"\n', models).replace('name = "m"', 'name = "m"\nmodel = "other"')
    write(tmp_path, '[state]\ndirectory = "state"\n', seconds=3, head=head.replace("stall", 'evidence = "none"\nstall'))
    assert reload(child)["kept"] == ["m"]
    wait_until(lambda: child.of_kind("score")[-1]["stream_seconds"] == 3.0)
    assert child.stop() == 0
    (summary,) = child.of_kind("summary")
    assert (summary["gaps"], summary["lost_seconds"]) == (0, 0)
    (told,) = [line.decode() for line in child.errors if b"new configuration" in line]
    before = child.of_kind("reloaded")[0]["judged_before"]["m"]
    assert "goes on: m (model " in told and f", threshold {before['threshold']:.5g} -> 5)" in told
    assert f"{before['model_fingerprint'][:8]} -> " in told and "eeeeeeee" in told


def test_a_model_of_another_rate_begins_the_capture_anew(
    paced_monitor: Callable[..., Any], tiny_model: Any, tmp_path: Path
) -> None:
    """A source that names such a model is opened again for it, and not refused."""
    tiny_model(tmp_path / "other.onnx", sample_rate_hz=8000.0, window_samples=800, window_hop_samples=400)
    child = paced_monitor("", seconds=3)
    child.wait_for("score")
    models = '[[model]]\nname = "other"\npath = "other.onnx"\n'
    head = HEAD.replace('[model]\npath = "model.onnx"\n', models).replace('name = "m"', 'name = "m"\nmodel = "other"')
    write(tmp_path, "", seconds=3, head=head)
    reloaded = reload(child)
    assert (reloaded["kept"], reloaded["added"], reloaded["removed"]) == ([], ["m"], ["m"])
    wait_until(lambda: any(b"new configuration: begins anew: m (model " in line for line in child.errors))
    child.wait_for("score", count=len(child.of_kind("score")) + 5)
    assert child.stop() == 0
