"""Where samples come from, one file a kind."""

from __future__ import annotations

from ..contract import ModelMetadata
from ..errors import ConfigError
from .base import Source
from .row_tables import IioTable, RowsTable
from .tables import CommandTable, FileTable, MicrophoneTable, RtspTable, SourceTable


def make_source(table: SourceTable, metadata: ModelMetadata) -> Source:
    """The source that `table` describes, at the model's rate and with its channels, not yet open.

    Raises ConfigError for a source of sound with a model of sensors and as the source does, and Unavailable where
    a library is not installed that the kind needs.
    """
    if table.gives_sound and metadata.kind == "sensor":
        raise ConfigError(
            f"source '{table.name}' gives sound, but the model '{metadata.name}' judges sensors "
            f"({', '.join(metadata.channel_names)} in {', '.join(metadata.units)}). Use a kind that gives rows: "
            '"file", "csv_tail", "mqtt", "serial", "modbus", "opcua", "iio", or "stdin" or "command" with '
            'format = "csv" or "f32le".'
        )
    return source_at(table, sample_rate_hz=metadata.sample_rate_hz, channel_names=metadata.channel_names)


def source_at(table: SourceTable, *, sample_rate_hz: float, channel_names: list[str]) -> Source:
    """The source that `table` describes, without a model. Raises Unavailable as make_source does."""
    if isinstance(table, MicrophoneTable):
        from .shared import shared_microphone

        return shared_microphone(
            device=table.device,
            usb_port=table.usb_port,
            sample_rate_hz=sample_rate_hz,
            channels=len(channel_names),
        )
    if isinstance(table, FileTable):
        from .file import FileSource

        real_time = table.pace == "real-time"
        return FileSource(
            table.path,
            sample_rate_hz=sample_rate_hz,
            channel_names=channel_names,
            real_time=real_time,
            may_have_more=table.channels is not None,
            time_column=table.time_column,
        )
    if isinstance(table, RtspTable):
        from .rtsp import rtsp_source

        return rtsp_source(table, sample_rate_hz=sample_rate_hz, channel_names=channel_names)
    if isinstance(table, CommandTable):
        from .command import CommandSource
        from .decoders import make_decoder

        return CommandSource(
            table.argv,
            sample_rate_hz=sample_rate_hz,
            new_decoder=lambda: make_decoder(table.format, channel_names),
        )
    if isinstance(table, IioTable):
        from .iio import IioSource

        return IioSource(table, sample_rate_hz=sample_rate_hz, channel_names=channel_names)
    if isinstance(table, RowsTable):
        from .row_sources import row_source_at

        return row_source_at(table, sample_rate_hz=sample_rate_hz, channel_names=channel_names)
    from .stdin import StdinSource

    return StdinSource(format=table.format, sample_rate_hz=sample_rate_hz, channel_names=channel_names)
