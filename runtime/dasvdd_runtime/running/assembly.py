"""A configuration -> what runs: models, channels, evidence, and the plan that a changed configuration makes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from .. import events
from ..alarms.desk import AlarmDesk
from ..configuration.config import MonitorConfig, load_config
from ..errors import ModelError
from ..sources.tables import SourceTable
from ..thresholds.choice import ThresholdInForce
from ..versions import versions
from ..words import count
from .changes import Change, prepared
from .channels import Channel, make_channel
from .loaded_model import LoadedModel, load_models, note_signed
from .reload import ReloadPlan, changed_sections, held_back
from .scoring_times import TimedScorer

if TYPE_CHECKING:
    from ..evidence.keeper import EvidenceKeeper
    from .outlets import Outlets


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

    def channels(self, alarms: AlarmDesk) -> list[Channel]:
        """A capture and a pipeline for each source, not yet started; `alarms` tells of their evidence.

        Raises as open_intake and EvidenceKeeper do.
        """
        self._alarms = alarms
        self._use_evidence(self._make_evidence(self.config))
        made = [self._channel(self.config, table, self._models, self.thresholds) for table in self.config.sources]
        self._give_clips(self.config, self._models, made)
        return made

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

    def reload(self, current: Sequence[Channel], *, outlets: Outlets) -> ReloadPlan:
        """What the file says now. Raises a DasvddError and changes nothing where that cannot be run.

        The capture of a source whose table is the same goes on.
        """
        before = self.config
        config, restart_needed = held_back(load_config(self._path), before)
        models = load_models(config, self._directory)
        loaded = list(models.values())
        for name, model in models.items():
            if name in self._models and self._models[name].judges_as(model):
                models[name] = self._models[name]
        thresholds = _thresholds(config, models, self._directory)
        tables = {table.name: table for table in before.sources}
        running = {channel.pipeline.name: channel for channel in current if not channel.ended}
        judges = {table.name: models[config.model_of(table).name] for table in config.sources}
        kept = [
            table.name
            for table in config.sources
            if table.name in running
            and _goes_on(tables[table.name], table, self.model_of(tables[table.name]), judges[table.name])
        ]
        channels, new_models = [], {}
        for table in config.sources:
            if table.name not in kept:
                channels.append(self._channel(config, table, models, thresholds))
                continue
            channel, model, old = running[table.name], judges[table.name], self.model_of(tables[table.name])
            _require_same_stream(table.name, old, model)
            channels.append(channel)
            rule = model.rule(thresholds[table.name])
            if model is not old or config.events.scores != before.events.scores:
                new_models[table.name] = partial(
                    channel.pipeline.use_model,
                    model.name,
                    model.scorer.metadata,
                    model.timed,
                    rule,
                    report_scores=config.events.scores,
                )
            elif rule != old.rule(self.thresholds[table.name]):
                new_models[table.name] = partial(channel.pipeline.use_rule, rule)
        clips = partial(self._give_clips, config, models, channels)
        changes = prepared([partial(self._prepare_evidence, config, clips), *outlets.preparations(config)])
        event = events.reloaded(
            [model.in_force for model in models.values()],
            sources=_models_by_source(config),
            thresholds=thresholds,
            added=[table.name for table in config.sources if table.name not in kept],
            removed=[name for name in tables if name not in kept],
            kept=kept,
            judged_before={name: self._judge_of(tables[name]) for name in kept},
            changed=changed_sections(before, config),
            restart_needed=restart_needed,
        )
        self.config, self._models, self.thresholds = config, models, thresholds
        note_signed(loaded, self._directory)
        return ReloadPlan(channels, event, new_models, changes, _not_used(thresholds))

    def _judge_of(self, table: SourceTable) -> dict[str, object]:
        """What judges a source, for the event of a reload."""
        metadata = self.model_of(table).scorer.metadata
        threshold = self.thresholds[table.name].value
        return {"model": metadata.name, "model_fingerprint": metadata.model_fingerprint, "threshold": threshold}

    def _channel(
        self,
        config: MonitorConfig,
        table: SourceTable,
        models: Mapping[str, LoadedModel],
        thresholds: Mapping[str, ThresholdInForce],
    ) -> Channel:
        return make_channel(
            table,
            models[config.model_of(table).name],
            thresholds[table.name],
            wake=self._wake,
            report_scores=config.events.scores,
        )

    def _make_evidence(self, config: MonitorConfig) -> EvidenceKeeper | None:
        directory = config.evidence.directory
        if directory is None or not config.keeps_evidence:
            return None
        from ..evidence.keeper import EvidenceKeeper

        return EvidenceKeeper(config.evidence, directory, patient=config.only_replays)

    def _use_evidence(self, evidence: EvidenceKeeper | None) -> None:
        self._evidence = evidence
        self._alarms.tell_of(evidence)

    def _prepare_evidence(self, config: MonitorConfig, give_clips: Callable[[], None]) -> Change | None:
        """Keep evidence as `config` says; `give_clips` then has the channels told. Raises as EvidenceKeeper does."""
        if self._evidence is None:
            evidence = self._make_evidence(config)
            if evidence is None:
                return None
            return Change(partial(_in_turn, partial(self._use_evidence, evidence), give_clips), evidence.close)
        if config.evidence.directory is None:
            return Change(give_clips)
        change = self._evidence.prepare(config.evidence, config.evidence.directory, patient=config.only_replays)
        return Change(partial(_in_turn, change.apply, give_clips), change.abandon)

    def _give_clips(
        self, config: MonitorConfig, models: Mapping[str, LoadedModel], channels: Sequence[Channel]
    ) -> None:
        """Have `channels`, in the order of the sources of `config`, tell what keeps evidence of them."""
        if self._evidence is None:
            return
        from ..evidence.clips import SourceOfClips

        for table, channel in zip(config.sources, channels, strict=True):
            source = SourceOfClips(table.name, config.evidence_of(table), channel.picked)
            metadata, before = models[config.model_of(table).name].scorer.metadata, channel.pipeline.clips
            clips = self._evidence.clips_of(source, config.evidence, metadata, before=before)
            if clips is not before:
                channel.pipeline.use_clips(clips)


def _in_turn(*steps: Callable[[], object]) -> None:
    for step in steps:
        step()


def _goes_on(before: SourceTable, table: SourceTable, old: LoadedModel, new: LoadedModel) -> bool:
    """Nothing of a source changes that its capture would have to begin anew for."""
    same_capture = before.model_copy(update={"model": table.model, "evidence": table.evidence}) == table
    return same_capture and (before.model == table.model or _stream(old) == _stream(new))


def _stream(model: LoadedModel) -> tuple[object, ...]:
    """What has to be captured for `model`."""
    metadata = model.scorer.metadata
    shape = (metadata.kind, metadata.sample_rate_hz, metadata.channels)
    return *shape, tuple(metadata.channel_names), tuple(metadata.used_channels)


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


def _models_by_source(config: MonitorConfig) -> dict[str, str]:
    return {table.name: config.model_of(table).name for table in config.sources}


def _require_same_stream(source: str, old_model: LoadedModel, new_model: LoadedModel) -> None:
    """Raise ModelError unless what is captured for `old_model` fits `new_model`."""
    if _stream(old_model) != _stream(new_model):
        old, new = old_model.scorer.metadata, new_model.scorer.metadata
        raise ModelError(
            f"the new model of source '{source}' takes {count(new.channels, 'channel')} of {new.kind} at "
            f"{new.sample_rate_hz:g} Hz ({', '.join(new.channel_names)}), the one that runs {old.channels} at "
            f"{old.sample_rate_hz:g} Hz ({', '.join(old.channel_names)}). Restart the monitor to change them."
        )
