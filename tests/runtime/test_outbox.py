"""What waits to be delivered: kept, in order, bounded, through kills, full disks and damage."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from dasvdd_runtime.errors import ConfigError
from dasvdd_runtime.sinks.outbox import BATCH_SECONDS, FILE_NAME, REPORT_SECONDS, Outbox
from small_disk import run_on_small_disk

KILLS = 120


def open_outbox(folder: Path, *, telemetry: bool = False, max_events: int = 1000, **options: object) -> Outbox:
    """An outbox with the receivers `fast` and `slow`; `fast` takes telemetry if asked for."""
    receivers = {"fast": telemetry, "slow": False}
    return Outbox(folder, receivers, max_events=max_events, max_bytes=10_000_000, **options)  # type: ignore[arg-type]


def lines(outbox: Outbox, name: str) -> list[str]:
    """What `name` still has to get."""
    return [row.line for row in outbox.read(name, most=100_000)]


def take(outbox: Outbox, name: str, most: int = 100_000) -> list[str]:
    """Read and acknowledge."""
    rows = outbox.read(name, most=most)
    if rows:
        outbox.acknowledge(name, rows[-1].id)
    return [row.line for row in rows]


class Clock:
    """A clock that stands still until it is told otherwise."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def test_each_receiver_reads_at_its_own_pace(tmp_path: Path) -> None:
    """What one receiver has acknowledged still waits for the other, across restarts, in order."""
    outbox = open_outbox(tmp_path)
    for number in range(10):
        outbox.write(f"event {number}", durable=True)
    assert take(outbox, "fast") == [f"event {number}" for number in range(10)]
    assert take(outbox, "slow", most=3) == ["event 0", "event 1", "event 2"]
    outbox.close()
    outbox = open_outbox(tmp_path)
    assert lines(outbox, "fast") == []
    outbox.write("event 10", durable=True)
    assert lines(outbox, "slow") == [f"event {number}" for number in range(3, 11)]
    assert lines(outbox, "fast") == ["event 10"]
    outbox.close()


def test_what_all_have_leaves_the_file(tmp_path: Path) -> None:
    """Delivered rows are removed, and ids go on counting, so that no cursor is ahead of a new event."""
    for _ in range(3):
        outbox = open_outbox(tmp_path)
        outbox.write("event", durable=True)
        assert take(outbox, "fast") == take(outbox, "slow") == ["event"]
        outbox.close()
        with contextlib.closing(sqlite3.connect(tmp_path / FILE_NAME)) as db:
            assert db.execute("SELECT count(*) FROM event").fetchone() == (0,)


def test_telemetry_that_is_delivered_at_once_is_never_written(tmp_path: Path) -> None:
    """Scores reach a live receiver from memory; those that nobody took are on the disk after BATCH_SECONDS."""
    clock = Clock()
    outbox = open_outbox(tmp_path, telemetry=True, clock=clock)
    files = [tmp_path / FILE_NAME, tmp_path / f"{FILE_NAME}-wal"]
    before = [path.read_bytes() for path in files]
    for number in range(20):
        outbox.write(f"score {number}", durable=False)
        assert take(outbox, "fast") == [f"score {number}"]
        clock.seconds += 1.0
    assert [path.read_bytes() for path in files] == before
    outbox.write("score 20", durable=False)
    clock.seconds += BATCH_SECONDS
    assert lines(outbox, "fast") == ["score 20"]
    assert files[1].read_bytes() != before[1]
    assert lines(outbox, "slow") == []
    outbox.close()


def test_telemetry_keeps_its_place_among_events(tmp_path: Path) -> None:
    """A receiver of both gets them in the order in which they were written, from disk and memory."""
    outbox = open_outbox(tmp_path, telemetry=True)
    written = []
    for number in range(50):
        written.append(f"line {number}")
        outbox.write(written[-1], durable=number % 7 == 0)
    assert lines(outbox, "fast") == written
    assert lines(outbox, "slow") == written[::7]
    outbox.close()


def test_telemetry_is_dropped_before_events_and_the_loss_is_told(tmp_path: Path) -> None:
    """A full outbox drops the oldest scores first, then the oldest events; later one event says how many."""
    clock = Clock()
    outbox = open_outbox(tmp_path, telemetry=True, max_events=100, clock=clock)
    for number in range(60):
        outbox.write(f"score {number}", durable=False)
        outbox.write(f"event {number}", durable=True)
    kept = lines(outbox, "fast")
    assert [line for line in kept if line.startswith("event")] == [f"event {number}" for number in range(60)]
    assert [line for line in kept if line.startswith("score")] == [f"score {number}" for number in range(20, 60)]
    for number in range(60, 130):
        outbox.write(f"event {number}", durable=True)
    assert lines(outbox, "slow") == [f"event {number}" for number in range(30, 130)]
    outbox.close()
    outbox = open_outbox(tmp_path, telemetry=True, max_events=100, clock=clock)
    assert len(take(outbox, "fast")) == len(take(outbox, "slow")) == 100
    for _ in range(2):  # room first, then the telling
        clock.seconds += BATCH_SECONDS
        outbox.read("slow", most=1)
    (report,) = [json.loads(line) for line in take(outbox, "slow")]
    assert report["event"] == "events_dropped"
    assert report["receivers"] == {
        "fast": {"events": 30, "scores": 60, "refused": 0},
        "slow": {"events": 30, "scores": 0, "refused": 0},
    }
    clock.seconds += 2 * REPORT_SECONDS
    assert lines(outbox, "slow") == []
    outbox.close()


def test_a_damaged_file_is_moved_aside_and_begun_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever is in the file, monitoring begins, the old file stays under another name, and an event says so."""
    path = tmp_path / FILE_NAME
    outbox = open_outbox(tmp_path)
    for number in range(500):
        outbox.write(f"event {number}" + "x" * 200, durable=True)
    outbox.close()
    whole = path.read_bytes()
    middle = len(whole) // 2
    for content in (
        b"not a database" * 100,
        whole[:middle],
        whole[:middle] + os.urandom(9000) + whole[middle + 9000 :],
    ):
        path.write_bytes(content)
        caplog.clear()
        outbox = open_outbox(tmp_path)
        assert "is damaged" in caplog.text
        outbox.write("after", durable=True)
        reset, after = lines(outbox, "fast")
        outbox.close()
        assert json.loads(reset)["event"] == "outbox_reset"
        assert (tmp_path / json.loads(reset)["moved_to"]).read_bytes() == content
        assert after == "after"
        (tmp_path / json.loads(reset)["moved_to"]).unlink()


def test_damage_while_it_runs_loses_no_event_that_comes_after(tmp_path: Path) -> None:
    """Pages that go bad under a running monitor are replaced by a new file, and later events are delivered."""
    clock = Clock()
    outbox = open_outbox(tmp_path, max_events=10_000, clock=clock)
    for number in range(3000):
        outbox.write(f"event {number}" + "x" * 900, durable=True)
    size = (tmp_path / FILE_NAME).stat().st_size
    with (tmp_path / FILE_NAME).open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(size - 4096))
    (tmp_path / f"{FILE_NAME}-wal").write_bytes(b"")
    outbox._store._db.execute("PRAGMA shrink_memory")  # type: ignore[union-attr]
    outbox.read("fast", most=10_000)
    for number in range(5):
        clock.seconds += 2.0
        outbox.write(f"after {number}", durable=True)
    found = take(outbox, "fast")
    assert found[-5:] == [f"after {number}" for number in range(5)]
    assert [json.loads(line)["event"] for line in found if line.startswith("{")] == ["outbox_reset"]
    outbox.close()


def test_a_second_monitor_is_kept_out(tmp_path: Path) -> None:
    """Two processes on one outbox would deliver everything twice: the second is told to take a folder of its own."""
    outbox = open_outbox(tmp_path)
    with pytest.raises(ConfigError, match="another process uses"):
        open_outbox(tmp_path)
    outbox.close()


def test_a_folder_that_cannot_be_used_is_a_configuration_error(tmp_path: Path) -> None:
    """A file where the folder should be."""
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be written"):
        open_outbox(tmp_path / "file")


FULL_DISK = """
import sys, logging
from pathlib import Path
from dasvdd_runtime.sinks import outbox as module
from dasvdd_runtime.sinks.outbox import Outbox
logging.basicConfig(stream=sys.stdout, format="LOG %(message)s")
folder = Path(sys.argv[1])
seconds = [0.0]
box = Outbox(folder, {"mqtt": True}, max_events=100_000, max_bytes=50_000_000, clock=lambda: seconds[0])
if sys.argv[2] == "from the start":
    box.close(); (folder / "outbox.db").unlink()
ballast = folder / "ballast"
with ballast.open("wb", buffering=0) as file:
    try:
        while True: file.write(bytes(1000))
    except OSError: pass
if sys.argv[2] == "from the start":
    box = Outbox(folder, {"mqtt": True}, max_events=100_000, max_bytes=50_000_000, clock=lambda: seconds[0])
module.MEMORY_EVENTS = 300
for number in range(400):
    seconds[0] += 1.5
    box.write(f"score {number} " + "x" * 500, durable=False)
    if number % 2: box.write(f"event {number} " + "x" * 500, durable=True)
rows = box.read("mqtt", most=10_000)
print("READABLE", sum(row.line.startswith("event") for row in rows))
ballast.unlink()
seconds[0] += 10.0
box.write("event last", durable=True)
box.close()
box = Outbox(folder, {"mqtt": True}, max_events=100_000, max_bytes=50_000_000)
found = [row.line for row in box.read("mqtt", most=10_000)]
numbers = [int(line.split()[1]) for line in found if line.startswith("event") and "last" not in line]
print("KEPT", numbers == list(range(1, 400, 2)), any(line.startswith("event last") for line in found[-2:]))
print("DROPPED", [line for line in found if "events_dropped" in line])
"""


@pytest.mark.parametrize("when", ["from the start", "later"])
def test_a_full_disk_is_said_once_and_caught_up_with(tmp_path: Path, when: str) -> None:
    """On a tmpfs without room, events go on being readable from memory, scores make place, and all is stored later."""
    printed = run_on_small_disk(tmp_path, "size=400k", "-c", FULL_DISK, tmp_path, when)
    said = [line for line in printed.splitlines() if line.startswith("LOG")]
    assert sum("kept in memory" in line for line in said) == 1, printed
    assert sum("written to again" in line for line in said) == 1
    assert "READABLE 200" in printed
    assert "KEPT True True" in printed
    assert '"events": 0' in printed  # scores alone were dropped, and told of


@pytest.mark.slow
def test_no_acknowledged_event_is_lost_to_sigkill(tmp_path: Path) -> None:
    """Killed again and again as it writes and delivers, every event whose write returned arrives or waits, in order."""
    driver = subprocess.run(
        [sys.executable, "-c", KILL_LOOP, str(tmp_path), str(KILLS)], capture_output=True, text=True, timeout=300
    )
    assert driver.returncode == 0, driver.stderr
    written = [int(word) for word in (tmp_path / "written").read_text().split()]
    delivered = [int(word) for word in (tmp_path / "delivered").read_text().split()]
    outbox = Outbox(tmp_path, {"mqtt": False}, max_events=100_000, max_bytes=50_000_000)
    waiting = [int(row.line) for row in outbox.read("mqtt", most=100_000)]
    outbox.close()
    assert not list(tmp_path.glob("*damaged*"))
    assert len(written) > 2 * KILLS
    assert set(written) <= set(delivered) | set(waiting)
    first_delivery = list(dict.fromkeys([*delivered, *waiting]))
    assert first_delivery == sorted(first_delivery)


KILL_LOOP = """
import os, random, signal, sys, time
from pathlib import Path
from dasvdd_runtime.sinks.outbox import Outbox

folder, kills = Path(sys.argv[1]), int(sys.argv[2])

def child(first):
    written = os.open(folder / "written", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    delivered = os.open(folder / "delivered", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    box = Outbox(folder, {"mqtt": False}, max_events=100_000, max_bytes=50_000_000)
    number = first
    while True:
        box.write(str(number), durable=True)
        os.write(written, f"{number} ".encode())
        number += 1
        if number % 5 == 0:
            for row in box.read("mqtt", most=3):
                os.write(delivered, f"{row.line} ".encode())
                box.acknowledge("mqtt", row.id)
            box._commit()

def written_bytes():
    path = folder / "written"
    return path.stat().st_size if path.exists() else 0

random.seed(1)
first, longest_seconds = 0, None
for _ in range(kills):
    begin_seconds = time.monotonic()
    process = os.fork()
    if process == 0:
        try:
            child(first)
        finally:
            os._exit(1)
    if longest_seconds is None:  # however busy the machine is, some are killed before they write, and some after
        while written_bytes() < 50: time.sleep(0.001)
        longest_seconds = time.monotonic() - begin_seconds
    else:
        time.sleep(random.uniform(0.0, longest_seconds))
    os.kill(process, signal.SIGKILL)
    assert os.WIFSIGNALED(os.waitpid(process, 0)[1]), "the child ended by itself"
    first += 100_000
"""


def test_receivers_and_limits_can_change(tmp_path: Path) -> None:
    """One that stays goes on, a new one begins with what comes, one that is gone reads nothing; fewer rows are kept."""
    outbox = open_outbox(tmp_path)
    for number in range(300):
        outbox.write(str(number), durable=True)
    assert take(outbox, "fast", 10) == [str(number) for number in range(10)]
    outbox.use({"fast": False, "new": True}, max_events=1000, max_bytes=10_000_000)
    outbox.write("score", durable=False)
    outbox.write("last", durable=True)
    assert lines(outbox, "new") == ["score", "last"]
    assert lines(outbox, "slow") == [] and outbox.waiting("slow") == 0
    outbox.acknowledge("slow", 5)
    outbox.refuse("slow", 5)
    assert lines(outbox, "fast") == [*(str(number) for number in range(10, 300)), "last"]
    outbox.use({"fast": False, "new": True}, max_events=100, max_bytes=10_000_000)
    outbox.write("more", durable=True)
    kept = lines(outbox, "fast")
    assert kept[-3:] == ["299", "last", "more"] and len(kept) <= 100
    assert set(outbox.standings()) == {"fast", "new"}
    outbox.close()
