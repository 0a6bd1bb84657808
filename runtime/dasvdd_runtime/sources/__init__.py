"""Where samples come from, one file a kind. A kind's module, and the library it needs, is imported where it is used."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..contract import ModelMetadata
from ..errors import ConfigError
from .base import Source
from .base_tables import BaseSourceTable
from .row_tables import CsvTailTable, IioTable, ModbusTable, MqttTopicsTable, OpcUaTable, PolledTable, SerialTable
from .tables import KINDS, CommandTable, FileTable, MicrophoneTable, RtspTable, SourceTable, StdinTable

if TYPE_CHECKING:
    from .polled import PolledDevice


def make_source(table: SourceTable, metadata: ModelMetadata) -> Source:
    """The source that `table` describes, at the model's rate and with its channels, not yet open.

    Raises ConfigError for a source of sound with a model of sensors and as the source does, RecordingError for a
    file of the other kind, and Unavailable where a library is not installed that the kind needs.
    """
    if table.gives_sound and metadata.kind == "sensor":
        rows = ", ".join(f'"{kind}"' for kind, other in KINDS.items() if not other.always_sound)
        raise ConfigError(
            f"source '{table.name}' gives sound, but the model '{metadata.name}' judges sensors "
            f"({', '.join(metadata.channel_names)} in {', '.join(metadata.units)}). Use a kind that gives rows: "
            f'{rows}; "stdin" and "command" do with format = "csv" or "f32le".'
        )
    if isinstance(table, FileTable):
        from ..recordings import require_kind

        require_kind(table.path, metadata.kind)
    return source_at(table, sample_rate_hz=metadata.sample_rate_hz, channel_names=metadata.channel_names)


def source_at(table: SourceTable, *, sample_rate_hz: float, channel_names: list[str]) -> Source:
    """The source that `table` describes, without a model. Raises Unavailable as make_source does."""
    return SOURCES[type(table)](table, sample_rate_hz, channel_names)


def _microphone(table: MicrophoneTable, rate_hz: float, names: list[str]) -> Source:
    from .shared import shared_microphone

    return shared_microphone(device=table.device, usb_port=table.usb_port, sample_rate_hz=rate_hz, channels=len(names))


def _file(table: FileTable, rate_hz: float, names: list[str]) -> Source:
    from .file import FileSource

    return FileSource(
        table.path,
        sample_rate_hz=rate_hz,
        channel_names=names,
        real_time=table.pace == "real-time",
        may_have_more=table.channels is not None,
        time_column=table.time_column,
    )


def _stdin(table: StdinTable, rate_hz: float, names: list[str]) -> Source:
    from .stdin import StdinSource

    return StdinSource(format=table.format, sample_rate_hz=rate_hz, channel_names=names)


def _command(table: CommandTable, rate_hz: float, names: list[str]) -> Source:
    from .command import CommandSource
    from .decoders import make_decoder

    return CommandSource(
        table.argv,
        name=table.name,
        sample_rate_hz=rate_hz,
        new_decoder=lambda: make_decoder(table.format, names, label=f"source '{table.name}'"),
    )


def _rtsp(table: RtspTable, rate_hz: float, names: list[str]) -> Source:
    from .rtsp import rtsp_source

    return rtsp_source(table, sample_rate_hz=rate_hz, channel_names=names)


def _csv_tail(table: CsvTailTable, rate_hz: float, names: list[str]) -> Source:
    from .csv_tail import CsvTailSource

    return CsvTailSource(table, sample_rate_hz=rate_hz, channel_names=names)


def _mqtt(table: MqttTopicsTable, rate_hz: float, names: list[str]) -> Source:
    from .mqtt import MqttSource

    return MqttSource(table, sample_rate_hz=rate_hz, channel_names=names)


def _serial(table: SerialTable, rate_hz: float, names: list[str]) -> Source:
    from .serial_port import SerialSource

    return SerialSource(table, sample_rate_hz=rate_hz, channel_names=names)


def _modbus(table: ModbusTable, rate_hz: float, names: list[str]) -> Source:
    from .modbus import ModbusDevice

    return _polled(ModbusDevice(table, names), table, rate_hz, names)


def _opcua(table: OpcUaTable, rate_hz: float, names: list[str]) -> Source:
    from .opcua import OpcUaDevice

    return _polled(OpcUaDevice(table, names), table, rate_hz, names)


def _iio(table: IioTable, rate_hz: float, names: list[str]) -> Source:
    from .iio import IioSource

    return IioSource(table, sample_rate_hz=rate_hz, channel_names=names)


def _polled(device: PolledDevice, table: PolledTable, rate_hz: float, names: list[str]) -> Source:
    from .polled import PolledSource

    return PolledSource(device, table, sample_rate_hz=rate_hz, channel_names=names)


SOURCES: dict[type[BaseSourceTable], Callable[[Any, float, list[str]], Source]] = {
    MicrophoneTable: _microphone,
    FileTable: _file,
    StdinTable: _stdin,
    CommandTable: _command,
    RtspTable: _rtsp,
    CsvTailTable: _csv_tail,
    MqttTopicsTable: _mqtt,
    SerialTable: _serial,
    ModbusTable: _modbus,
    OpcUaTable: _opcua,
    IioTable: _iio,
}
"""What makes the source of a table, at a rate in Hz and with the channels of these names."""
