"""Lines from a serial port: real pseudo-terminals, joined by socat."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dasvdd_runtime.configuration.strict_config import validate
from dasvdd_runtime.errors import ConfigError, Unavailable
from dasvdd_runtime.sources import source_at
from dasvdd_runtime.sources.base import Source, SourceLost
from dasvdd_runtime.sources.row_tables import SerialTable

Capturing = Callable[..., Any]


class Cable:
    """A device that can be plugged in and out: what is written to it is read from `port`."""

    def __init__(self, folder: Path, socat: str) -> None:
        self.port = folder / "port"
        self._device = folder / "device"
        self._socat = socat
        self._process: subprocess.Popen[bytes] | None = None

    def plug_in(self) -> None:
        ends = [f"pty,rawer,link={path}" for path in (self._device, self.port)]
        self._process = subprocess.Popen([self._socat, *ends])
        deadline = time.monotonic() + 10
        while not (self.port.exists() and self._device.exists()):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        self._writer = os.open(self._device, os.O_WRONLY | os.O_NOCTTY)

    def unplug(self) -> None:
        if self._process is not None:
            os.close(self._writer)
            self._process.terminate()
            self._process.wait()
            self._process = None

    def write(self, data: bytes) -> None:
        os.write(self._writer, data)


@pytest.fixture
def cable(tmp_path: Path, require_program: Callable[[str], str]) -> Iterator[Cable]:
    """A cable, plugged in."""
    made = Cable(tmp_path, require_program("socat"))
    made.plug_in()
    yield made
    made.unplug()


def serial(port: Path, *, names: list[str] | None = None, rate_hz: float = 10.0, **settings: Any) -> Source:
    table = SerialTable.model_validate({"name": "imu", "kind": "serial", "port": str(port)} | settings)
    return source_at(table, sample_rate_hz=rate_hz, channel_names=names or ["x", "y"])


def test_lines_are_rows_after_the_one_that_was_cut(cable: Cable, captured: Capturing) -> None:
    """The end of the line in whose middle the port was opened is no row, however well it reads."""
    source = captured(serial(cable.port))
    source.pause(0.3)
    cable.write(b"3,4\r\n1,2\r\n\r\n5;6\n7\t8\n9,")
    source.pause(0.3)
    cable.write(b"10\n")
    source.wait(lambda: len(source.first_channel) == 4)
    np.testing.assert_array_equal(source.rows, [[1, 2], [5, 6], [7, 8], [9, 10]])


@pytest.mark.parametrize("time_column", ["none", "arrival"])
def test_garbage_is_a_fault_and_counted(
    cable: Cable, captured: Capturing, caplog: pytest.LogCaptureFixture, time_column: str
) -> None:
    """Noise before a number, a word, a line of another length or without an end: NaN, never a number."""
    made = serial(cable.port, time_column=time_column, rate_hz=20.0, max_gap_seconds=0.5)
    source = captured(made)
    source.pause(0.3)
    cable.write(b"\n")
    garbage = [b"\x00\xff2,3\n", b"booting\n", b"2\n", b"2,3,4\n", b"\xfe" * 25_000 + b"\n"]
    for piece in [b"1,1\n", *garbage]:
        cable.write(piece)
        source.pause(0.12)
    for _ in range(10):
        cable.write(b"1,1\n")
        source.pause(0.05)
    source.wait(lambda: source.first_channel[-3:] == [1, 1, 1])
    assert set(np.array(source.first_channel)[np.isfinite(source.first_channel)]) == {1.0}
    assert np.isnan(source.first_channel).sum() >= 5
    assert made._feed.unreadable >= 6
    assert "holds no row" in caplog.text
    assert source.missing == []


def test_the_devices_own_time_places_the_rows(cable: Cable, captured: Capturing) -> None:
    """Milliseconds in the second column, as fast as they come; a second without rows is lost."""
    source = captured(serial(cable.port, names=["x"], time_column="2", time_unit="ms"))
    source.pause(0.3)
    cable.write(b"\n" + b"".join(b"%d,%d\n" % (i, 100 * i) for i in [*range(10), *range(20, 30)]))
    source.wait(lambda: source.lost > 0)
    assert source.first_channel == [*range(10), 9, 9, *range(20, 29)]
    assert source.lost == 8


def test_a_row_without_its_time_is_a_fault_of_the_line(cable: Cable, captured: Capturing) -> None:
    """An empty cell, or a line that ends before the time: NaN at that moment, and the rows after it count."""
    source = captured(serial(cable.port, names=["x"], time_column="3", channels=[1]))
    source.pause(0.3)
    rows = [f"{i},0,{i / 10}" for i in range(40)]
    rows[10:12] = ["10,0,", "11,0"]
    cable.write(("\n" + "\n".join(rows) + "\n").encode())
    source.wait(lambda: 35 in source.first_channel)
    assert np.isnan(source.first_channel).any()
    assert (source.missing, source.lost) == ([], 0)


def test_columns_are_picked_by_their_places(cable: Cable, captured: Capturing) -> None:
    """With `channels`, a device may send more than the model takes."""
    source = captured(serial(cable.port, names=["column 1", "column 2"], channels=[1]))
    source.pause(0.3)
    cable.write(b"\n1,2,3,word\n")
    source.wait(lambda: len(source.samples) > 0)
    np.testing.assert_array_equal(source.rows, [[1, 2]])


@pytest.mark.parametrize("time_column", ["none", "arrival"])
def test_unplugged_and_plugged_in_again(cable: Cable, captured: Capturing, time_column: str) -> None:
    """MISSING with the reason, then rows from the same path again; those of the outage are lost."""
    source = captured(serial(cable.port, names=["x"], time_column=time_column))
    source.pause(0.2)

    def stream(rows: int) -> None:
        for _ in range(rows):
            cable.write(b"1\n")
            source.pause(0.1)

    stream(6)
    source.wait(lambda: len(source.first_channel) >= 4)
    begin = time.monotonic()
    cable.unplug()
    source.wait(lambda: len(source.missing) >= 2)
    assert f"{cable.port} was lost" in source.missing[0]
    assert "by-id" in source.missing[1]
    cable.plug_in()
    deadline = time.monotonic() + 10
    while source.lost == 0 and time.monotonic() < deadline:
        stream(3)
    assert 8 <= source.lost <= 10 * (time.monotonic() - begin) + 10


def test_the_errors_of_opening_say_what_to_do(cable: Cable) -> None:
    """A port that is not there, and one that another program holds."""
    with pytest.raises(SourceLost, match="by-id"):
        serial(Path("/dev/serial/by-id/none")).open()
    first, second = serial(cable.port), serial(cable.port)
    first.open()
    with pytest.raises(SourceLost, match="another program uses it"):
        second.open()
    first.close()
    second.open()
    second.close()


def test_without_the_extra_the_command_to_install_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """pyserial is no part of the base."""
    monkeypatch.setitem(sys.modules, "serial", None)
    with pytest.raises(Unavailable, match=r"pip install 'dasvdd\[serial\]'"):
        serial(Path("port"))


@pytest.mark.parametrize("keys", [{"time_column": "t"}, {"time_column": "0"}, {"baud": 0}, {"port": ""}])
def test_keys_that_cannot_work_are_refused(keys: dict[str, Any]) -> None:
    """A serial line has no header, so a column has a number."""
    with pytest.raises(ConfigError, match=next(iter(keys))):
        validate(SerialTable, {"name": "imu", "kind": "serial", "port": "p"} | keys, origin="monitor.toml")


def test_a_fast_device_loses_nothing(cable: Cable, captured: Capturing) -> None:
    """Two thousand rows of three channels within a second, evenly at the model's rate."""
    source = captured(serial(cable.port, names=["x", "y", "z"], rate_hz=2000.0))
    source.pause(0.3)
    cable.write(b"\n")
    for i in range(0, 2000, 20):
        cable.write(b"".join(b"%d,%d,%.3f\n" % (k, -k, math.sin(k)) for k in range(i, i + 20)))
        source.pause(0.01)
    source.wait(lambda: len(source.first_channel) == 2000)
    assert source.first_channel == list(range(2000))
