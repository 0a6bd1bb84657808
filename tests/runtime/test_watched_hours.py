"""For how long a source was watched, by hand-worked event files; and `dasvdd-monitor hours` itself."""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from dasvdd_runtime.cli import main
from dasvdd_runtime.watched_hours import NO_EVENTS, OFF, Reckoning, last_seconds, longest_unwatched, reckon
from monitor_child import MONITOR

CONFIG = '[model]\npath = "model.onnx"\n[[source]]\nname = "pump7"\nkind = "stdin"\nformat = "s16le"\n'


def at(clock: str) -> datetime:
    """2026-06-01 at `clock`, HH:MM or HH:MM:SS."""
    return datetime.fromisoformat(f"2026-06-01T{clock}+00:00")


def line(clock: str, event: str, **fields: Any) -> str:
    return json.dumps({"event": event, "time": at(clock).isoformat(), **fields})


def started(clock: str, *sources: str) -> str:
    return line(clock, "started", sources=dict.fromkeys(sources or ("pump7",), "model"))


def state(clock: str, state: str, source: str = "pump7", reason: str = "") -> str:
    return line(clock, "source_state", source=source, state=state, reason=reason, muted=False)


def summaries(*clocks: str, source: str = "pump7", state: str = "OK", muted: bool = False) -> list[str]:
    return [line(clock, "summary", source=source, state=state, muted=muted) for clock in clocks]


def minutes(found: Reckoning, source: str = "pump7") -> list[tuple[str, float]]:
    """What the stretches are, in order, and how many minutes each lasts."""
    return [(one.kind, round(one.seconds / 60, 3)) for one in found.stretches[source]]


def test_an_outage_is_what_lies_between_its_states() -> None:
    """Watched, missing with its reason, watched, idle and off after `stopped`: each as long as its events say."""
    lines = [started("10:00"), state("10:01", "OK"), state("10:30", "MISSING", reason="unplugged")]
    lines += [state("10:50", "OK"), state("11:20", "IDLE"), line("11:40", "stopped")]
    found = reckon(lines, now=at("12:00"))
    expected = [("STARTING", 1), ("OK", 29), ("MISSING", 20), ("OK", 30), ("IDLE", 20), (OFF, 20)]
    assert minutes(found) == expected
    missing, off = found.stretches["pump7"][2], found.stretches["pump7"][-1]
    assert (missing.start, missing.end, missing.reason) == (at("10:30"), at("10:50"), "unplugged")
    assert not off.at_most


def test_after_a_kill_the_monitor_was_off_at_most_since_its_last_event() -> None:
    """There is no `stopped`: up to the last event things were as they were told, then off, at most, until the start."""
    lines = [started("10:00"), state("10:00", "OK"), *summaries("11:00"), line("11:10", "alarm_raised", source="pump7")]
    lines += [started("11:40"), state("11:41", "OK"), *summaries("12:40")]
    found = reckon(lines, now=at("13:00"))
    assert minutes(found) == [("OK", 70), (OFF, 30), ("STARTING", 1), ("OK", 79)]
    assert [one.at_most for one in found.stretches["pump7"]] == [False, True, False, False]
    assert [one.kind for one in longest_unwatched(found.stretches["pump7"])] == [OFF, "STARTING"]


def test_where_the_summary_stays_away_nothing_is_taken_as_watched() -> None:
    """A monitor that writes no more, and a source that ended beside another, count as `no events`, at most."""
    lines = [started("10:00", "pump7", "fan"), state("10:00", "OK"), state("10:00", "OK", "fan")]
    lines += [*summaries("11:00", source="fan"), *summaries("11:00", "12:00", "13:00", "14:00")]
    found = reckon(lines, now=at("14:30"))
    assert minutes(found) == [("OK", 270)]
    assert minutes(found, "fan") == [("OK", 60), (NO_EVENTS, 210)]
    assert minutes(reckon(lines, now=at("17:00"))) == [("OK", 240), (NO_EVENTS, 180)]


def test_a_mute_is_counted_beside_what_the_source_did() -> None:
    """From `muted` to `unmuted`, of one source or of all, but not while the monitor was off; it is still watched."""
    lines = [
        started("10:00"),
        state("10:00", "OK"),
        line("10:10", "muted", source="pump7"),
        *summaries("10:20", muted=True),
    ]
    lines += [line("10:40", "unmuted", source="pump7"), line("10:50", "muted"), line("11:00", "stopped")]
    stretches = reckon(lines, now=at("12:00")).stretches["pump7"]
    assert [(one.kind, one.muted, one.seconds / 60) for one in stretches] == [
        ("OK", False, 10),
        ("OK", True, 30),
        ("OK", False, 10),
        ("OK", True, 10),
        (OFF, False, 60),
    ]


def test_a_source_counts_from_the_reload_that_adds_it_to_the_one_that_removes_it() -> None:
    """The time before and after is no part of its span."""
    lines = [started("10:00"), state("10:00", "OK"), line("10:30", "reloaded", added=["fan"], removed=[])]
    lines += [state("10:31", "OK", "fan"), line("11:00", "reloaded", added=[], removed=["fan"])]
    found = reckon(lines, now=at("11:15"))
    assert minutes(found, "fan") == [("STARTING", 1), ("OK", 29)]
    assert minutes(found) == [("OK", 75)]


@pytest.mark.parametrize("early", [[], [("09:30:01", "summary")]], ids=["told at once", "an event before it is told"])
def test_a_clock_set_back_an_hour_takes_nothing_away_and_adds_nothing(early: list[tuple[str, str]]) -> None:
    """Half an hour after the start 10:30 becomes 9:30: an hour in all is an hour, and where it was set is told."""
    lines = [started("10:00"), state("10:00", "OK")]
    lines += [line(clock, kind, source="pump7", state="OK") for clock, kind in early]
    lines += [line("09:30:02", "clock_jump", seconds=-3600.0), state("09:45", "STALLED")]
    found = reckon(lines, now=at("10:00"))
    assert minutes(found) == [("OK", 45), ("STALLED", 15)]
    assert [(one.to, one.seconds, one.told) for one in found.clock_sets] == [(at("09:30:02"), -3600.0, True)]


def test_a_clock_set_forwards_invents_no_hours() -> None:
    """Eight hours that only the clock went on are in no stretch."""
    lines = [started("01:00"), state("01:00", "OK"), line("09:30", "clock_jump", seconds=8 * 3600.0)]
    assert minutes(reckon(lines, now=at("10:00"))) == [("OK", 60)]


def test_a_clock_set_back_while_the_monitor_was_off_is_told() -> None:
    """No event says so, and no stretch is negative."""
    lines = [started("10:00"), state("10:00", "OK"), line("10:30", "stopped"), started("09:00"), state("09:01", "OK")]
    found = reckon(lines, now=at("09:30"))
    assert minutes(found) == [("OK", 30), ("STARTING", 1), ("OK", 29)]
    assert [(one.seconds, one.told) for one in found.clock_sets] == [(-5400.0, False)]


def test_of_a_file_that_begins_in_the_middle_a_source_counts_from_its_first_state() -> None:
    """Rotation took the start away: the summary of the hour tells the state, and the mute."""
    lines = [line("10:00", "alarm_raised", source="pump7"), *summaries("10:20", muted=True)]
    found = reckon(lines, now=at("11:00"))
    assert minutes(found) == [("OK", 40)]
    assert found.stretches["pump7"][0].muted


def test_an_empty_file_knows_no_source() -> None:
    """Nothing is counted, nothing is raised."""
    assert reckon([], now=at("10:00")) == Reckoning()


@pytest.mark.parametrize(
    "damaged", ['{"event": "source_st', "5", '{"event": "x"}', "\0\0", '{"event": "clock_jump", "time": 1}']
)
def test_a_damaged_line_is_left_out_and_counted(damaged: str) -> None:
    """The others count as without it; an empty line is none."""
    lines = [started("10:00"), state("10:00", "OK"), damaged, "\n", state("10:30", "FAULT")]
    found = reckon(lines, now=at("11:00"))
    assert minutes(found) == [("OK", 30), ("FAULT", 30)]
    assert found.damaged_lines == 1


def test_the_last_hour_is_cut_out_of_what_lasted_longer() -> None:
    """A stretch that had begun before counts from there, and adds up to the hour."""
    lines = [started("10:00"), state("10:00", "OK"), state("10:50", "SILENT"), state("11:20", "OK")]
    found = last_seconds(reckon(lines, now=at("12:00")), 3600.0)
    assert minutes(found) == [("SILENT", 20), ("OK", 40)]
    assert found.stretches["pump7"][0].start == at("11:00")


def write(
    folder: Path, *parts: list[tuple[float, str, dict[str, Any]]], events: str = '[events]\npath = "e.jsonl"\n'
) -> None:
    """monitor.toml and event files, oldest first, with events so many hours ago."""
    (folder / "monitor.toml").write_text(CONFIG + events)
    now = datetime.now(UTC)
    for number, part in enumerate(reversed(parts)):
        lines = [
            json.dumps({"event": kind, "time": (now - timedelta(hours=ago)).isoformat(), **fields})
            for ago, kind, fields in part
        ]
        (folder / ("e.jsonl" if number == 0 else f"e.jsonl.{number}")).write_text("\n".join(lines) + "\n")


def test_the_command_tells_the_hours_of_an_event_file_with_a_rotated_part(tmp_path: Path) -> None:
    """The real program: watched, clipped, missing and off in hours, the longest with its reason, where events begin."""
    ok = {"source": "pump7", "state": "OK", "reason": "samples arrive"}
    older = [(10.0, "started", {"sources": {"pump7": "model"}}), (10.0, "source_state", ok), (9.0, "summary", ok)]
    newer = [
        (8.0, "source_state", {**ok, "state": "MISSING", "reason": "unplugged"}),
        (7.0, "summary", {**ok, "state": "MISSING"}),
        (6.0, "source_state", {**ok, "state": "CLIPPED"}),
        (5.0, "stopped", {}),
        (4.0, "started", {"sources": {"pump7": "model"}}),
        (4.0, "source_state", ok),
        *((float(ago), "summary", ok) for ago in (3, 2, 1)),
    ]
    write(tmp_path, older, newer)
    done = subprocess.run([*MONITOR, "hours"], cwd=tmp_path, capture_output=True, text=True, check=True)
    rows = {words[0]: words[1:] for words in map(str.split, done.stdout.splitlines()) if words}
    assert rows["watched"][:4] == ["7.00", "h", "70.00", "%"]
    assert rows["CLIPPED"][:2] == ["1.00", "h"]
    assert rows["not"][:5] == ["watched", "3.00", "h", "30.00", "%"]
    assert rows["MISSING"] == ["2.00", "h", "20.00", "%"]
    assert rows["monitor"] == ["off", "1.00", "h", "10.00", "%"]
    assert "2 h: MISSING (unplugged)" in done.stdout
    assert "The events begin 10 h ago" in done.stdout
    found = CliRunner().invoke(main, ["hours", "--config", str(tmp_path / "monitor.toml"), "--since", "5h", "--json"])
    [account] = json.loads(found.stdout)["sources"]
    assert account["watched_seconds"] == pytest.approx(4 * 3600, abs=60)
    assert account["unwatched"].keys() == {OFF}


def test_without_an_event_file_the_command_says_what_to_set(tmp_path: Path) -> None:
    """78 without `[events] path`, 66 where nothing was written, 65 for an empty file, 78 for a source not there."""

    def run(*options: str) -> tuple[int, str]:
        done = CliRunner().invoke(main, ["hours", "--config", str(tmp_path / "monitor.toml"), *options])
        return done.exit_code, done.output

    write(tmp_path, events="")
    code, output = run()
    assert (code, 'path = "events.jsonl"' in output) == (78, True)
    write(tmp_path)
    assert run()[0] == 66
    write(tmp_path, [])
    assert run()[0] == 65
    write(tmp_path, [(1.0, "started", {"sources": {"pump7": "model"}})])
    code, output = run("--source", "pump8")
    assert (code, "Did you mean 'pump7'?" in output) == (78, True)
    assert run("--since", "week")[0] == 2
