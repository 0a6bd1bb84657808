"""What an alarm leaves behind: clips with exactly what was heard, their sidecars, and the bounds of their directory."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from dasvdd_runtime.reading.manifest import read_manifest
from dasvdd_runtime.recordings import read_signal
from evidence_parts import AUDIO, FAULT, RATE_HZ, REPLAY, STATE, STDIN, whole
from monitor_child import MONITOR, MonitorChild
from numpy.typing import NDArray


class Replay:
    """A monitor that has replayed `recording` with the further tables `text`."""

    def __init__(self, folder: Path, recording: NDArray[np.int16], text: str, *, config: str = REPLAY) -> None:
        self.folder = folder
        soundfile.write(folder / "a.wav", recording, RATE_HZ, "PCM_16")
        (folder / "monitor.toml").write_text(config + text)
        done = subprocess.run(
            [*MONITOR, "run", str(folder / "monitor.toml")], check=True, capture_output=True, text=True
        )
        self.errors = done.stderr
        self.events = [json.loads(line) for line in done.stdout.splitlines()]

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["event"] == kind]

    def sidecars(self, directory: str = "clips") -> list[dict[str, Any]]:
        """In the order of their alarms."""
        found = [json.loads(path.read_text()) for path in (self.folder / directory).glob("*.json")]
        return sorted(found, key=lambda sidecar: sidecar["rise_seconds"])


@pytest.fixture
def replay(tiny_model: Any, tmp_path: Path) -> Any:
    """A maker of replays."""
    tiny_model(threshold=0.02)

    def make(recording: NDArray[np.int16], text: str, **settings: Any) -> Replay:
        return Replay(tmp_path, recording, text, **settings)

    return make


def test_a_clip_holds_exactly_what_was_played(
    replay: Any, tmp_path: Path, require_program: Callable[[str], str]
) -> None:
    """Sample by sample, as ffmpeg decodes it, from the pre-roll before the raising window to the post-roll."""
    done = replay(FAULT, AUDIO)
    (raised,), (cleared,) = done.of_kind("alarm_raised"), done.of_kind("alarm_cleared")
    sidecar = json.loads((tmp_path / "clips" / cleared["evidence"]).read_text())
    clip = tmp_path / "clips" / sidecar["file"]
    decode = [require_program("ffmpeg"), "-v", "error", "-i", clip, "-f", "s16le", "-"]
    heard = np.frombuffer(subprocess.run(decode, check=True, capture_output=True).stdout, "<i2")[:, None]
    begin, end = raised["start_seconds"] - 2, cleared["clear_seconds"] + 3
    assert soundfile.info(clip).samplerate == RATE_HZ
    np.testing.assert_array_equal(heard, FAULT[round(begin * RATE_HZ) : round(end * RATE_HZ)])
    assert sidecar["pieces"] == [
        {"clip_seconds": 0, "stream_seconds": pytest.approx(begin), "seconds": pytest.approx(end - begin)}
    ]
    (kept,) = done.of_kind("evidence_kept")
    assert (kept["alarm"], kept["evidence"]) == (raised["id"], cleared["evidence"])
    assert kept["seconds"] == pytest.approx(end - begin)


def command(folder: Path, *arguments: str) -> str:
    """Standard output of a command on the configuration in `folder`, which must succeed."""
    config = ["--config", str(folder / "monitor.toml")]
    return subprocess.run([*MONITOR, *arguments, *config], check=True, capture_output=True, text=True).stdout


def test_a_live_alarm_becomes_a_label_of_its_clip(tiny_model: Any, tmp_path: Path) -> None:
    """With audio, the judged alarm of a stream is a part of its clip, and what training reads there is the alarm."""
    tiny_model(threshold=0.02)
    (tmp_path / "monitor.toml").write_text(STDIN + STATE + '[evidence]\nmode = "audio"\npre_seconds = 2\n')
    run = [*MONITOR, "run", str(tmp_path / "monitor.toml")]
    subprocess.run(run, input=FAULT.tobytes(), check=True, capture_output=True)
    (alarm,) = map(json.loads, command(tmp_path, "alarms", "--json").splitlines())
    assert Path(alarm["evidence"]).is_file()
    command(tmp_path, "ack", alarm["id"], "--verdict", "real")
    command(tmp_path, "export-labels", "--out", str(tmp_path / "labels.csv"))
    (part,) = read_manifest(tmp_path / "labels.csv")
    assert part.path.suffix == ".flac" and part.role == "test_anomalous"
    heard = read_signal(part.path, start_seconds=part.start_seconds, end_seconds=part.end_seconds).samples
    begin, end = (round(alarm[key] * RATE_HZ) for key in ("start_seconds", "end_seconds"))
    np.testing.assert_array_equal(np.round(heard * 32768).astype(np.int16), FAULT[begin:end])


def test_alarms_closer_than_the_post_roll_each_have_a_clip(replay: Any, tmp_path: Path) -> None:
    """The first clip goes on while the second has begun; both are exact, though they share samples."""
    recording = np.concatenate([FAULT[: 24 * RATE_HZ], FAULT[8 * RATE_HZ :]])
    done = replay(recording, AUDIO.replace("post_seconds = 3", "post_seconds = 9"))
    raised, cleared = done.of_kind("alarm_raised"), done.of_kind("alarm_cleared")
    assert raised[1]["stream_seconds"] < cleared[0]["stream_seconds"] + 9
    for begin, end, sidecar in zip(raised, cleared, done.sidecars(), strict=True):
        heard, _ = soundfile.read(tmp_path / "clips" / sidecar["file"], dtype="int16", always_2d=True)
        first, last = round((begin["start_seconds"] - 2) * RATE_HZ), round((end["clear_seconds"] + 9) * RATE_HZ)
        np.testing.assert_array_equal(heard, recording[first:last])


def test_a_spectrogram_is_the_default_and_leaves_no_sound(replay: Any, tmp_path: Path) -> None:
    """With a state directory and without a table: one JSON file an alarm, a thirtieth of what was heard."""
    done = replay(FAULT, STATE)
    (cleared,) = done.of_kind("alarm_cleared")
    folder = tmp_path / "state" / "evidence"
    assert {path.name for path in folder.iterdir()} == {"monitor.lock", cleared["evidence"]}
    (sidecar,) = done.sidecars("state/evidence")
    assert sidecar["file"] is None
    levels = np.array(sidecar["spectrogram"]["levels_db"])
    assert levels.shape == (1, round(8 * sidecar["seconds"]), len(sidecar["spectrogram"]["edges_hz"]) - 1)
    assert levels.size < sidecar["seconds"] * RATE_HZ / 30


@pytest.mark.parametrize("text", ["", STATE + '[evidence]\nmode = "none"\n'])
def test_nothing_is_kept_without_a_place_or_with_none(replay: Any, tmp_path: Path, text: str) -> None:
    """No directory, and no word of evidence in any event."""
    done = replay(FAULT, text)
    assert "evidence" not in json.dumps(done.events)
    assert not (tmp_path / "state" / "evidence").exists()


def test_a_source_has_a_mode_of_its_own(replay: Any, tmp_path: Path) -> None:
    """Sound of one source, of the other nothing."""
    second = '[[source]]\nname = "canteen"\nkind = "file"\npath = "a.wav"\nevidence = "none"\n'
    done = replay(FAULT, AUDIO, config=REPLAY + second)
    assert {event["source"] for event in done.of_kind("alarm_cleared")} == {"pump7", "canteen"}
    assert [sidecar["source"] for sidecar in done.sidecars()] == ["pump7"]


def test_a_stop_in_an_alarm_keeps_what_there_was(tiny_model: Any, tmp_path: Path) -> None:
    """SIGTERM while it lasts: alarm_open names a clip that is whole, up to the last sample."""
    tiny_model(threshold=0.02)
    (tmp_path / "monitor.toml").write_text(STDIN + AUDIO)
    monitor = MonitorChild(tmp_path / "monitor.toml")
    played = FAULT[: 13 * RATE_HZ]
    monitor.feed(played / 32767)
    raised = monitor.wait_for("alarm_raised")
    assert monitor.stop() == 0
    (left_open,) = monitor.of_kind("alarm_open")
    (kept,) = monitor.of_kind("evidence_kept")
    assert kept["evidence"] == left_open["evidence"] and kept["alarm"] == raised["alarm"]
    sidecar = json.loads((tmp_path / "clips" / kept["evidence"]).read_text())
    heard, _ = soundfile.read(tmp_path / "clips" / sidecar["file"], dtype="int16", always_2d=True)
    np.testing.assert_array_equal(heard, played[round((raised["start_seconds"] - 2) * RATE_HZ) :])


def test_a_source_that_a_reload_adds_has_evidence_too(tiny_model: Any, tmp_path: Path) -> None:
    """SIGHUP with one more source: the clips of both are in the one directory."""
    tiny_model(threshold=0.02)
    soundfile.write(tmp_path / "a.wav", FAULT, RATE_HZ, "PCM_16")
    (tmp_path / "monitor.toml").write_text(STDIN + AUDIO)
    monitor = MonitorChild(tmp_path / "monitor.toml")
    monitor.feed(FAULT / 32767)
    monitor.wait_for("evidence_kept")
    more = '[[source]]\nname = "fan"\nkind = "file"\npath = "a.wav"\n'
    (tmp_path / "monitor.toml").write_text(STDIN + more + AUDIO)
    monitor.reload()
    assert monitor.wait_for("evidence_kept", count=2)["source"] == "fan"
    assert monitor.stop() == 0
    assert whole(tmp_path / "clips") == 2


def test_sensor_rows_are_read_by_training_as_they_were(tiny_model: Any, tmp_path: Path) -> None:
    """The NPZ file of an alarm: rate, channel names and every value."""
    tiny_model(kind="sensor", channels=2, channel_names=["x", "y"], sample_rate_hz=50.0, window_samples=20,
               window_hop_samples=10, threshold=0.02, residual_names=["x", "y"])  # fmt: skip
    rows = np.random.default_rng(0).uniform(-1, 1, (3000, 2)).astype(np.float32)
    rows[:1500] *= 0.05
    source = '[[source]]\nname = "fan"\nkind = "stdin"\nformat = "f32le"\n'
    (tmp_path / "monitor.toml").write_text('[model]\npath = "model.onnx"\n' + source + STATE)
    run = [*MONITOR, "run", str(tmp_path / "monitor.toml")]
    subprocess.run(run, input=rows.tobytes(), check=True, capture_output=True)
    (path,) = (tmp_path / "state" / "evidence").glob("*.json")
    sidecar = json.loads(path.read_text())
    signal = read_signal(path.with_name(sidecar["file"]))
    begin = round(50 * sidecar["pieces"][0]["stream_seconds"])
    assert (signal.sample_rate_hz, signal.channel_names) == (50.0, ("x", "y"))
    np.testing.assert_array_equal(signal.samples, rows[begin : begin + len(signal.samples)])
