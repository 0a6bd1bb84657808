"""The tables `[[source]]` of monitor.toml whose sources give rows of sensor values, one class a kind."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from ..configuration.broker import BrokerTable
from ..configuration.hosts import require_host
from ..configuration.secret import Secret, refuse_two_places
from ..configuration.strict_config import StrictModel
from .base_tables import BaseSourceTable
from .row_alignment import DEFAULT_GAP_ROWS, Fill


class RowsTable(BaseSourceTable):
    """What sources have in common whose rows come at their own times and are aligned to the model's rate."""

    fill: Fill = "hold"
    """Between two rows the last value is repeated, or a straight line drawn."""
    max_gap_seconds: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Beyond it nothing is filled: the rows are lost. Default: 2.5 rows of the model."""

    @model_validator(mode="before")
    @classmethod
    def _slow_rows_are_no_stall(cls, given: dict[str, Any]) -> dict[str, Any]:
        """What lets rows lie far apart makes longer what a stall and silence are, where the table does not say."""
        poll_seconds, gap_seconds = given.get("poll_seconds"), given.get("max_gap_seconds")
        if not isinstance(gap_seconds, int | float):
            gap_seconds = DEFAULT_GAP_ROWS * poll_seconds if isinstance(poll_seconds, int | float) else 0.0
        longer = {key: least * gap_seconds for key, least in (("stall_seconds", 1), ("silent_seconds", 2))}
        return {k: v for k, v in longer.items() if v > cls.model_fields[k].default} | given


class CsvTailTable(RowsTable):
    """`[[source]]` with kind = "csv_tail": a CSV file that grows."""

    unread_stays = True

    kind: Literal["csv_tail"]
    path: Path
    """Relative to the TOML file."""
    time_column: str = Field(default="none", min_length=1)
    """Name or position from 1 of the column with the times; "none": rows are evenly spaced at the model's rate."""

    @property
    def description(self) -> str:
        """Where the samples come from, in words."""
        return f"the end of {self.path}"


class MqttTopicsTable(RowsTable, BrokerTable):
    """`[[source]]` with kind = "mqtt": rows that arrive as messages."""

    kind: Literal["mqtt"]
    topics: list[Annotated[str, Field(min_length=1)]] = Field(min_length=1)
    format: Literal["json", "csv", "number"] = "json"
    """An object with the channels by their names, a row in the model's order, or a number on a topic a channel."""
    time_key: str = ""
    """Where an object says its time; without it that of its arrival counts."""

    @property
    def label(self) -> str:
        """What errors call the table."""
        return f"source '{self.name}'"

    @property
    def description(self) -> str:
        """Where the samples come from, in words."""
        return f"{', '.join(self.topics)} at {self.address}"

    @model_validator(mode="after")
    def _topics_fit(self) -> Self:
        if self.time_key and self.format != "json":
            raise ValueError(f'only format = "json" has a time_key, not "{self.format}"')
        if self.format == "number" and any(sign in topic for topic in self.topics for sign in "+#"):
            raise ValueError('format = "number" needs one topic for each channel, without + and #')
        if len(set(self.topics)) < len(self.topics):
            raise ValueError("a topic is listed twice: every message would count twice")
        return self


class SerialTable(RowsTable):
    """`[[source]]` with kind = "serial": lines of CSV values from a serial port."""

    kind: Literal["serial"]
    port: str = Field(min_length=1)
    """Best by a path that stays: /dev/serial/by-id/..."""
    baud: int = Field(default=115_200, ge=50, le=20_000_000)
    time_column: Annotated[str, Field(pattern=r"^(none|arrival|[1-9]\d?)$")] = "none"
    """Position from 1 of the device's own time; "arrival": a line counts when it comes; "none": lines are evenly spaced
    at the model's rate."""
    time_unit: Literal["s", "ms", "us", "ns"] = "s"
    """Of the device's own time."""

    @property
    def time_at(self) -> int | None:
        """Place from 0 of the device's own time; None where it says none."""
        return int(self.time_column) - 1 if self.time_column.isdecimal() else None

    @property
    def description(self) -> str:
        """Where the samples come from, in words."""
        return self.port


class PolledTable(RowsTable):
    """What sources have in common that are asked for each row."""

    poll_seconds: float | None = Field(default=None, ge=0.001, le=3600)
    """Default: at the model's rate."""


class RegisterTable(StrictModel):
    """`[[source.registers]]`: one value of a Modbus device."""

    name: str = Field(min_length=1)
    """The channel."""
    address: int = Field(ge=0, le=65535)
    """As on the wire, from 0: 40001 of a manual is 0."""
    bank: Literal["holding", "input"] = "holding"
    type: Literal["int16", "uint16", "int32", "uint32", "float32"] = "int16"
    word_order: Literal["big", "little"] = "big"
    byte_order: Literal["big", "little"] = "big"
    scale: float = Field(default=1.0, allow_inf_nan=False)
    """What the number is multiplied with to be in the unit that the model was trained with."""
    unit: str = ""
    """Of the scaled value. Where it is given, it must be the model's."""

    @property
    def words(self) -> int:
        """How many registers it takes."""
        return 2 if self.type.endswith("32") else 1


class ModbusTable(PolledTable):
    """`[[source]]` with kind = "modbus": registers of a device, over TCP or a serial line (RTU)."""

    kind: Literal["modbus"]
    host: Annotated[str, AfterValidator(lambda host: host and require_host(host))] = ""
    port: int = Field(default=502, ge=1, le=65535)
    serial_port: str = ""
    """Best by a path that stays: /dev/serial/by-id/..."""
    baud: int = Field(default=19_200, ge=50, le=20_000_000)
    parity: Literal["none", "even", "odd"] = "even"
    stop_bits: Literal[1, 2] = 1
    device_id: int = Field(default=1, ge=0, le=255)
    registers: list[RegisterTable] = Field(min_length=1)
    """In the TOML file, each is a table `[[source.registers]]`."""

    @property
    def address(self) -> str:
        """The connection, for people."""
        return f"{self.host}:{self.port}" if self.host else self.serial_port

    @property
    def description(self) -> str:
        """Where the samples come from, in words."""
        return f"device {self.device_id} at {self.address}"

    @property
    def named_channels(self) -> list[str]:
        """Those of the registers."""
        return [register.name for register in self.registers]

    def unit_of(self, channel: int | str) -> str:
        """That of its register."""
        return next((register.unit for register in self.registers if register.name == channel), "")

    @model_validator(mode="after")
    def _connection_fits(self) -> Self:
        if bool(self.host) == bool(self.serial_port):
            raise ValueError("give host (Modbus TCP) or serial_port (RTU), one of them")
        names = self.named_channels
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two registers are named '{twice[0]}': a name is that of a channel")
        return self


class OpcUaTable(PolledTable):
    """`[[source]]` with kind = "opcua": nodes of an OPC UA server."""

    kind: Literal["opcua"]
    url: str = Field(pattern=r"^opc\.tcp://[^@\s]+$")
    """Without a user and password."""
    nodes: dict[str, str] = Field(min_length=1)
    """Channel -> node id."""
    username: str = ""
    password_file: Path | None = None
    password_env: str = ""
    security: Literal["none", "sign", "sign_and_encrypt"] = "none"
    """Policy Basic256Sha256."""
    cert_file: Path | None = None
    """Of this client."""
    key_file: Path | None = None
    server_cert_file: Path | None = None
    """The server's, to trust no other; without it that which it sends is taken."""

    @property
    def named_channels(self) -> list[str]:
        """Those of the nodes."""
        return list(self.nodes)

    @property
    def password(self) -> Secret:
        """Where the password is."""
        return Secret(label=f"source '{self.name}': password", file=self.password_file, env=self.password_env)

    @property
    def description(self) -> str:
        """Where the samples come from, in words."""
        return self.url

    @model_validator(mode="after")
    def _credentials_fit(self) -> Self:
        refuse_two_places("password", self.password_file, self.password_env)
        if (self.password_file is not None or bool(self.password_env)) != bool(self.username):
            raise ValueError("username and password_file (or password_env) belong together: one is missing")
        if (self.security == "none") != (self.cert_file is None) or (self.cert_file is None) != (self.key_file is None):
            raise ValueError('security other than "none" needs cert_file and key_file, and they need it')
        if self.server_cert_file is not None and self.security == "none":
            raise ValueError('server_cert_file needs security other than "none"')
        return self


class IioTable(BaseSourceTable):
    """`[[source]]` with kind = "iio": an accelerometer or other device of Linux's Industrial I/O."""

    kind: Literal["iio"]
    device: str = Field(min_length=1)
    """Its name, as in /sys/bus/iio/devices/iio:device0/name, or iio:device0."""
    scale: float = Field(default=1.0, allow_inf_nan=False)
    """What values in the kernel's unit, m/s² of acceleration, are multiplied with."""
    trigger: str = ""
    """For devices without a clock of their own: the name of the trigger."""

    @property
    def description(self) -> str:
        """Where the samples come from, in words."""
        return f"the device '{self.device}'"
