"""The whole monitor, killed and stopped again and again at any moment: what it wrote fits together all the same."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from monitor_child import MONITOR, Events

RATE_HZ = 16000
RUNS, LOOPS = 100, 4


class Receiver:
    """A webhook that keeps the ids of events in the order of their arrival, and refuses some at first."""

    def __init__(self, seed: int) -> None:
        self.ids: list[str] = []
        receiver, seeded = self, random.Random(seed)

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                taken = seeded.random() > 0.05
                if taken:
                    receiver.ids.append(json.loads(body)["id"])
                self.send_response(200 if taken else 500)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class History:
    """The event file with all that was rotated away meanwhile."""

    def __init__(self, path: Path) -> None:
        self.events: Events = []
        self._path = path

    def last_id(self) -> str:
        """The id of the last event; the one before while that is being written."""
        lines = self._path.read_text().splitlines() if self._path.exists() else []
        for line in reversed(lines):
            with contextlib.suppress(ValueError):
                return str(json.loads(line)["id"])
        return ""

    def read(self) -> Events:
        """The events since the last call. Fails where some are gone, or where a line is not one."""
        files = [self._path.with_name(f"{self._path.name}.{number}") for number in range(5, 0, -1)] + [self._path]
        lines = [line for file in files if file.exists() for line in file.read_text().splitlines()]
        found: Events = [json.loads(line) for line in lines if line]
        known = [event["id"] for event in self.events]
        ids = [event["id"] for event in found]
        assert len(set(ids)) == len(ids), "an event was written twice"
        first = ids.index(known[-1]) + 1 if known else 0
        assert known[-first:] == ids[:first] or not first, "what was written has changed"
        self.events += found[first:]
        return found[first:]


def wait_until(true: Callable[[], object], *, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.01)


def whole_copy(folder: Path) -> Path:
    """A copy of the databases in `folder`, each of which SQLite finds whole."""
    copy = folder / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir()
    for path in folder.glob("*.db*"):
        shutil.copy(path, copy)
    for name in ("state.db", "outbox.db"):
        if (copy / name).exists():
            with sqlite3.connect(copy / name) as database:
                assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            database.close()
    return copy


def alarms(folder: Path) -> set[str]:
    """The ids of those that nobody has judged."""
    if not (folder / "state.db").exists():
        return set()
    database = sqlite3.connect(folder / "state.db")
    try:
        return {id for (id,) in database.execute("SELECT id FROM alarms WHERE verdict IS NULL")}
    except sqlite3.OperationalError:
        return set()  # killed before it made its tables
    finally:
        database.close()


def waiting(folder: Path) -> list[str]:
    """The ids in the outbox that the receiver has not acknowledged."""
    database = sqlite3.connect(folder / "outbox.db")
    try:
        (cursor,) = database.execute("SELECT coalesce(max(cursor), 0) FROM receiver").fetchone()
        rows = database.execute("SELECT line FROM event WHERE id > ? ORDER BY id", (cursor,)).fetchall()
        return [json.loads(line)["id"] for (line,) in rows]
    finally:
        database.close()


def judge_all_but_newest(folder: Path) -> None:
    """What `ack` writes, so that latched alarms do not pile up."""
    if not alarms(folder):
        return
    database = sqlite3.connect(folder / "state.db")
    with database:
        database.execute(
            "UPDATE alarms SET verdict = 'real', told = 0 WHERE verdict IS NULL "
            "AND rowid < (SELECT max(rowid) FROM alarms WHERE verdict IS NULL)"
        )
    database.close()


def processes_with(word: str) -> list[str]:
    """Command lines of the processes that have `word` in theirs."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if word in text:
            found.append(text)
    return found


CONFIG = """
[model]
path = "../model.onnx"
[[source]]
name = "m"
kind = "command"
format = "s16le"
argv = ["sh", "-c", "while cat {folder}/sound.raw; do sleep 0.2; done"]
[decision]
smoothing_seconds = 0.0
k = 1
n = 1
[events]
path = "events.jsonl"
max_bytes = 20000
[state]
directory = "."
[alarm]
latch = true
[webhook]
url = "http://127.0.0.1:{port}/"
"""


class Loop:
    """A monitor with state, outbox, webhook and a rotated event file, whose source is loud now and then."""

    def __init__(self, folder: Path, seed: int) -> None:
        folder.mkdir()
        self.folder = folder
        self.receiver = Receiver(seed)
        self.history = History(folder / "events.jsonl")
        self.begun = 0
        self._seeded = random.Random(seed)
        self._may_be_missing: set[str] = set()
        self._unjudged: set[str] = set()
        quiet, loud = (a * np.random.default_rng(0).uniform(-1, 1, RATE_HZ // 2) for a in (0.1, 0.5))
        np.round(32767 * np.concatenate([quiet, loud])).astype("<i2").tofile(folder / "sound.raw")
        (folder / "monitor.toml").write_text(CONFIG.format(folder=folder, port=self.receiver.port))

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def go_round(self, runs: int) -> None:
        """Start and end it `runs` times, and then once more, in peace."""
        for number in range(runs):
            self._run(self._seeded.choice([signal.SIGTERM, signal.SIGKILL]))
            if number % 5 == 0:
                judge_all_but_newest(self.folder)
                self._unjudged = alarms(whole_copy(self.folder))
        self._run(signal.SIGTERM, at_peace=True)

    def _run(self, end: signal.Signals, *, at_peace: bool = False) -> None:
        """One run, ended by `end` while it starts, while it works, or `at_peace`, with what it wrote delivered."""
        before = self.history.last_id()
        with (self.folder / "log").open("ab") as log:
            command = [*MONITOR, "run", str(self.folder / "monitor.toml")]
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log)
        try:
            code = self._ended(process, end, before, at_peace=at_peace)
        finally:
            process.kill()
            process.wait()
        new = self.history.read()
        kinds = [event["event"] for event in new]
        if end == signal.SIGKILL:
            assert code == -signal.SIGKILL
            self._may_be_missing.update(event["id"] for event in new[-1:])
        elif new:
            assert (code, kinds[-1]) == (0, "stopped"), f"{new[0]} ... {new[-1]} {self.log()[-2000:]}"
        else:  # it had not begun
            assert code in (0, -signal.SIGTERM)
        self.begun += "started" in kinds
        self._look_at_alarms(new)

    def _ended(self, process: subprocess.Popen[bytes], end: signal.Signals, before: str, *, at_peace: bool) -> int:
        """Its exit code after `end`, at the moment that `_run` is to choose. `before`: the newest event before it."""
        if at_peace or self._seeded.random() < 0.7:
            wait_until(lambda: self.history.last_id() != before or process.poll() is not None)
        time.sleep(self._seeded.uniform(0, 0.7))
        if at_peace:
            newest = self.history.last_id()
            wait_until(lambda: newest in self.receiver.ids)
        assert process.poll() is None, self.log()[-2000:]
        process.send_signal(end)
        return process.wait(60)

    def _look_at_alarms(self, new: Events) -> None:
        """No alarm that nobody has judged is forgotten, neither by state.db nor by the monitor."""
        lasting = alarms(whole_copy(self.folder))
        known = self._unjudged | {event["alarm"] for event in new if event["event"] == "alarm_raised"}
        assert known <= lasting
        if any(event["event"] == "stopped" for event in new):
            told = {event["alarm"] for event in new if event["event"] == "alarm_latched"}
            assert told >= self._unjudged & lasting
        self._unjudged = lasting

    def all_fits_together(self) -> None:
        """Every event reached the webhook or waits for it, in order, but one that a kill interrupted; none is left."""
        assert not list(self.folder.glob("*damaged*")) and "Traceback" not in self.log()
        written, received = [event["id"] for event in self.history.events], self.receiver.ids
        assert set(written) - set(received) - set(waiting(whole_copy(self.folder))) <= self._may_be_missing
        first_arrivals = list(dict.fromkeys(received))
        assert first_arrivals == [id for id in written if id in set(received)]
        assert processes_with(str(self.folder / "sound.raw")) == []


@pytest.mark.slow
def test_a_hundred_kills_and_stops_leave_nothing_broken(tiny_model: Any, tmp_path: Path) -> None:
    """SIGTERM or SIGKILL at any moment: it starts again, files and databases are whole, and nothing is lost."""
    tiny_model(threshold=0.02)
    loops = [Loop(tmp_path / f"loop{seed}", seed) for seed in range(LOOPS)]
    try:
        with ThreadPoolExecutor(LOOPS) as threads:
            list(threads.map(lambda loop: loop.go_round(RUNS // LOOPS), loops))
        for loop in loops:
            loop.all_fits_together()
    finally:
        for loop in loops:
            loop.receiver.close()
    assert sum(loop.begun for loop in loops) > RUNS / 2, "most runs ended before they began: little was tested"
    print(
        [
            (
                loop.begun,
                len(loop.history.events),
                len(loop.receiver.ids),
                len(set(loop.receiver.ids)),
                sum(e["event"] == "alarm_raised" for e in loop.history.events),
            )
            for loop in loops
        ]
    )
