"""The table of a source and its model -> the channel that runs: capture and pipeline."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..condition.running_gate import GateSettings
from ..contract import UNIT_NOT_STATED, ModelMetadata
from ..errors import ConfigError, DasvddError
from ..intake import Intake
from ..pipeline import Pipeline
from ..sources import make_source
from ..sources.base import Source
from ..sources.base_tables import RunningTable
from ..sources.channel_choice import channels_to_open
from ..sources.tables import FileTable, SourceTable
from ..thresholds.choice import ThresholdInForce
from .capture import Capture
from .loaded_model import LoadedModel
from .message_queue import QUEUE_SECONDS

LEVEL_MARGIN_DB = 10.0
"""A machine stands still where its level lies this far below the quietest twentieth of the training."""
LEVEL_HYSTERESIS_DB = 3.0
LEAST_LEVEL_ROWS = 2
"""Of the newest second: a single row has no level."""
QUEUE_WINDOWS = 3
"""Whole windows that a live source's queue holds at least: what is left between two losses must fill some."""


@dataclass
class Channel:
    """A source on its way to events: the thread that captures it and the pipeline that judges it."""

    capture: Capture
    pipeline: Pipeline
    ended: bool = False
    error: DasvddError | None = None
    picked: tuple[int, ...] | None = None
    """The source's channels that are the model's, in the model's order; None: all."""


def make_channel(
    table: SourceTable,
    model: LoadedModel,
    threshold: ThresholdInForce,
    *,
    wake: threading.Event,
    report_scores: bool,
) -> Channel:
    """A capture and a pipeline for one source, not yet started. Raises as open_intake does."""
    metadata = model.scorer.metadata
    source, intake = open_intake(table, metadata)
    pipeline = Pipeline(
        name=table.name,
        model_name=model.name,
        metadata=metadata,
        scorer=model.timed,
        rule=model.rule(threshold),
        intake=intake,
        report_scores=report_scores,
        recording=str(table.path.resolve()) if isinstance(table, FileTable) else None,
    )
    capture = Capture(
        source,
        name=table.name,
        stall_seconds=table.stall_seconds,
        wake=wake,
        queue_seconds=max(QUEUE_SECONDS, QUEUE_WINDOWS * metadata.window_seconds),
        unread_stays=table.unread_stays,
    )
    return Channel(capture, pipeline, picked=intake.channels)


def open_intake(table: SourceTable, metadata: ModelMetadata) -> tuple[Source, Intake]:
    """The source that `table` describes with the channels that are needed, and what its pipeline takes of it.

    Raises as make_source does, and ConfigError for channels that do not fit the model.
    """
    wanted: list[int | str] = list(range(metadata.channels)) if table.channels is None else list(table.channels)
    if len(wanted) != metadata.channels:
        raise ConfigError(
            f"source '{table.name}' lists {len(wanted)} channels, but its model '{metadata.name}' takes "
            f"{metadata.channels} ({', '.join(metadata.channel_names)})."
        )
    _require_units(table, metadata.channel_names if table.channels is None else wanted, metadata)
    signal = None if table.running is None else table.running.signal_channel
    _require_level(table, metadata)
    gate = None if table.running is None else gate_settings(table.running, metadata)
    whole = Intake(gate=gate, silent_seconds=table.silent_seconds, stall_seconds=table.stall_seconds)
    if table.channels is None and signal is None:
        return make_source(table, metadata), whole
    everything = wanted if signal is None else [*wanted, signal]
    if table.channels is None and isinstance(signal, str):
        everything = [*metadata.channel_names, signal]
    names, places = channels_to_open(everything, kind=metadata.kind, source=table.name)
    wider = metadata.model_copy(
        update={"channels": len(names), "channel_names": names, "units": [metadata.units[0]] * len(names)}
    )
    picked, rest = tuple(places[: metadata.channels]), places[metadata.channels :]
    source = make_source(table.model_copy(update={"channels": everything}), wider)
    return source, replace(whole, channels=picked, gate_channel=rest[0] if rest else None)


def _require_units(table: SourceTable, channels: Sequence[int | str], metadata: ModelMetadata) -> None:
    """Raise ConfigError where the table states another unit of one of the model's `channels` than the model."""
    for channel, name, unit in zip(channels, metadata.channel_names, metadata.units, strict=True):
        given = table.unit_of(channel)
        if given not in ("", unit) and unit != UNIT_NOT_STATED:
            raise ConfigError(
                f"source '{table.name}': '{channel}' is in {given}, but the model '{metadata.name}' was trained with "
                f"'{name}' in {unit}. Set its scale so that it is in {unit}."
            )


def _require_level(table: SourceTable, metadata: ModelMetadata) -> None:
    """Raise ConfigError for a gate by level where the newest second holds too few rows to have one."""
    if table.running is None or table.running.signal_channel is not None:
        return
    if round(metadata.sample_rate_hz) < LEAST_LEVEL_ROWS:
        raise ConfigError(
            f"source '{table.name}': [source.running] goes by the level of the newest second, which holds fewer than "
            f"{LEAST_LEVEL_ROWS} rows at the {metadata.sample_rate_hz:.3g} Hz of its model '{metadata.name}', so that "
            "it would be IDLE for ever. Name a channel that tells whether the machine runs, a current or a speed say, "
            "as signal_channel, and its stop_level."
        )


def gate_settings(table: RunningTable, metadata: ModelMetadata) -> GateSettings:
    """The running gate that `[source.running]` asks for; levels that it leaves out come from the training."""
    stop = metadata.baseline.level_dbfs[0] - LEVEL_MARGIN_DB if table.stop_level is None else table.stop_level
    hysteresis = LEVEL_HYSTERESIS_DB if table.signal_channel is None else 0.0
    start = stop + hysteresis if table.start_level is None else table.start_level
    return GateSettings(stop, start, hold_seconds=table.hold_seconds, settle_seconds=table.settle_seconds)
