"""Where events go."""

from __future__ import annotations

import logging
import os
import threading
import time
from pathlib import Path

import pytest
from dasvdd_runtime.logs import LINES, RateLimit, about
from dasvdd_runtime.sinks.jsonl import RotatingFile, StreamSink


def all_lines(folder: Path) -> list[str]:
    """The lines of all files, oldest first."""
    files = sorted(folder.glob("events.jsonl*"), key=lambda path: path.name, reverse=True)
    return [line for path in files for line in path.read_text().splitlines()]


def test_a_file_is_rotated_before_it_grows_too_large(tmp_path: Path) -> None:
    """No file exceeds max_bytes, `keep` old ones stay, and the newest lines are whole and in order."""
    sink = RotatingFile(tmp_path / "events.jsonl", max_bytes=100, keep=2)
    for number in range(50):
        sink.write(f"line {number:03d}", durable=False)
    sink.close()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["events.jsonl", "events.jsonl.1", "events.jsonl.2"]
    assert all(path.stat().st_size <= 100 for path in tmp_path.iterdir())
    lines = all_lines(tmp_path)
    assert lines == [f"line {number:03d}" for number in range(50 - len(lines), 50)]
    assert len(lines) > 20


def test_lines_are_appended_across_restarts(tmp_path: Path) -> None:
    """A new process goes on where the old one ended, after half a line that a power cut left, too."""
    path = tmp_path / "events.jsonl"
    for line in ("one", "two"):
        sink = RotatingFile(path, max_bytes=1000, keep=1)
        sink.write(line, durable=True)
        sink.close()
    with path.open("a") as file:
        file.write('{"half')
    sink = RotatingFile(path, max_bytes=1000, keep=1)
    sink.write("three", durable=True)
    sink.close()
    assert path.read_text() == 'one\ntwo\n{"half\nthree\n'


def test_a_full_disk_loses_lines_but_raises_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A disk without room is said once, and the line after there is room again stands on its own."""
    path = tmp_path / "events.jsonl"
    sink = RotatingFile(path, max_bytes=10_000, keep=1)
    sink.write("before", durable=True)
    os.dup2(os.open("/dev/full", os.O_WRONLY), sink._file_descriptor)
    for _ in range(3):
        sink.write("lost", durable=False)
    os.dup2(os.open(path, os.O_RDWR | os.O_APPEND), sink._file_descriptor)
    sink.write("after", durable=True)
    sink.close()
    assert path.read_text() == "before\nafter\n"
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
    assert "3 events were lost" in caplog.text


def test_a_broken_pipe_ends_the_stream_quietly(caplog: pytest.LogCaptureFixture) -> None:
    """A reader of standard output that goes away is said once and never raises."""
    reading, writing = os.pipe()
    sink = StreamSink(writing)
    sink.write("heard", durable=True)
    assert os.read(reading, 100) == b"heard\n"
    os.close(reading)
    for _ in range(3):
        sink.write("unheard", durable=True)
    os.close(writing)
    assert len(caplog.records) == 1


def test_a_reader_that_does_not_read_does_not_hold_up_monitoring(caplog: pytest.LogCaptureFixture) -> None:
    """With a full pipe lines are lost, said once, and the first line after it is read again stands on its own."""
    reading, writing = os.pipe()
    sink = StreamSink(writing, patience_seconds=0.2)
    begin = time.monotonic()
    for _ in range(40):
        sink.write("x" * 6000, durable=True)
    assert time.monotonic() - begin < 2.0
    os.read(reading, 1_000_000)  # all that the pipe holds
    sink.write("heard again", durable=True)
    lines = os.read(reading, 65_536).decode().splitlines()
    os.close(reading)
    os.close(writing)
    assert lines[-1] == "heard again"
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]


def test_a_replay_waits_for_a_slow_reader() -> None:
    """Without a limit to its patience, a sink loses nothing to a reader that begins late."""
    reading, writing = os.pipe()
    sink = StreamSink(writing, patience_seconds=None)

    def write() -> None:
        for number in range(40):
            sink.write(f"{number}" + "x" * 6000, durable=True)
        os.close(writing)

    writer = threading.Thread(target=write)
    writer.start()
    time.sleep(0.3)
    with os.fdopen(reading, encoding="ascii") as pipe:
        numbers = [int(line.strip().rstrip("x")) for line in pipe]
    writer.join()
    assert numbers == list(range(40))


def test_log_lines_are_limited_by_place_in_the_code_and_by_source() -> None:
    """A flood from one place about one source is cut and counted; lines from elsewhere, or about another, pass."""
    now = [0.0]
    limit = RateLimit(clock=lambda: now[0])

    def passes(line_number: int, source: str = "pump") -> str | None:
        record = logging.LogRecord("x", logging.WARNING, "file.py", line_number, "gap %d", (7,), None)
        record.__dict__.update(about(source))
        return record.getMessage() if limit.filter(record) else None

    assert [passes(1) for _ in range(LINES + 5)].count(None) == 5
    assert passes(2) == passes(1, "fan") == "gap 7"
    now[0] = 61.0
    assert passes(1) == "gap 7 (5 lines like this left out before)"
