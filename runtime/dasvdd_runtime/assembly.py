"""A configuration -> what runs: models, channels, and the plan that a changed configuration makes."""

from __future__ import annotations

import logging
import platform
import threading
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from . import __version__, events
from .capture import QUEUE_SECONDS, Capture
from .condition.running_gate import GateSettings
from .config import MonitorConfig, load_config
from .contract import UNIT_NOT_STATED, ModelMetadata
from .errors import ConfigError, ModelError
from .intake import Intake
from .model_files.loaded_model import LoadedModel, load_models, note_signed
from .pipeline import Pipeline
from .scoring_times import TimedScorer
from .service import Channel, ReloadPlan
from .sources import make_source
from .sources.base import Source
from .sources.base_tables import RunningTable
from .sources.channel_choice import channels_to_open
from .sources.row_tables import CsvTailTable
from .sources.tables import FileTable, SourceTable
from .thresholds.choice import ThresholdInForce

if TYPE_CHECKING:
    from .evidence.keeper import EvidenceKeeper

log = logging.getLogger(__name__)

LEVEL_MARGIN_DB = 10.0
"""A machine stands still where its level lies this far below the quietest twentieth of the training."""
LEVEL_HYSTERESIS_DB = 3.0
QUEUE_WINDOWS = 3
"""Whole windows that a live source's queue holds at least: what is left between two losses must fill some."""


class Assembly:
    """What the configuration file `path` describes, as it was last read."""

    def __init__(self, path: Path, *, wake: threading.Event) -> None:
        """Read the file and load its models. Raises as load_config, load_model and make_source do."""
        self._path = path
        self._wake = wake
        self.config = load_config(path)
        self._directory = self.config.state.directory
        self._evidence: EvidenceKeeper | None = None
        self._models = load_models(self.config, self._directory)
        self.thresholds = _thresholds(self.config, self._models, self._directory)
        note_signed(self._models.values(), self._directory)

    def channels(self, evidence: EvidenceKeeper | None = None) -> list[Channel]:
        """A capture and a pipeline for each source, not yet started; `evidence` keeps clips of their alarms."""
        self._evidence = evidence
        return [
            make_channel(
                table,
                self.model_of(table),
                self.thresholds[table.name],
                wake=self._wake,
                report_scores=self.config.events.scores,
                evidence=evidence,
            )
            for table in self.config.sources
        ]

    def model_of(self, table: SourceTable) -> LoadedModel:
        """The model that judges a source."""
        return self._models[self.config.model_of(table).name]

    def started(self) -> events.Event:
        """The first event."""
        in_force = [model.in_force for model in self._models.values()]
        return events.started(
            in_force, sources=_models_by_source(self.config), thresholds=self.thresholds, versions=versions()
        )

    def notices(self) -> list[events.Event]:
        """What should be known beside the first event: calibrations on site that are not used."""
        return _not_used(self.thresholds)

    def scorers(self) -> dict[str, TimedScorer]:
        """The models' scorers, by the configuration's name. May be called from any thread."""
        return {name: model.timed for name, model in self._models.items()}

    def reload(self, current: Sequence[Channel]) -> ReloadPlan:
        """What the file says now. Raises a DasvddError and changes nothing where that cannot be run.

        The capture of a source whose table is the same goes on. [events] is not read anew.
        """
        config = load_config(self._path)
        models = load_models(config, self._directory)
        loaded = list(models.values())
        for name, model in models.items():
            if name in self._models and self._models[name].judges_as(model):
                models[name] = self._models[name]
        thresholds = _thresholds(config, models, self._directory)
        before = {table.name: table for table in self.config.sources}
        running = {channel.pipeline.name: channel for channel in current if not channel.ended}
        channels, new_models = [], {}
        for table in config.sources:
            name = table.name
            if name not in running or before.get(name) != table:
                model = models[config.model_of(table).name]
                channels.append(
                    make_channel(
                        table,
                        model,
                        thresholds[name],
                        wake=self._wake,
                        report_scores=config.events.scores,
                        evidence=self._evidence,
                    )
                )
                continue
            channel, model, old = running[name], models[config.model_of(table).name], self.model_of(before[name])
            _require_same_stream(name, old.scorer.metadata, model.scorer.metadata)
            channels.append(channel)
            rule = model.rule(thresholds[name])
            if model is not old or config.events.scores != self.config.events.scores:
                new_models[name] = partial(
                    channel.pipeline.use_model,
                    model.name,
                    model.scorer.metadata,
                    model.timed,
                    rule,
                    report_scores=config.events.scores,
                )
            elif rule != old.rule(self.thresholds[name]):
                new_models[name] = partial(channel.pipeline.use_rule, rule)
        if config.events != self.config.events.model_copy(update={"scores": config.events.scores}):
            log.warning("[events] has changed; except for `scores` that takes effect at the next start")
        if (config.state, config.alarm.latch) != (self.config.state, self.config.alarm.latch):
            log.warning("[state] or [alarm] latch has changed; that takes effect at the next start")
        if (config.outbox, config.mqtt, config.webhook) != (self.config.outbox, self.config.mqtt, self.config.webhook):
            log.warning("[outbox], [mqtt] or [webhook] has changed; that takes effect at the next start")
        if (config.http, config.evidence) != (self.config.http, self.config.evidence):
            log.warning("[http] or [evidence] has changed; that takes effect at the next start")
        kept = [channel.pipeline.name for channel in channels if channel in current]
        event = events.reloaded(
            [model.in_force for model in models.values()],
            sources=_models_by_source(config),
            thresholds=thresholds,
            added=[table.name for table in config.sources if table.name not in kept],
            removed=[name for name in before if name not in kept],
            kept=kept,
        )
        self.config, self._models, self.thresholds = config, models, thresholds
        note_signed(loaded, self._directory)
        return ReloadPlan(channels, event, new_models, _not_used(thresholds))


def make_channel(
    table: SourceTable,
    model: LoadedModel,
    threshold: ThresholdInForce,
    *,
    wake: threading.Event,
    report_scores: bool,
    evidence: EvidenceKeeper | None = None,
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
        clips=None if evidence is None else evidence.clips_of(table, metadata, intake.channels),
    )
    capture = Capture(
        source,
        name=table.name,
        stall_seconds=table.stall_seconds,
        wake=wake,
        queue_seconds=max(QUEUE_SECONDS, QUEUE_WINDOWS * metadata.window_seconds),
        unread_stays=isinstance(table, CsvTailTable),
    )
    return Channel(capture, pipeline)


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


def gate_settings(table: RunningTable, metadata: ModelMetadata) -> GateSettings:
    """The running gate that `[source.running]` asks for; levels that it leaves out come from the training."""
    stop = metadata.baseline.level_dbfs[0] - LEVEL_MARGIN_DB if table.stop_level is None else table.stop_level
    hysteresis = LEVEL_HYSTERESIS_DB if table.signal_channel is None else 0.0
    start = stop + hysteresis if table.start_level is None else table.start_level
    return GateSettings(stop, start, hold_seconds=table.hold_seconds, settle_seconds=table.settle_seconds)


def _thresholds(
    config: MonitorConfig, models: dict[str, LoadedModel], directory: Path | None
) -> dict[str, ThresholdInForce]:
    """The threshold of each source, by its name."""
    return {
        table.name: models[config.model_of(table).name].threshold_of(table.name, directory) for table in config.sources
    }


def _not_used(thresholds: dict[str, ThresholdInForce]) -> list[events.Event]:
    return [
        events.site_threshold_not_used(source, reason=threshold.site_not_used)
        for source, threshold in thresholds.items()
        if threshold.site_not_used is not None
    ]


def versions() -> dict[str, str]:
    """Of this software, and of what computes."""
    return {
        "dasvdd": __version__,
        "onnxruntime": _onnxruntime_version(),
        "python": platform.python_version(),
    }


def _models_by_source(config: MonitorConfig) -> dict[str, str]:
    return {table.name: config.model_of(table).name for table in config.sources}


def _require_same_stream(source: str, old: ModelMetadata, new: ModelMetadata) -> None:
    """Raise ModelError unless what is captured for `old` fits `new`."""

    def stream(metadata: ModelMetadata) -> tuple[object, ...]:
        return (metadata.kind, metadata.sample_rate_hz, metadata.channels, metadata.channel_names)

    if stream(old) != stream(new) or old.used_channels != new.used_channels:
        raise ModelError(
            f"the new model of source '{source}' takes {new.channels} channel(s) of {new.kind} at "
            f"{new.sample_rate_hz:g} Hz ({', '.join(new.channel_names)}), the one that runs {old.channels} at "
            f"{old.sample_rate_hz:g} Hz ({', '.join(old.channel_names)}). Restart the monitor to change them."
        )


def _onnxruntime_version() -> str:
    for package in ("onnxruntime", "onnxruntime-gpu"):
        try:
            return version(package)
        except PackageNotFoundError:
            continue
    return "unknown"
