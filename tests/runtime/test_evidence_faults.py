"""Evidence where things go wrong: kills, full disks, and directories that cannot be used."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from evidence_parts import AUDIO, FAULT, RATE_HZ, REPLAY, STDIN, noise, whole
from monitor_child import MONITOR, MonitorChild
from small_disk import run_on_small_disk


@pytest.mark.slow
def test_kill_leaves_no_half_clip(tiny_model: Any, tmp_path: Path) -> None:
    """Killed again and again while it writes: what is listed is whole, and the next start removes the rest."""
    tiny_model(threshold=0.02)
    soundfile.write(tmp_path / "a.wav", np.tile(FAULT[5 * RATE_HZ :], (40, 1)), RATE_HZ, "PCM_16")
    (tmp_path / "monitor.toml").write_text(REPLAY + AUDIO)
    random, clips = np.random.default_rng(0), tmp_path / "clips"
    for _ in range(8):
        monitor = MonitorChild(tmp_path / "monitor.toml")
        monitor.wait_for("alarm_raised")
        time.sleep(random.uniform(0, 0.5))
        monitor.kill()
        whole(clips)
    begun = whole(clips)
    subprocess.run([*MONITOR, "run", str(tmp_path / "monitor.toml")], check=True, capture_output=True)
    assert whole(clips) == begun + 40
    assert len(list(clips.iterdir())) == 2 * whole(clips) + 1


def test_the_sidecar_of_a_kill_is_not_there(tiny_model: Any, tmp_path: Path) -> None:
    """Killed in the post-roll: a temporary file is left, nothing is listed, and the next start tidies up."""
    tiny_model(threshold=0.02)
    (tmp_path / "monitor.toml").write_text(STDIN + AUDIO)
    for _ in range(2):
        monitor = MonitorChild(tmp_path / "monitor.toml")
        monitor.wait_for("started")
        assert [path.name for path in (tmp_path / "clips").iterdir()] == ["monitor.lock"]
        monitor.feed(FAULT[: 19 * RATE_HZ] / 32767)
        monitor.wait_for("alarm_cleared")
        deadline = time.monotonic() + 10
        while not (left := list((tmp_path / "clips").glob(".pump7*.flac.partial"))) and time.monotonic() < deadline:
            time.sleep(0.02)
        monitor.kill()
        assert len(left) == 1 and whole(tmp_path / "clips") == 0


FULL_DISK = """
import subprocess, sys
from pathlib import Path
done = subprocess.run(sys.argv[2:], capture_output=True, text=True)
print(done.stdout, "LOG", done.stderr)
print("LEFT", sorted(path.suffix for path in Path(sys.argv[1]).iterdir()))
sys.exit(done.returncode)
"""


def test_a_full_disk_costs_a_clip_and_nothing_else(tiny_model: Any, tmp_path: Path) -> None:
    """On a tmpfs without room every window is scored, the loss is said once, and a clip that fits is kept again."""
    tiny_model(threshold=0.02)
    long, short = noise(20, amplitude=0.5), noise(1, amplitude=0.5)
    recording = np.concatenate([noise(3), long, noise(15), long, noise(15), short, noise(15)])
    soundfile.write(tmp_path / "a.wav", recording, RATE_HZ, "PCM_16")
    bounds = AUDIO.replace("seconds = 3", "seconds = 0").replace("seconds = 2", "seconds = 0") + "min_free_bytes = 0\n"
    (tmp_path / "monitor.toml").write_text(REPLAY + bounds)
    clips, monitor = tmp_path / "clips", [*MONITOR, "run", str(tmp_path / "monitor.toml")]
    printed = run_on_small_disk(clips, "size=400k", "-c", FULL_DISK, clips, *monitor)
    events = [json.loads(line) for line in printed.splitlines() if line.startswith("{")]
    kinds = [event["event"] for event in events]
    assert (kinds.count("alarm_cleared"), kinds.count("evidence_lost"), kinds.count("evidence_kept")) == (3, 2, 1)
    (summary,) = [event for event in events if event["event"] == "summary"]
    assert summary["windows_scored"] == len(recording) // 800 - 1
    for event in events:
        if event["event"] == "alarm_cleared" and event["evidence"] is None:
            assert "bytes are free" in event["evidence_reason"]
    assert printed.count("evidence of an alarm is lost") == 1
    assert printed.count("evidence is kept again") == 1
    assert "LEFT ['.flac', '.json', '.lock']" in printed


ROOM_LATER = """
import json, sqlite3, sys
from pathlib import Path
from evidence_parts import FAULT
from monitor_child import MonitorChild
full, config, ballast = Path(sys.argv[1]), Path(sys.argv[2]), []
try:
    while True:
        (full / str(len(ballast))).touch()
        ballast.append(full / str(len(ballast)))
except OSError: pass
child = MonitorChild(config)
child.wait_for("started")
for number, kind in ((1, "evidence_lost"), (2, "evidence_kept")):
    child.feed(FAULT / 32767)
    child.wait_for("alarm_cleared", count=number)
    child.wait_for(kind, count=3 - number)
    for path in ballast: path.unlink(missing_ok=True)
assert child.stop() == 0
told = [[event["event"], event["alarm"]] for event in child.events if event["event"] in
        ("alarm_raised", "evidence_lost", "evidence_kept")]
def rows(name, query):
    database = sqlite3.connect(full / name)
    return [value for (value,) in database.execute(query)]
kept = {"in_state": rows("state/state.db", "SELECT id FROM alarms"),
        "in_outbox": [json.loads(line)["id"] for line in rows("outbox/outbox.db", "SELECT line FROM event")],
        "in_file": [json.loads(line)["id"] for line in (full / "log/events.jsonl").read_text().splitlines()]}
print(json.dumps({**kept, "told": told, "clips": len(list(full.glob("clips/*.json"))), "log": str(child.errors)}))
"""


def test_a_disk_that_is_full_at_the_start_costs_evidence_for_a_time(tiny_model: Any, tmp_path: Path) -> None:
    """No room for any directory: an event says so, an alarm has no clip, and one has when there is room.

    State and outbox then have both alarms.
    """
    tiny_model(threshold=0.02)
    (tmp_path / "monitor.toml").write_text(
        STDIN + AUDIO.replace('"clips"', '"full/clips"') + "min_free_bytes = 0\n"
        '[events]\npath = "full/log/events.jsonl"\n[state]\ndirectory = "full/state"\n'
        '[outbox]\nfolder = "full/outbox"\n[webhook]\nurl = "http://127.0.0.1:1/"\n'
    )
    full = tmp_path / "full"
    found = json.loads(run_on_small_disk(full, "nr_inodes=30", "-c", ROOM_LATER, full, tmp_path / "monitor.toml"))
    (at_start, none), (raised, first), (lost, again), (raised_again, second), (kept, whole_one) = found["told"]
    assert (at_start, none) == ("evidence_lost", None)
    assert (raised, lost, raised_again, kept) == ("alarm_raised", "evidence_lost", "alarm_raised", "evidence_kept")
    assert first == again and second == whole_one and found["clips"] == 1
    assert sorted(found["in_state"]) == sorted([first, second])
    assert {first, second} <= set(found["in_outbox"]) and second in found["in_file"]
    assert "alarms leave no evidence before there is room again" in found["log"]


def test_evidence_needs_a_place_of_its_own(tiny_model: Any, tmp_path: Path) -> None:
    """Without a directory, with one that cannot be made, or with that of another monitor: exit code 78 and the key."""
    tiny_model(threshold=0.02)
    path = tmp_path / "monitor.toml"
    (tmp_path / "file").touch()

    def refused() -> str:
        done = subprocess.run([*MONITOR, "run", str(path)], capture_output=True, text=True, check=False)
        assert done.returncode == 78, done.stderr
        return done.stderr

    path.write_text(STDIN + '[evidence]\nmode = "audio"\n')
    assert "[state] directory" in refused()
    path.write_text(STDIN + '[evidence]\ndirectory = "file/clips"\n')
    assert "[evidence] directory" in refused()
    path.write_text(STDIN + AUDIO + "max_seconds = 2\n")
    assert "pre_seconds" in refused()
    path.write_text(STDIN + AUDIO)
    monitor = MonitorChild(path)
    monitor.wait_for("started")
    assert "a monitor already runs" in refused()
    monitor.kill()
