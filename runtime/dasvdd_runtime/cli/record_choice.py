"""Which source `dasvdd-monitor record` records, at which rate, with which channels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from ..configuration.config import MonitorConfig
from ..contract import UNIT_NOT_STATED, ModelMetadata
from ..errors import ConfigError, nearest
from ..files import file_name
from ..reading.recording_types import Kind
from ..recorders.rows import TIME_LABEL
from ..sources import source_at
from ..sources.channel_choice import channels_to_open
from ..sources.row_tables import PolledTable
from ..sources.tables import CommandTable, FileTable, SourceTable, StdinTable

if TYPE_CHECKING:
    from ..sources.base import Source

DEFAULT_SOUND_HZ = 16000
LEAST_SOUND_HZ = 1000
LARGEST_RATE_HZ = 1e6
NOT_IN_A_HEADER = ',;"\t\r\n'


@dataclass(frozen=True)
class Wanted:
    """What is to be recorded."""

    table: SourceTable
    kind: Kind
    sample_rate_hz: float
    channel_names: list[str]
    """As they are written."""
    units: list[str]
    """Of each channel; empty where it is not known."""
    source_names: list[str]
    """What the source gives."""
    places: list[int]
    """Where among these each channel is."""

    @property
    def file_name(self) -> str:
        """What the files' names begin with."""
        return file_name(self.table.name)

    def source(self) -> Source:
        """The source, not yet open. Raises Unavailable where a library is not installed that it needs."""
        return source_at(self.table, sample_rate_hz=self.sample_rate_hz, channel_names=self.source_names)


def choose_source(config: MonitorConfig, name: str) -> SourceTable:
    """The source of `config` called `name`, or the only one that can be recorded. Raises ConfigError for others."""
    tables = [table for table in config.sources if not isinstance(table, FileTable)]
    chosen = [table for table in tables if not name or table.name == name]
    names = [table.name for table in tables]
    if len(chosen) == 1:
        return chosen[0]
    if any(table.name == name for table in config.sources) and not chosen:
        raise ConfigError(f"source '{name}' replays a file, which is a recording already: train on that")
    raise ConfigError(
        f"--name {name!r} fits {len(chosen)} of the sources that can be recorded ({', '.join(names) or 'none'}); "
        f"choose one with --name.{nearest(name, names) if name else ''}"
    )


def choose(table: SourceTable, model: ModelMetadata | None, *, rate_hz: float | None, channels: str | None) -> Wanted:
    """What to record of `table`: what was given, else as `model` says, else as the table does.

    Raises click.UsageError for what is missing or does not fit, ConfigError where table and model do not fit.
    """
    if model is not None and table.gives_sound and model.kind == "sensor":
        raise ConfigError(
            f"source '{table.name}' gives sound, but the model '{model.name}' judges sensors. To record it for another "
            "model, give --rate and --channels."
        )
    kind = _kind(table, model, channels)
    wanted_channels = None if table.channels is None else list(table.channels)
    if kind == "audio":
        count = _sound_channels(table, model, channels)
        names = [f"channel {number}" for number in range(count)]
        opened: list[int | str] = list(range(count)) if wanted_channels is None else wanted_channels
    else:
        names = _row_channels(table, model, channels)
        opened = list(names) if wanted_channels is None else wanted_channels
    if len(opened) != len(names):
        raise click.UsageError(
            f"source '{table.name}' lists {len(opened)} `channels`, and {len(names)} are to be recorded "
            f"({', '.join(names)}): their numbers must be equal"
        )
    source_names, places = channels_to_open(opened, kind=kind, source=table.name)
    return Wanted(
        table=table,
        kind=kind,
        sample_rate_hz=_rate(table, kind, model, rate_hz),
        channel_names=names,
        units=[_unit(table, channel, name, model) for channel, name in zip(opened, names, strict=True)],
        source_names=source_names,
        places=places,
    )


def _kind(table: SourceTable, model: ModelMetadata | None, channels: str | None) -> Kind:
    if table.gives_sound:
        return "audio"
    if model is not None:
        return model.kind
    if isinstance(table, StdinTable | CommandTable) and table.format == "f32le":
        return "audio" if channels is None or channels.isdecimal() else "sensor"
    return "sensor"


def _sound_channels(table: SourceTable, model: ModelMetadata | None, channels: str | None) -> int:
    if channels is None:
        listed = 1 if table.channels is None else len(table.channels)
        return listed if model is None else model.channels
    if not channels.isdecimal() or int(channels) < 1:
        raise click.UsageError(f"--channels {channels}: source '{table.name}' gives sound; give the number of channels")
    return int(channels)


def _row_channels(table: SourceTable, model: ModelMetadata | None, channels: str | None) -> list[str]:
    if channels is not None:
        names = [name.strip() for name in channels.split(",")]
    elif model is not None:
        names = model.channel_names
    elif table.channels is not None and all(isinstance(channel, str) for channel in table.channels):
        names = [str(channel) for channel in table.channels]
    else:
        names = table.named_channels if table.channels is None else []
    if not all(names) or not names or (channels is not None and channels.isdecimal()):
        raise click.UsageError(
            f"source '{table.name}' gives rows: name their channels, in the source's order where it does not name them "
            "itself, for instance --channels x,y,z"
        )
    for name in names:
        if names.count(name) > 1 or name == TIME_LABEL or any(sign in name for sign in NOT_IN_A_HEADER):
            raise click.UsageError(
                f"channel '{name}' cannot be a column of its own in a CSV file: it is there twice, the name of the "
                "times, or has a separator or a quote. Give other names with --channels."
            )
    return names


def _rate(table: SourceTable, kind: Kind, model: ModelMetadata | None, rate_hz: float | None) -> float:
    rate = model.sample_rate_hz if rate_hz is None and model is not None else rate_hz
    if kind == "audio":
        rate = float(DEFAULT_SOUND_HZ if rate is None else rate)
        if not rate.is_integer() or rate < LEAST_SOUND_HZ:
            raise click.UsageError(f"--rate {rate:g}: sound has a whole number of Hz, {LEAST_SOUND_HZ} at least")
        return rate
    if rate is None:
        poll_seconds = table.poll_seconds if isinstance(table, PolledTable) else None
        example = f"{1 / poll_seconds:g}" if poll_seconds else "50"
        raise click.UsageError(
            f"source '{table.name}' gives rows: say how many a second are to be recorded, which is then the rate of "
            f"the model: --rate {example}"
        )
    if not 0 < rate <= LARGEST_RATE_HZ:
        raise click.UsageError(f"--rate {rate:g}: must be above 0 and at most {LARGEST_RATE_HZ:g} rows a second")
    return rate


def _unit(table: SourceTable, channel: int | str, name: str, model: ModelMetadata | None) -> str:
    if model is not None and name in model.channel_names:
        unit = model.units[model.channel_names.index(name)]
        return "" if unit == UNIT_NOT_STATED else unit
    return table.unit_of(channel)
