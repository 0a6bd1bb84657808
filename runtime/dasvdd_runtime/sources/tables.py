"""The tables `[[source]]` of monitor.toml, one class a kind. Imports nothing that only one kind needs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, get_args
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from ..configuration.secret import Secret, refuse_two_places
from .base_tables import BaseSourceTable
from .row_tables import CsvTailTable, IioTable, ModbusTable, MqttTopicsTable, OpcUaTable, SerialTable


class MicrophoneTable(BaseSourceTable):
    """`[[source]]` with kind = "microphone"."""

    always_sound = True

    kind: Literal["microphone"]
    device: str = ""
    """Part of the device's name, as `dasvdd-monitor devices` prints it; empty for the system's default input."""
    usb_port: str = Field(default="", pattern=r"^(\d+-\d+(\.\d+)*)?$")
    """The USB port that it is in, as `dasvdd-monitor devices` prints it, such as "1-1.2"."""

    @property
    def description(self) -> str:
        """Where the samples come from, in words."""
        named = f"'{self.device}'" if self.device else "the default input"
        return f"USB port {self.usb_port}" if self.usb_port and not self.device else named


class FileTable(BaseSourceTable):
    """`[[source]]` with kind = "file": the replay of a recording."""

    kind: Literal["file"]
    path: Path
    """WAV, FLAC, OGG, or a CSV, NPY, NPZ or Parquet table at the model's sample rate; relative to the TOML file."""
    pace: Literal["fast", "real-time"] = "fast"
    time_column: str = "auto"
    """Column of a table with the times of its rows, by name or position from 1; 'auto': a leading one that its name
    says is one, 'none': rows are evenly spaced at the model's rate."""

    @property
    def description(self) -> str:
        """Where the samples of a trial come from, in words."""
        return "the beginning of the file"


class _PipeTable(BaseSourceTable):
    format: Literal["s16le", "f32le", "csv"]
    """Raw interleaved PCM (little-endian), or one CSV row a sample; at the model's sample rate."""

    @property
    def gives_sound(self) -> bool:
        """Unless it may be rows or floats of a sensor."""
        return self.format == "s16le"


class StdinTable(_PipeTable):
    """`[[source]]` with kind = "stdin": what another program pipes in, at the model's sample rate."""

    kind: Literal["stdin"]

    @property
    def description(self) -> str:
        """Where the samples come from, in words."""
        return "standard input"


class CommandTable(_PipeTable):
    """`[[source]]` with kind = "command": a program that is started, and started again whenever it ends."""

    kind: Literal["command"]
    argv: list[Annotated[str, Field(min_length=1)]] = Field(min_length=1)
    """The program and its arguments, one string each; no shell reads them. It runs in the monitor's folder."""

    @property
    def description(self) -> str:
        """Where the samples come from, in words."""
        return f"the program '{self.argv[0]}'"


STREAM_SCHEMES = ("rtsp", "rtsps", "http", "https", "rtp", "srt", "udp", "tcp")


class RtspTable(BaseSourceTable):
    """`[[source]]` with kind = "rtsp": the sound of a network stream, read by ffmpeg."""

    always_sound = True

    kind: Literal["rtsp"]
    url: str
    """Without a password."""
    transport: Literal["tcp", "udp"] = "tcp"
    """Of RTSP."""
    username: str = ""
    password_file: Path | None = None
    password_env: str = ""
    """The name of an environment variable."""

    @model_validator(mode="after")
    def _url_can_be_shown(self) -> RtspTable:
        # Judged for the whole table, since the message of a single key would repeat what it holds.
        try:
            parts = urlsplit(self.url)
        except ValueError:
            raise ValueError("the url cannot be read") from None
        if parts.scheme not in STREAM_SCHEMES:
            raise ValueError(f"the url begins with none of {', '.join(s + '://' for s in STREAM_SCHEMES)}")
        if "@" in parts.netloc:
            raise ValueError("the url holds a user or a password: use `username` and `password_file` or `password_env`")
        if any(sign in self.url for sign in "'\n\r\\"):
            raise ValueError("the url holds a quote, a backslash or a line break: write it percent-encoded")
        refuse_two_places("password", self.password_file, self.password_env)
        if bool(self.username) != (self.password_file is not None or bool(self.password_env)):
            raise ValueError("username and password_file (or password_env) belong together: one is missing")
        return self

    @property
    def password(self) -> Secret:
        """Where its password stands."""
        return Secret(label=f"source '{self.name}': password", file=self.password_file, env=self.password_env)

    @property
    def description(self) -> str:
        """Where the samples come from, in words."""
        return self.url.partition("?")[0]


SourceTable = Annotated[
    MicrophoneTable
    | FileTable
    | StdinTable
    | CommandTable
    | RtspTable
    | CsvTailTable
    | MqttTopicsTable
    | SerialTable
    | ModbusTable
    | OpcUaTable
    | IioTable,
    Field(discriminator="kind"),
]

KINDS: dict[str, type[BaseSourceTable]] = {
    get_args(table.model_fields["kind"].annotation)[0]: table for table in get_args(get_args(SourceTable)[0])
}
"""The class of each kind's table."""
