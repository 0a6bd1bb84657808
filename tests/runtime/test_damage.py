"""What a bad or a full disk makes of the monitor's files: a stated reaction to each, and monitoring goes on."""

from __future__ import annotations

import itertools
import json
import random
import shutil
import sqlite3
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dasvdd_runtime.alarms.desk import AlarmDesk
from dasvdd_runtime.alarms.mutes import Mute
from dasvdd_runtime.sinks.delivery import DeliveredOutbox
from dasvdd_runtime.sinks.outbox import Outbox
from dasvdd_runtime.sinks.outbox_store import Row
from dasvdd_runtime.state.state_store import StateStore
from monitor_child import MonitorChild
from small_disk import run_on_small_disk

DAMAGES = 100


def damaged(data: bytes, seeded: random.Random) -> bytes:
    """`data` with some bytes changed, or cut short."""
    changed = bytearray(data)
    for _ in range(seeded.choice([1, 3, 20])):
        changed[seeded.randrange(len(data))] = seeded.randrange(256)
    return bytes(changed[: seeded.randrange(len(data))] if seeded.random() < 0.1 else changed)


def raised(number: int) -> dict[str, Any]:
    """An alarm, as a pipeline tells of it."""
    return {
        "event": "alarm_raised",
        "source": f"pump{number % 3}",
        "stream_seconds": float(number),
        "start_seconds": float(number),
        "smoothed_score": 1.0,
        "threshold": 0.5,
        "model_fingerprint": "f" * 64,
    }


def cleared(number: int) -> dict[str, Any]:
    """The end of `raised(number)`."""
    more = {"event": "alarm_cleared", "peak_seconds": float(number), "peak_score": 2.0}
    return raised(number) | more


def alarm_ids(folder: Path) -> set[str]:
    database = sqlite3.connect(folder / "state.db")
    found = {id for (id,) in database.execute("SELECT id FROM alarms")}
    database.close()
    return found


def test_no_damage_of_state_db_stops_the_desk(tmp_path: Path) -> None:
    """Whatever bytes of it change, the desk begins, and the next alarm is kept, in the old file or in a new one."""
    desk = AlarmDesk(tmp_path / "good", latch=True)
    desk.begin()
    for number in range(30):
        desk.mark(raised(number))
        desk.mark(cleared(number))
    store = StateStore.open_existing(tmp_path / "good")
    store.mute_all([Mute(f"id{i}", f"pump{i}", time.time() + 3600, 3600.0, "oiling") for i in range(2)])
    store.judge([alarm.id for alarm in store.alarms()[:5]], "real", "a note")
    store.close()
    desk.close()
    good, seeded = (tmp_path / "good" / "state.db").read_bytes(), random.Random(0)
    put_aside = 0
    for number in range(DAMAGES):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "state.db").write_bytes(damaged(good, seeded))
        desk = AlarmDesk(folder, latch=True)
        desk.begin()
        alarm = desk.mark(raised(0))["alarm"]
        desk.mark(cleared(0))
        desk.close()
        assert alarm in alarm_ids(folder)
        put_aside += any(folder.glob("state.db.damaged-*"))
    assert 0 < put_aside < DAMAGES


def event_line() -> str:
    return json.dumps({"event": "summary", "id": str(uuid.uuid4()), "source": "pump"})


def open_outbox(folder: Path) -> Outbox:
    return Outbox(folder, {"mqtt": True}, max_events=1000, max_bytes=1_000_000)


def test_no_damage_of_outbox_db_stops_delivery(tmp_path: Path) -> None:
    """Whatever bytes of it change, it opens, and what comes next can be read by its receiver."""
    outbox = open_outbox(tmp_path / "good")
    for number in range(100):
        outbox.write(event_line(), durable=number % 3 > 0)
    outbox.acknowledge("mqtt", outbox.read("mqtt", most=10)[-1].id)
    outbox.close()
    good, seeded = (tmp_path / "good" / "outbox.db").read_bytes(), random.Random(0)
    for number in range(DAMAGES):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "outbox.db").write_bytes(damaged(good, seeded))
        outbox, line = open_outbox(folder), event_line()
        outbox.write(line, durable=True)
        rows = outbox.read("mqtt", most=1000)
        assert rows[-1].line == line or any("outbox_reset" in row.line for row in rows)
        outbox.acknowledge("mqtt", rows[-1].id)
        outbox.close()


class Collecting:
    """A receiver that takes everything, and like the real ones cannot read what is no event."""

    name, batch = "collecting", 10

    def __init__(self) -> None:
        self.ids: list[str] = []

    def connect(self) -> None:
        pass

    def deliver(self, rows: Sequence[Row], *, delivered: Callable[[Row], None], refused: Callable[[Row], None]) -> None:
        for row in rows:
            self.ids.append(json.loads(row.line)["id"])
            delivered(row)

    def close(self) -> None:
        pass


@pytest.mark.parametrize("line", ["{", "[]", '{"event": "summary"}', '{"event": 1, "id": "x"}', ""])
def test_a_damaged_event_holds_up_no_other(tmp_path: Path, line: str) -> None:
    """A line in the outbox that is no event any more is given up and counted; those around it arrive."""
    outbox, receiver = Outbox(tmp_path, {"collecting": False}, max_events=100, max_bytes=100_000), Collecting()
    lines = [event_line() for _ in range(3)]
    for written in (lines[0], line, lines[1], line, lines[2]):
        outbox.write(written, durable=True)
    sink = DeliveredOutbox(outbox, [receiver])
    end = time.monotonic() + 10
    while len(receiver.ids) < 3 and time.monotonic() < end:
        time.sleep(0.01)
    assert receiver.ids == [json.loads(written)["id"] for written in lines]
    assert sink.standings()["collecting"].lost["refused"] == 2
    sink.close()


def test_a_monitor_whose_files_are_all_damaged_watches(tiny_model: Any, tmp_path: Path) -> None:
    """Garbage for state.db and outbox.db and half a line in the event file: all are said, and an alarm is written."""
    tiny_model(threshold=0.02)
    (tmp_path / "state.db").write_bytes(b"no database" * 500)
    (tmp_path / "outbox.db").write_bytes(b"none either" * 500)
    (tmp_path / "events.jsonl").write_text('{"event": "summary", "id": "1"}\n{"event": "sum')
    (tmp_path / "monitor.toml").write_text(
        '[model]\npath = "model.onnx"\n[[source]]\nname = "m"\nkind = "stdin"\nformat = "s16le"\n'
        '[events]\npath = "events.jsonl"\n[state]\ndirectory = "."\n[webhook]\nurl = "http://127.0.0.1:1/"\n'
    )
    child = MonitorChild(tmp_path / "monitor.toml")
    child.wait_for("started")
    child.feed(np.random.default_rng(0).uniform(-0.5, 0.5, (64000, 1)).astype(np.float32))
    alarm = child.wait_for("alarm_raised")["id"]
    assert child.stop() == 0
    assert child.of_kind("state_lost")
    lines = (tmp_path / "events.jsonl").read_text().splitlines()
    assert lines[1] == '{"event": "sum'
    assert alarm in [json.loads(line)["id"] for line in [lines[0], *lines[2:]]]
    assert alarm in alarm_ids(tmp_path)
    assert len(list(tmp_path.glob("*.db.damaged-*"))) == 2
    log = b"".join(child.errors).decode()
    assert "outbox.db is damaged" in log and "state.db cannot be used" in log and "Traceback" not in log


def test_files_that_somebody_removes_are_begun_anew(tiny_model: Any, tmp_path: Path) -> None:
    """rm of event file, outbox and the whole state directory while it runs: said, and no later alarm is missing in any.

    Nor is an event that waits in the outbox.
    """
    tiny_model(threshold=0.02)
    (tmp_path / "monitor.toml").write_text(
        '[model]\npath = "model.onnx"\n[[source]]\nname = "m"\nkind = "stdin"\nformat = "s16le"\n'
        '[events]\npath = "events.jsonl"\n[state]\ndirectory = "state"\n[webhook]\nurl = "http://127.0.0.1:1/"\n'
        "[alarm]\nlatch = true\n"
    )
    child = MonitorChild(tmp_path / "monitor.toml")
    child.wait_for("started")
    fault = np.random.default_rng(0).uniform(-0.5, 0.5, (64000, 1)).astype(np.float32)
    child.feed(np.concatenate([fault, fault / 10, fault / 10, fault / 10]))
    child.wait_for("alarm_cleared")
    (tmp_path / "events.jsonl").unlink()
    (tmp_path / "outbox.db").unlink()
    shutil.rmtree(tmp_path / "state")
    assert child.wait_for("state_lost")["moved_to"] is None
    child.feed(fault)
    later = child.wait_for("alarm_raised", count=2)["id"]
    assert child.stop() == 0
    alarms = [event["id"] for event in child.of_kind("alarm_raised")]
    assert [event["id"] for event in map(json.loads, (tmp_path / "events.jsonl").read_text().splitlines())].count(later)
    assert set(alarm_ids(tmp_path / "state")) == set(alarms), "the one that is latched is known, too"
    database = sqlite3.connect(tmp_path / "outbox.db")
    waiting = [json.loads(line)["id"] for (line,) in database.execute("SELECT line FROM event")]
    assert waiting == [event["id"] for event in child.events]
    log = b"".join(child.errors).decode()
    for file in ("events.jsonl", "outbox.db", "state.db"):
        assert log.count(f"{file} was removed") == 1, log


def desk_with_verdicts(folder: Path) -> tuple[AlarmDesk, dict[str, str | None]]:
    """A desk that looks at every call, with an alarm that lasts and two that are over, one judged real, one false."""
    ticks = itertools.count(step=100.0)
    desk = AlarmDesk(folder, clock=lambda: next(ticks))
    desk.begin()
    ids = [desk.mark(raised(number))["id"] for number in range(3)]
    said = {ids[0]: "real", ids[1]: "false", ids[2]: None}
    command = StateStore.open_existing(folder)
    for number, verdict in enumerate(("real", "false")):
        desk.mark(cleared(number))
        command.judge([ids[number]], verdict, f"note {number}")
    command.close()
    desk.look()
    return desk, said


@pytest.mark.parametrize("replaced", [False, True], ids=["removed", "replaced by an older one"])
def test_what_a_removed_state_db_held_is_in_the_new_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, replaced: bool
) -> None:
    """Ended alarms, verdicts and notes too; how many is said, and no verdict is told a second time."""
    desk, said = desk_with_verdicts(tmp_path)
    older = tmp_path / "backup" / "state.db"
    earlier, known = desk_with_verdicts(older.parent)
    earlier.close()
    (tmp_path / "state.db").unlink()
    if replaced:
        older.rename(tmp_path / "state.db")
    told = desk.look()
    assert [(event["event"], event["kept_alarms"], event["kept_verdicts"]) for event in told] == [("state_lost", 3, 2)]
    assert desk.look() == []
    desk.close()
    store = StateStore.open_existing(tmp_path)
    assert {alarm.id: alarm.verdict for alarm in store.alarms()} == (known if replaced else {}) | said
    assert {alarm.note for alarm in store.alarms() if alarm.verdict == "false"} == {"note 1"}
    store.close()
    assert "with all that it held, 3 alarms and 2 verdicts" in caplog.text


def test_what_a_removed_state_db_no_longer_gives_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Overwritten, then removed: the alarm that lasts is in the new one; the log says what is lost and where it is."""
    desk, said = desk_with_verdicts(tmp_path)
    database = tmp_path / "state.db"
    other = sqlite3.connect(database)
    other.execute("UPDATE alarms SET muted = muted")  # the desk must read the pages anew
    other.commit()
    other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    other.close()
    with database.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (database.stat().st_size - 4096))
    database.unlink()
    (told,) = desk.look()
    assert (told["event"], told["kept_alarms"], told["kept_verdicts"]) == ("state_lost", None, None)
    desk.close()
    assert alarm_ids(tmp_path) == {id for id, verdict in said.items() if verdict is None}
    assert "They stand in the event file" in caplog.text and "restore a backup" in caplog.text


@pytest.mark.parametrize("when", ["later", "start"])
def test_a_full_disk_under_everything_at_once_costs_no_alarm(tiny_model: Any, tmp_path: Path, when: str) -> None:
    """With no room for event file, outbox and state, it starts and watches on, and stores alarms once there is room."""
    tiny_model(threshold=0.02)
    driver, disk = Path(__file__).parents[1] / "data" / "full_disk.py", tmp_path / "disk"
    found = json.loads(run_on_small_disk(disk, "size=1m", driver, disk, when))
    log = found["log"]
    assert found["code"] == 0 and "Traceback" not in log
    assert set(found["raised"]) <= set(found["in_state"]), log
    assert set(found["told"]) <= set(found["in_outbox"]), log
    assert found["latched"] == ([found["raised"][0]] if when == "start" else []), "an alarm of the run before"
    lost = set(found["raised"]) - set(found["readable"])
    assert lost <= set(found["during"]), "only what came while the disk was full may be missing in the event file"
    assert found["readable"].count("") <= 1 and len(set(found["readable"])) == len(found["readable"])
    for file in ("events.jsonl", "outbox.db", "state.db"):
        assert sum(file in line for line in log.splitlines()) == 2, f"said once, and that it was over: {log}"


DESK_ON_FULL_DISK = """
import logging, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from dasvdd_runtime.alarms.desk import AlarmDesk
from full_disk import fill
from test_damage import raised
logging.basicConfig(stream=sys.stdout, format="LOG %(message)s")
folder, seconds = Path(sys.argv[1]), 0.0
desk = AlarmDesk(folder, latch=True, clock=lambda: seconds)
desk.begin()
for _ in range(2):
    ballast = fill(folder)
    for number in range(3):
        desk.mark(raised(number))
        for _ in range(3):
            seconds += 100.0
            desk.look()
    ballast.unlink()
    print("ROOM", flush=True)
    for _ in range(3):
        seconds += 100.0
        desk.look()
desk.close()
"""


def test_a_full_disk_under_state_db_is_not_told_as_over_while_it_lasts(tmp_path: Path) -> None:
    """However often it is looked at meanwhile, and whatever can still be read: once that it is full, once that not."""
    data = Path(__file__).parents[1] / "data"
    lines = run_on_small_disk(tmp_path / "disk", "size=1m", "-c", DESK_ON_FULL_DISK, tmp_path / "disk", data)
    said = [line.split(":")[-1].split(";")[0].strip() for line in lines.splitlines()]
    assert said == ["database or disk is full", "ROOM", "can be used again"] * 2, lines


NO_INODE = """
import logging, sys
from pathlib import Path
from dasvdd_runtime.sinks.jsonl import RotatingFile
logging.basicConfig(stream=sys.stdout, format="LOG %(message)s")
folder, made = Path(sys.argv[1]), []
try:
    while True:
        made.append(folder / f"ballast{len(made)}")
        made[-1].touch()
except OSError: pass
sink = RotatingFile(folder / "events.jsonl", max_bytes=10_000, keep=1)
sink.write("lost", durable=True)
made[0].unlink()
sink.write("kept", durable=True)
sink.close()
print((folder / "events.jsonl").read_text())
"""


def test_an_event_file_that_a_full_disk_keeps_from_being_made_is_made_later(tmp_path: Path) -> None:
    """No room even for a name: that is said, and no reason not to watch; the file is there once there is room."""
    first, second, *written = run_on_small_disk(tmp_path, "nr_inodes=20", "-c", NO_INODE, tmp_path).split("\n")
    assert "No space" in first and "1 events were lost" in second
    assert written[0] == "kept"
