"""A monitor whose disk is full for a time. Run by a test where `folder` is a small tmpfs; prints what came of it.

    python full_disk.py FOLDER WHEN      (WHEN: `start`, or `later`)

Event file, outbox, state and lock are all on the full disk; standard output is not.
"""

from __future__ import annotations

import json
import sqlite3
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from monitor_child import MonitorChild
from numpy.typing import NDArray

CONFIG = """
[model]
path = "../model.onnx"
[[source]]
name = "m"
kind = "stdin"
format = "s16le"
[decision]
smoothing_seconds = 0.0
k = 1
n = 1
[events]
path = "events.jsonl"
scores = true
[state]
directory = "."
[alarm]
latch = true
[webhook]
url = "http://127.0.0.1:1/"
"""


def sound(amplitude: float) -> NDArray[np.float32]:
    """Two seconds of noise."""
    return (amplitude * np.random.default_rng(0).uniform(-1, 1, (32000, 1))).astype(np.float32)


def start(folder: Path) -> MonitorChild:
    """A monitor that has heard something."""
    child = MonitorChild(folder / "monitor.toml")
    child.wait_for("started")
    child.feed(sound(0.1))
    child.wait_for("source_state")
    return child


def alarm(child: MonitorChild, number: int) -> None:
    """Have it raise its alarm `number` and clear it."""
    child.feed(sound(0.5))
    child.wait_for("alarm_raised", count=number)
    child.feed(sound(0.1))
    child.wait_for("alarm_cleared", count=number)


def fill(folder: Path) -> Path:
    """A file that leaves no room beside it."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for block in (65536, 4096, 1):
            try:
                while file.write(bytes(block)):
                    pass
            except OSError:
                continue
    return ballast


def rows(path: Path, query: str) -> list[Any]:
    """What `query` finds in a database, which must be whole."""
    database = sqlite3.connect(path)
    assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    found = [value for (value,) in database.execute(query)]
    database.close()
    return found


def main(folder: Path, when: str) -> None:
    """Print a JSON object for the test to judge."""
    (folder / "monitor.toml").write_text(CONFIG)
    told: list[dict[str, Any]] = []
    if when == "later":
        child = start(folder)
        ballast = fill(folder)
    else:
        first = start(folder)
        alarm(first, 1)
        assert first.stop() == 0
        told += first.events
        ballast = fill(folder)
        child = start(folder)
    alarm(child, 1)
    alarm(child, 2)
    during = [event["alarm"] for event in child.of_kind("alarm_raised")]
    ballast.unlink()
    time.sleep(3)
    alarm(child, 3)
    code = child.stop()
    told += child.events
    lines = (folder / "events.jsonl").read_text().splitlines()
    raised = [event["id"] for event in told if event["event"] == "alarm_raised"]
    result = {
        "code": code,
        "raised": raised,
        "during": during,
        "latched": [event["alarm"] for event in child.of_kind("alarm_latched")],
        "in_state": rows(folder / "state.db", "SELECT id FROM alarms"),
        "in_outbox": [json.loads(line)["id"] for line in rows(folder / "outbox.db", "SELECT line FROM event")],
        "told": [event["id"] for event in told if event["event"] != "score"],
        "readable": [readable(line) for line in lines if line],
        "log": b"".join(child.errors).decode(),
    }
    print(json.dumps(result))


def readable(line: str) -> str:
    """The id of the event in a line, or "" for half a line."""
    try:
        return str(json.loads(line)["id"])
    except ValueError:
        return ""


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
