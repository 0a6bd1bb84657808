"""What an alarm leaves behind: clips with exactly what was heard, their sidecars, and the bounds of their directory."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from dasvdd_runtime.manifest import read_manifest
from dasvdd_runtime.recordings import read_signal
from monitor_child import MONITOR
from numpy.typing import NDArray

RATE_HZ = 16000
REPLAY = '[model]\npath = "model.onnx"\n[[source]]\nname = "pump7"\nkind = "file"\npath = "a.wav"\n'
AUDIO = '[evidence]\nmode = "audio"\ndirectory = "clips"\npre_seconds = 2\npost_seconds = 3\n'


def noise(seconds: float, *, amplitude: float = 0.1, seed: int = 0) -> NDArray[np.int16]:
    """Audio as 16-bit files hold it, [samples, 1]."""
    random = np.random.default_rng(seed)
    return np.round(32767 * amplitude * random.uniform(-1, 1, (round(seconds * RATE_HZ), 1))).astype(np.int16)


FAULT = np.concatenate([noise(10), noise(4, amplitude=0.5), noise(15, seed=1)])


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


def test_a_clip_holds_exactly_what_was_played(replay: Any, tmp_path: Path) -> None:
    """Sample by sample, from the pre-roll before the raising window to the post-roll after the clear."""
    done = replay(FAULT, AUDIO)
    (raised,), (cleared,) = done.of_kind("alarm_raised"), done.of_kind("alarm_cleared")
    sidecar = json.loads((tmp_path / "clips" / cleared["evidence"]).read_text())
    heard, rate = soundfile.read(tmp_path / "clips" / sidecar["file"], dtype="int16", always_2d=True)
    begin, end = raised["start_seconds"] - 2, cleared["clear_seconds"] + 3
    assert rate == RATE_HZ
    np.testing.assert_array_equal(heard, FAULT[round(begin * RATE_HZ) : round(end * RATE_HZ)])
    assert sidecar["pieces"] == [
        {"clip_seconds": 0, "stream_seconds": pytest.approx(begin), "seconds": pytest.approx(end - begin)}
    ]
    (kept,) = done.of_kind("evidence_kept")
    assert (kept["alarm"], kept["evidence"]) == (raised["id"], cleared["evidence"])
    assert kept["seconds"] == pytest.approx(end - begin)


STDIN = '[model]\npath = "model.onnx"\n[[source]]\nname = "pump7"\nkind = "stdin"\nformat = "s16le"\n'
STATE = '[state]\ndirectory = "state"\n'


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
