"""Registers of a Modbus device, over TCP or a serial line. pymodbus is an extra and imported here alone."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import ConfigError
from ..extras import require
from .base import SourceLost
from .row_feed import RowFeed
from .row_tables import ModbusTable, RegisterTable

if TYPE_CHECKING:
    from pymodbus.client import ModbusSerialClient, ModbusTcpClient

ANSWER_SECONDS = 1.0
POLL_SECONDS = 1.5
"""For all requests of a row, an answer aside; with ANSWER_SECONDS below capture.JOIN_SECONDS."""
MOST_WORDS = 100
"""In one request; the protocol allows 125, some devices fewer."""


class ModbusDevice:
    """One device at the other end of a connection of its own."""

    def __init__(self, table: ModbusTable, channel_names: Sequence[str]) -> None:
        """Raises Unavailable without pymodbus, and ConfigError where a channel has no register."""
        require('kind = "modbus"', "modbus", ("pymodbus",) if table.host else ("pymodbus", "serial"))
        by_name = {register.name: register for register in table.registers}
        missing = [name for name in channel_names if name not in by_name]
        if missing:
            raise ConfigError(
                f"source '{table.name}': no [[source.registers]] has the name of the channel '{missing[0]}'; there are "
                f"{', '.join(by_name)}. Give each channel a register, or list the names of registers in `channels`."
            )
        self._table = table
        self._registers = [by_name[name] for name in channel_names]
        self._requests = requests_for(self._registers)
        self._client: ModbusTcpClient | ModbusSerialClient | None = None
        logging.getLogger("pymodbus").setLevel(logging.CRITICAL)  # what it says, our errors say once

    def open(self) -> None:
        """Connect. Raises SourceLost."""
        self.close()
        client = self._new_client()
        try:
            connected = client.connect()
        except Exception as error:  # pyserial's own errors among them
            raise SourceLost(f"no connection to {self._table.address}: {error}") from error
        if not connected:
            raise SourceLost(f"no connection to {self._table.address}: is it the right address, and free?")
        self._client = client

    def poll(self, feed: RowFeed) -> list[float]:
        """The values of all registers, NaN for those that the device refuses. Raises SourceLost without an answer."""
        words: dict[tuple[str, int], int] = {}
        end_seconds = time.monotonic() + POLL_SECONDS
        for bank, first, count in self._requests:
            if time.monotonic() > end_seconds:
                raise SourceLost(
                    f"{self._table.address} took more than {POLL_SECONDS:g} s for {len(self._requests)} requests: "
                    "list fewer registers, or such that follow each other"
                )
            found = self._read(bank, first, count, feed)
            words |= {(bank, first + i): word for i, word in enumerate(found)}
        return [value_of(register, words) for register in self._registers]

    def close(self) -> None:
        """Disconnect."""
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(OSError):
                client.close()  # type: ignore[no-untyped-call]  # pymodbus declares it without types

    def _new_client(self) -> ModbusTcpClient | ModbusSerialClient:
        from pymodbus.client import ModbusSerialClient, ModbusTcpClient

        table = self._table
        if table.host:
            return ModbusTcpClient(table.host, port=table.port, timeout=ANSWER_SECONDS, retries=0)
        return ModbusSerialClient(
            table.serial_port,
            baudrate=table.baud,
            parity=table.parity[0].upper(),
            stopbits=table.stop_bits,
            timeout=ANSWER_SECONDS,
            retries=0,
        )

    def _read(self, bank: str, first: int, count: int, feed: RowFeed) -> list[int]:
        """The words of one request; none where the device refuses it."""
        from pymodbus.exceptions import ModbusException

        assert self._client is not None, "open() comes first"
        read = self._client.read_input_registers if bank == "input" else self._client.read_holding_registers
        try:
            answer = read(first, count=count, device_id=self._table.device_id)
        except (ModbusException, OSError) as error:
            raise SourceLost(f"device {self._table.device_id} at {self._table.address} does not answer") from error
        if answer.isError() or len(answer.registers) < count:
            code = getattr(answer, "exception_code", 0)
            feed.tell(
                f"the device refuses {bank} registers {first} to {first + count - 1} "
                f"({EXCEPTIONS.get(code, f'exception {code}')}): their channels are NaN"
            )
            return []
        return list(answer.registers)


EXCEPTIONS = {
    1: "it does not know this function: holding or input?",
    2: "there are no such addresses",
    3: "it gives not as many at once",
    4: "it has a fault",
    6: "it is busy",
    10: "the gateway has no path to it",
    11: "it does not answer the gateway",
}
"""What a device may answer instead of values, from the Modbus application protocol, section 7."""


def requests_for(registers: Sequence[RegisterTable]) -> list[tuple[str, int, int]]:
    """Bank, first address and number of words of few requests that hold `registers`, each whole, and nothing else."""
    requests: list[tuple[str, int, int]] = []
    for register in sorted(registers, key=lambda r: (r.bank, r.address)):
        bank, first, count = requests[-1] if requests else ("", 0, 0)
        together = max(first + count, register.address + register.words) - first
        if bank == register.bank and register.address <= first + count and together <= MOST_WORDS:
            requests[-1] = (bank, first, together)
        else:
            requests.append((register.bank, register.address, register.words))
    return requests


def value_of(register: RegisterTable, words: dict[tuple[str, int], int]) -> float:
    """The value in the unit of its scale; NaN where a word is missing."""
    from pymodbus.client import ModbusTcpClient

    places = [(register.bank, register.address + i) for i in range(register.words)]
    if not all(place in words for place in places):
        return math.nan
    found = [words[place] for place in places]
    if register.byte_order == "little":
        found = [int.from_bytes(word.to_bytes(2, "little"), "big") for word in found]
    kind = ModbusTcpClient.DATATYPE[register.type.upper()]
    value = ModbusTcpClient.convert_from_registers(found, kind, word_order=register.word_order)
    assert isinstance(value, int | float)
    return register.scale * value
