"""Registers of a real Modbus server, over TCP and over a serial line."""

from __future__ import annotations

import asyncio
import math
import struct
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dasvdd_runtime.configuration.config import load_config
from dasvdd_runtime.contract import UNIT_NOT_STATED
from dasvdd_runtime.errors import ConfigError, Unavailable
from dasvdd_runtime.running.channels import open_intake
from dasvdd_runtime.sources import source_at
from dasvdd_runtime.sources.base import Source, SourceLost
from dasvdd_runtime.sources.modbus import requests_for, value_of
from dasvdd_runtime.sources.row_tables import ModbusTable, RegisterTable
from hypothesis import given
from hypothesis import strategies as st
from mosquitto_broker import free_port
from pymodbus import FramerType
from pymodbus.server import ModbusSerialServer, ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

Capturing = Callable[..., Any]
HOLDING = 3
"""Modbus function code."""


def float_words(value: float) -> list[int]:
    return list(struct.unpack(">HH", struct.pack(">f", value)))


class Server:
    """pymodbus's own server with device 7: holding and input registers 100 to 109; others do not exist."""

    def __init__(self, new_server: Callable[..., Any], **settings: Any) -> None:
        self._new_server = new_server
        self._settings = settings
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server: Any = None

    def _run(self, task: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(task, self._loop).result(10)

    def start(self) -> None:
        values: list[int] = [0] * 10
        device = SimDevice(7, simdata=[SimData(100, values=values, datatype=DataType.REGISTERS)])

        async def begin() -> None:
            self._server = self._new_server(device, **self._settings)
            await self._server.serve_forever(background=True)

        self._run(begin())

    def set(self, address: int, words: list[int]) -> None:
        self._run(self._server.async_setValues(7, 16, address, words))

    def stop(self) -> None:
        if self._server is not None:
            self._run(self._server.shutdown())
            self._server = None

    def close(self) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def server(port: int) -> Iterator[Server]:
    """A TCP server that runs."""
    made = Server(ModbusTcpServer, address=("127.0.0.1", port))
    made.start()
    yield made
    made.close()


def modbus(registers: list[dict[str, Any]], *, names: list[str] | None = None, **settings: Any) -> Source:
    """A source of ten rows a second, polled as often."""
    keys = {"name": "press", "kind": "modbus", "device_id": 7, "registers": registers}
    table = ModbusTable.model_validate(keys | settings)
    return source_at(table, sample_rate_hz=10.0, channel_names=names or [r["name"] for r in registers])


def test_registers_become_values_in_their_units(server: Server, port: int, captured: Capturing) -> None:
    """Signs, 32-bit words in both orders, floats, scales; in the order of the model and not of the addresses."""
    server.set(100, [0xFFFE, 0xFFFE, 0x0001, 0x0002, 0x0002, 0x0001, *float_words(-12.5)])
    registers = [
        {"name": "float", "address": 106, "type": "float32"},
        {"name": "int16", "address": 100, "type": "int16", "scale": 0.5},
        {"name": "uint16", "address": 101, "type": "uint16", "bank": "input"},
        {"name": "int32", "address": 102, "type": "int32"},
        {"name": "uint32", "address": 104, "type": "uint32", "word_order": "little"},
    ]
    source = captured(modbus(registers, host="127.0.0.1", port=port))
    source.wait(lambda: len(source.first_channel) >= 3)
    assert (source.rows == [-12.5, -1.0, 65534.0, 65538.0, 65538.0]).all()


@given(value=st.floats(width=32, allow_nan=False), word_order=st.sampled_from(["big", "little"]), swapped=st.booleans())
def test_a_float_is_put_together_in_any_order(value: float, word_order: str, swapped: bool) -> None:
    """What the standard library took apart."""
    words = float_words(value)[:: 1 if word_order == "big" else -1]
    if swapped:
        words = [int.from_bytes(word.to_bytes(2, "big"), "little") for word in words]
    keys = {"name": "x", "address": 5, "type": "float32", "byte_order": "little" if swapped else "big"}
    register = RegisterTable.model_validate(keys | {"word_order": word_order})
    assert value_of(register, {("holding", 5): words[0], ("holding", 6): words[1]}) == value
    assert math.isnan(value_of(register, {("holding", 5): words[0]}))


@given(st.lists(st.tuples(st.integers(0, 400), st.booleans(), st.booleans()), min_size=1, max_size=150))
def test_requests_hold_every_register_whole_and_no_other_address(found: list[tuple[int, bool, bool]]) -> None:
    """Neighbours share a request, of a hundred words at most."""
    registers = [
        RegisterTable(name="x", address=address, type="int32" if long else "int16", bank="input" if low else "holding")
        for address, long, low in found
    ]
    requests = requests_for(registers)
    assert all(count <= 100 for _, _, count in requests)
    for register in registers:
        assert any(
            bank == register.bank and first <= register.address and register.address + register.words <= first + count
            for bank, first, count in requests
        )
    asked = {(bank, first + i) for bank, first, count in requests for i in range(count)}
    assert asked == {(r.bank, r.address + i) for r in registers for i in range(r.words)}


def test_a_changing_value_is_seen_at_the_models_rate(server: Server, port: int, captured: Capturing) -> None:
    """Polled every half second, held in between: five rows a poll, none lost."""
    source = captured(modbus([{"name": "x", "address": 100}], host="127.0.0.1", port=port, poll_seconds=0.5))
    source.wait(lambda: len(source.first_channel) >= 4)
    server.set(100, [7])
    source.wait(lambda: source.first_channel[-1:] == [7])
    source.pause(1.0)
    assert set(source.first_channel) == {0, 7}
    assert source.lost == 0
    assert source.missing == []


def test_a_register_that_is_refused_is_nan_and_the_others_are_read(
    server: Server, port: int, captured: Capturing, caplog: pytest.LogCaptureFixture
) -> None:
    """The log names the addresses and what the device says of them."""
    registers = [{"name": "x", "address": 100}, {"name": "y", "address": 500}]
    source = captured(modbus(registers, host="127.0.0.1", port=port))
    source.wait(lambda: len(source.samples) >= 3)
    assert (source.rows[:, 0] == 0).all()
    assert np.isnan(source.rows[:, 1]).all()
    assert "refuses holding registers 500 to 500 (there are no such addresses)" in caplog.text
    assert source.missing == []


def test_a_device_that_goes_and_comes_back(server: Server, port: int, captured: Capturing) -> None:
    """MISSING with the address, then rows again; those of the outage are lost."""
    source = captured(modbus([{"name": "x", "address": 100}], host="127.0.0.1", port=port))
    source.wait(lambda: len(source.first_channel) >= 3)
    begin = time.monotonic()
    server.stop()
    source.wait(lambda: len(source.missing) >= 2)
    assert f"127.0.0.1:{port}" in source.missing[0]
    server.start()
    source.wait(lambda: source.lost > 0)
    assert 10 <= source.lost <= 10 * (time.monotonic() - begin) + 10


def test_a_register_can_be_the_running_signal(server: Server, port: int, tiny_model: Any, captured: Capturing) -> None:
    """By its name, beside the channels of the model."""
    metadata = tiny_model.metadata(kind="sensor", channel_names=["x"], sample_rate_hz=10.0, window_samples=20)
    registers = [{"name": "on", "address": 101}, {"name": "x", "address": 100}]
    running = {"signal_channel": "on", "stop_level": 0.5}
    keys = {"name": "s", "kind": "modbus", "host": "127.0.0.1", "port": port, "device_id": 7}
    table = ModbusTable.model_validate(keys | {"registers": registers, "running": running})
    server.set(100, [5, 1])
    opened, intake = open_intake(table, metadata)
    source = captured(opened)
    source.wait(lambda: len(source.samples) > 0)
    np.testing.assert_array_equal(source.rows[0], [5, 1])
    assert (intake.channels, intake.gate_channel) == ((0,), 1)


def test_a_register_in_another_unit_than_the_models_is_refused(tiny_model: Any) -> None:
    """Milliamperes for a model of amperes; what states no unit, register or model, is taken at its word."""
    for unit, of_model, refused in (
        ("mA", "A", True),
        ("A", "A", False),
        ("", "A", False),
        ("A", UNIT_NOT_STATED, False),
    ):
        metadata = tiny_model.metadata(kind="sensor", channel_names=["x"], units=[of_model], window_samples=20)
        registers = [{"name": "current", "address": 0, "unit": unit}]
        keys = {"name": "s", "kind": "modbus", "host": "h", "channels": ["current"], "registers": registers}
        table = ModbusTable.model_validate(keys)
        if refused:
            with pytest.raises(ConfigError, match=r"'current' is in mA, but .* 'x' in A"):
                open_intake(table, metadata)
        else:
            open_intake(table, metadata)


@pytest.mark.parametrize("deaf", [True, False], ids=["answers nothing", "is not there"])
def test_a_stop_does_not_wait_for_a_device(captured: Capturing, deaf: bool) -> None:
    """The thread ends within the time that a stop waits for."""
    import socket

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if deaf:
            listener.listen()
        source = captured(modbus([{"name": "x", "address": 0}], host="127.0.0.1", port=listener.getsockname()[1]))
        time.sleep(0.3)
        begin = time.monotonic()
        assert source.stop()
        assert time.monotonic() - begin < 3.0


def test_a_serial_line_is_read_alike(
    tmp_path: Path, captured: Capturing, require_program: Callable[[str], str]
) -> None:
    """RTU with its checksums, through a pair of pseudo-terminals; a device that does not answer is told."""
    import subprocess

    ends = [tmp_path / "device", tmp_path / "port"]
    cable = subprocess.Popen([require_program("socat"), *(f"pty,rawer,link={end}" for end in ends)])
    while not all(end.exists() for end in ends):
        time.sleep(0.01)
    server = Server(ModbusSerialServer, port=str(ends[0]), framer=FramerType.RTU)
    server.start()
    try:
        server.set(100, [21])
        line = {"serial_port": str(ends[1]), "parity": "none"}  # pseudo-terminals have no parity
        source = captured(modbus([{"name": "x", "address": 100}], **line))
        source.wait(lambda: len(source.first_channel) >= 3)
        assert set(source.first_channel) == {21}
        assert source.stop()
        server.stop()
        source = modbus([{"name": "x", "address": 100}], **line)
        source.open()
        with pytest.raises(SourceLost, match=r"device 7 at .* does not answer"):
            source.read()
        source.close()
    finally:
        server.close()
        cable.terminate()
        cable.wait()


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ('host = "h"\nserial_port = "p"', "one of them"),
        ("", "one of them"),
        ('host = "h"\n[[source.registers]]\nname = "x"\naddress = 2', "two registers are named 'x'"),
        ('host = "h"\n[[source.registers]]\nname = "y"\nadress = 2', "Did you mean 'address'"),
    ],
)
def test_keys_that_cannot_work_are_refused(tmp_path: Path, keys: str, says: str) -> None:
    """Each is a ConfigError that says what."""
    host, _, more = keys.partition("\n[[")
    registers = '[[source.registers]]\nname = "x"\naddress = 1\n' + (f"[[{more}\n" if more else "")
    source = f'[[source]]\nname = "s"\nkind = "modbus"\n{host}\n{registers}'
    (tmp_path / "monitor.toml").write_text(f'[model]\npath = "m"\n{source}')
    with pytest.raises(ConfigError, match=says):
        load_config(tmp_path / "monitor.toml")


def test_a_channel_without_a_register_and_a_missing_package_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the names that there are, and the command that installs the extra."""
    with pytest.raises(ConfigError, match="channel 'y'; there are x"):
        modbus([{"name": "x", "address": 1}], names=["x", "y"], host="h")
    monkeypatch.setitem(sys.modules, "pymodbus", None)
    with pytest.raises(Unavailable, match=r"pip install 'dasvdd\[modbus\]'"):
        modbus([{"name": "x", "address": 1}], host="h")
