"""alarms, ack, mute, test-alarm and export-labels with the real monitor: kills, damage, clocks, restarts."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner, Result
from dasvdd_runtime.alarms.arrivals import Arrival
from dasvdd_runtime.alarms.desk import AlarmDesk
from dasvdd_runtime.alarms.mutes import Mute
from dasvdd_runtime.cli import main
from dasvdd_runtime.reading.manifest import read_manifest
from dasvdd_runtime.state.state_store import StateStore
from dasvdd_runtime.words import duration
from monitor_child import MONITOR, Events, MonitorChild
from wall_clock import WallClock
from white_noise import RATE_HZ, noise

STDIN = '[model]\npath = "model.onnx"\n[[source]]\nname = "pump7"\nkind = "stdin"\nformat = "s16le"\n'
LATCH = '[state]\ndirectory = "state"\n[alarm]\nlatch = true\n'


FAULT = np.concatenate([noise(3), noise(4, amplitude=0.5), noise(15)])


class Monitor(MonitorChild):
    """A monitor that must end well."""

    def stop(self) -> int:
        code = super().stop()
        assert code == 0
        return code


@pytest.fixture
def start(tiny_model: Any, tmp_path: Path) -> Any:
    """A starter of monitors of a tiny model, by default with a latch; they are killed at the end."""
    tiny_model(threshold=0.02)
    started: list[Monitor] = []

    def make(text: str = STDIN + LATCH, environment: dict[str, str] | None = None) -> Monitor:
        config = tmp_path / "monitor.toml"
        config.write_text(text)
        started.append(Monitor(config, environment or {}))
        started[-1].wait_for("started")
        return started[-1]

    yield make
    for monitor in started:
        monitor.kill()


def command(folder: Path, *arguments: str, code: int = 0) -> Result:
    """Run a command on the state directory in `folder`."""
    done = CliRunner().invoke(main, [*arguments, "--config", str(folder / "monitor.toml")])
    assert done.exit_code == code, done.output
    assert done.exception is None or isinstance(done.exception, SystemExit)
    return done


def listed(folder: Path) -> Events:
    return [json.loads(line) for line in command(folder, "alarms", "--json").stdout.splitlines()]


def test_a_latched_alarm_survives_a_kill_until_it_is_acknowledged(start: Any, tmp_path: Path) -> None:
    """kill -9 while it waits: the next monitor knows it, counts its source as in alarm, and lets it go when judged."""
    first = start()
    first.feed(FAULT)
    raised = first.wait_for("alarm_raised")
    assert first.wait_for("alarm_cleared")["latched"]
    first.kill()
    (alarm,) = listed(tmp_path)
    assert (alarm["id"], alarm["state"], alarm["verdict"]) == (raised["id"], "latched", None)
    second = start()
    held = second.wait_for("alarm_latched")
    assert (held["alarm"], held["source"]) == (raised["id"], "pump7")
    done = command(tmp_path, "ack", raised["id"][:6], "--verdict", "real", "--note", "bearing worn")
    assert "over as soon as a monitor looks" in done.stdout
    told = second.wait_for("alarm_acknowledged")
    assert (told["alarm"], told["verdict"], told["released"]) == (raised["id"], "real", True)
    second.feed(noise(1))
    second.stop()
    (summary,) = second.of_kind("summary")
    assert (summary["in_alarm"], summary["latched_alarms"]) == (False, 0)
    (alarm,) = listed(tmp_path)
    assert (alarm["state"], alarm["verdict"], alarm["note"]) == ("cleared", "real", "bearing worn")


def test_an_alarm_that_was_active_at_a_kill_is_latched(start: Any, tmp_path: Path) -> None:
    """What was loud when the power went stays in alarm, and `stopped` of the next run says so."""
    first = start()
    first.feed(noise(4, amplitude=0.5))
    raised = first.wait_for("alarm_raised")
    first.kill()
    second = start()
    assert second.wait_for("alarm_latched")["alarm"] == raised["id"]
    second.feed(noise(1))
    second.stop()
    assert second.events[-1]["alarm_open"] == ["pump7"]
    assert second.of_kind("summary")[0]["in_alarm"]


def test_a_verdict_that_is_given_while_no_monitor_runs_is_told_at_the_next_start(start: Any, tmp_path: Path) -> None:
    """The commands need no monitor; without an id they take the only alarm that nobody has judged."""
    first = start()
    first.feed(FAULT)
    first.wait_for("alarm_cleared")
    first.stop()
    command(tmp_path, "ack", "--verdict", "false")
    assert "no alarm" in command(tmp_path, "ack", "--verdict", "false", code=65).stderr
    told = start().wait_for("alarm_acknowledged")
    assert (told["verdict"], told["alarm"]) == ("false", first.of_kind("alarm_raised")[0]["id"])


def test_a_second_verdict_says_the_first_and_its_note(start: Any, tmp_path: Path) -> None:
    """What was found under one verdict does not stand under another, but is said."""
    monitor = start()
    monitor.feed(noise(4, amplitude=0.5))
    monitor.wait_for("alarm_raised")
    monitor.stop()
    command(tmp_path, "ack", "--verdict", "real", "--note", "outer race")
    (alarm,) = listed(tmp_path)
    assert "false (before: real, outer race)" in command(tmp_path, "ack", alarm["id"], "--verdict", "false").stdout
    (alarm,) = listed(tmp_path)
    assert (alarm["verdict"], alarm["note"]) == ("false", "")
    command(tmp_path, "ack", alarm["id"], "--verdict", "false", "--note", "forklift")
    assert listed(tmp_path)[0]["note"] == "forklift"


def test_log_and_list_say_alike_how_long_an_alarm_lasted(start: Any, tmp_path: Path) -> None:
    """From the start of the window that raised it to the clear, which is longer than from the rise by a window."""
    monitor = start()
    monitor.feed(FAULT)
    cleared = monitor.wait_for("alarm_cleared")
    monitor.stop()
    lasted = duration(cleared["clear_seconds"] - cleared["start_seconds"])
    assert f"cleared the alarm, which lasted {lasted}".encode() in b"".join(monitor.errors)
    assert f"  {lasted}  " in command(tmp_path, "alarms").stdout
    assert cleared["start_seconds"] < cleared["rise_seconds"]


def test_an_active_alarm_is_listed_with_its_time_so_far_or_as_left(tmp_path: Path) -> None:
    """An alarm raised ten minutes ago: how long while a monitor runs; else that none runs, and no time is made up."""
    state = tmp_path / "state"
    then = datetime.now(UTC) - timedelta(minutes=10)
    desk = AlarmDesk(state, now=lambda: then)
    scored = {"stream_seconds": 1.0, "start_seconds": 0.0, "smoothed_score": 2.0, "threshold": 1.0}
    desk.mark({"event": "alarm_raised", "source": "pump7", "model_fingerprint": "f", **scored})
    (tmp_path / "monitor.toml").write_text(STDIN + LATCH)
    told = command(tmp_path, "alarms").stdout
    assert re.search(r"  10 min( [1-9] s)? so far  ", told) and "none runs" not in told
    desk.close()
    told = command(tmp_path, "alarms").stdout
    assert "so far" not in told and f"none runs on {state}" in told


def test_a_damaged_state_file_is_put_aside_and_monitoring_goes_on(start: Any, tmp_path: Path) -> None:
    """It is kept under another name, that is said, and the new one takes alarms."""
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "state.db").write_bytes(b"no database" * 500)
    monitor = start()
    moved = Path(monitor.wait_for("state_lost")["moved_to"])
    assert moved.read_bytes().startswith(b"no database")
    monitor.feed(FAULT)
    monitor.wait_for("alarm_cleared")
    monitor.stop()
    assert b"state.db" in b"".join(monitor.errors)
    assert len(listed(tmp_path)) == 1


def test_a_state_file_that_is_damaged_while_the_monitor_runs_does_not_stop_it(start: Any, tmp_path: Path) -> None:
    """Overwritten under its feet: scoring goes on, and a latched alarm is in the file that follows."""
    monitor = start()
    monitor.feed(FAULT)
    monitor.wait_for("alarm_cleared")
    database = tmp_path / "state" / "state.db"
    other = sqlite3.connect(database)
    other.execute("UPDATE alarms SET note = 'the monitor must read the pages anew'")
    other.commit()
    other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    other.close()
    with database.open("r+b") as file:
        file.seek(4096)  # all pages but the first
        file.write(b"\xff" * (database.stat().st_size - 4096))
    monitor.feed(np.concatenate([noise(4, amplitude=0.5, seed=3), noise(15)]))
    monitor.wait_for("alarm_cleared", count=2)
    monitor.wait_for("state_lost")
    monitor.stop()
    assert {alarm["id"] for alarm in listed(tmp_path)} == {e["id"] for e in monitor.of_kind("alarm_raised")}


def test_a_muted_source_is_watched_and_recorded(start: Any, tmp_path: Path) -> None:
    """muted, alarm with muted = true, and unmuted when its time is over, naming the alarm that still lasts."""
    monitor = start(STDIN + '[state]\ndirectory = "state"\n')
    command(tmp_path, "mute", "pump7", "--for", "4s", "--note", "oiling")
    told = monitor.wait_for("muted")
    assert (told["source"], told["note"]) == ("pump7", "oiling")
    assert "muted until" in command(tmp_path, "alarms").stdout
    monitor.feed(noise(4, amplitude=0.5))
    raised = monitor.wait_for("alarm_raised")
    assert raised["muted"]
    over = monitor.wait_for("unmuted")
    assert (over["reason"], over["alarms"]) == ("its time is over", [raised["id"]])
    monitor.stop()
    assert not monitor.of_kind("summary")[0]["muted"]
    assert b"ALARM (muted)" in b"".join(monitor.errors)
    assert "muted until" not in command(tmp_path, "alarms").stdout
    assert listed(tmp_path)[0]["muted"]


def test_a_mute_goes_on_over_a_kill_and_ends_by_hand(start: Any, tmp_path: Path) -> None:
    """The next monitor is muted for what is left, until --end."""
    first = start()
    command(tmp_path, "mute", "--all", "--for", "1h")
    first.wait_for("muted")
    first.kill()
    second = start()
    assert 3500 < second.wait_for("muted")["seconds"] <= 3600
    command(tmp_path, "mute", "--all", "--end")
    assert second.wait_for("unmuted")["reason"] == "ended by hand"


@pytest.mark.parametrize("hours", [2, -2])
def test_a_clock_that_is_set_neither_ends_nor_prolongs_a_mute(
    start: Any, tmp_path: Path, wall_clock: WallClock, hours: int
) -> None:
    """Six seconds stay six seconds, though the wall clock jumps by two hours in between."""
    monitor = start(STDIN + LATCH, wall_clock.environment)
    monitor.feed(noise(1))
    command(tmp_path, "mute", "pump7", "--for", "6s")
    monitor.wait_for("muted")
    begin = time.monotonic()
    wall_clock.set(hours)
    monitor.wait_for("clock_jump")
    monitor.wait_for("unmuted")
    assert 4 < time.monotonic() - begin < 9


def test_a_mute_needs_an_end(start: Any, tmp_path: Path) -> None:
    """Without a duration, with one beyond a week, without or with two sources: refused, with the way out."""
    start()
    for arguments in (["pump7"], ["pump7", "--for", "30d"], ["pump7", "--for", "soon"], ["--for", "1h"]):
        command(tmp_path, "mute", *arguments, code=2)
    assert "pump7" in command(tmp_path, "mute", "pmp7", "--for", "1h", code=78).stderr


def test_a_test_alarm_goes_where_alarms_go_and_is_confirmed(start: Any, tmp_path: Path) -> None:
    """It is marked, in the event file as on standard output; and where no monitor runs, that is the answer."""
    monitor = start(STDIN + LATCH + '[events]\npath = "events.jsonl"\n')
    done = command(tmp_path, "test-alarm", "--source", "pump7")
    sent = monitor.wait_for("test_alarm")
    assert sent["test"] is True and sent["source"] == "pump7"
    assert sent["id"] in done.stdout
    assert sent["id"] in (tmp_path / "events.jsonl").read_text()
    monitor.stop()
    assert "no monitor took" in command(tmp_path, "test-alarm", "--wait", "1", code=69).stderr
    again = start()
    again.feed(noise(1))
    again.stop()
    assert not again.of_kind("test_alarm")


def test_a_state_file_without_arrivals_goes_on(tmp_path: Path) -> None:
    """A file of an earlier version keeps its alarms and mutes and gets the column; it is not put aside."""
    store, _ = StateStore.open_or_renew(tmp_path)
    store.mute_all([Mute("m", "pump7", 2e9, 60.0, "")])
    store.close()
    with sqlite3.connect(tmp_path / "state.db") as database:
        database.execute("ALTER TABLE test_requests DROP COLUMN arrivals")
    database.close()
    store, aside = StateStore.open_or_renew(tmp_path)
    store.ask_for_test("t", None)
    found = {"mqtt": Arrival("held", until=5.0)}
    assert store.note_arrivals("t", found) and store.arrivals("t") == found
    assert not store.note_arrivals("gone", found)
    assert aside is None and [mute.source for mute in store.mutes()] == ["pump7"]
    store.close()


def test_verdicts_become_a_manifest(tiny_model: Any, tmp_path: Path) -> None:
    """A replay's alarms lie in its file: what reads manifests reads them, and the parts hold the loud stretches."""
    tiny_model(threshold=0.02)
    soundfile.write(tmp_path / "a.wav", np.concatenate([FAULT, FAULT]), RATE_HZ)
    replay = '[model]\npath = "model.onnx"\n[[source]]\nname = "pump7"\nkind = "file"\npath = "a.wav"\n'
    (tmp_path / "monitor.toml").write_text(replay + '[state]\ndirectory = "state"\n')
    command(tmp_path, "alarms", code=66)
    subprocess.run([*MONITOR, "run", str(tmp_path / "monitor.toml")], check=True, capture_output=True)
    second, first = (alarm["id"] for alarm in listed(tmp_path))
    out = tmp_path / "labels.csv"
    assert "no verdict" in command(tmp_path, "export-labels", "--out", str(out), code=65).stderr
    command(tmp_path, "ack", first, "--verdict", "real", "--note", "bearing, outer race")
    command(tmp_path, "ack", second, "--verdict", "false")
    command(tmp_path, "export-labels", "--out", str(out))
    real, false = read_manifest(out)
    assert (real.role, real.note, real.machine) == ("test_anomalous", "bearing, outer race", "pump7")
    assert real.condition == ""
    assert false.role == "train"
    for part, begin in ((real, 3.0), (false, 25.0)):
        assert part.path == tmp_path / "a.wav"
        assert begin < part.start_seconds < begin + 2
        assert part.end_seconds is not None and begin + 4 < part.end_seconds < begin + 19
    (tmp_path / "healthy").mkdir()
    soundfile.write(tmp_path / "healthy" / "1.wav", noise(5), RATE_HZ)
    (tmp_path / "healthy" / "a.wav").symlink_to(tmp_path / "a.wav")
    done = command(tmp_path, "export-labels", "--with", str(tmp_path / "healthy"), "--out", str(out))
    assert "a.wav: a real alarm is in it" in done.stderr
    assert [(part.path.name, part.role, part.machine) for part in read_manifest(out)] == [
        ("1.wav", "train", "pump7"),
        ("a.wav", "test_anomalous", "pump7"),
        ("a.wav", "train", "pump7"),
    ]


def test_where_there_is_no_state_the_commands_say_what_to_set(tiny_model: Any, tmp_path: Path) -> None:
    """Neither an option nor a configuration with a directory: exit code 78 and the table to write."""
    tiny_model()
    (tmp_path / "monitor.toml").write_text(STDIN)
    assert "[state]" in command(tmp_path, "alarms", code=78).stderr
    (tmp_path / "monitor.toml").write_text(STDIN + "[alarm]\nlatch = true\n")
    assert "[state] directory" in command(tmp_path, "alarms", code=78).stderr


def test_two_monitors_cannot_share_a_state_directory(start: Any, tmp_path: Path) -> None:
    """The second one is told, and does not touch the alarms of the first."""
    start()
    second = subprocess.run(
        [*MONITOR, "run", str(tmp_path / "monitor.toml")], capture_output=True, text=True, check=False
    )
    assert second.returncode == 78
    assert "a monitor already runs" in second.stderr


def test_sqlite_is_not_loaded_without_a_state_directory() -> None:
    """The monitor and its desk alone leave it out: memory on a small box."""
    script = "import sys, dasvdd_runtime.cli.run as run; run.AlarmDesk(); print('sqlite3' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout == "False\n"
