"""A model as the configuration uses it: its scorer and its decision chain."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .. import events
from ..alarms.decision_rule import DecisionRule
from ..configuration.config import ModelTable, MonitorConfig
from ..detector import DecisionSettings
from ..errors import ConfigError, DasvddError
from ..extras import require
from ..model_files.onnxruntime_session import release_free_memory
from ..model_files.stream_beside import StreamBeside, find_stream_form
from ..scorer import Scorer
from ..stream_scorer import stream_path
from ..thresholds.choice import ThresholdInForce, out_of_reach, threshold_in_force
from ..thresholds.promises import is_out_of_reach
from .scoring_times import TimedScorer

if TYPE_CHECKING:
    from ..signing.statement import SignedStatement

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoadedModel:
    """A model that has scored its golden windows, and the decision chain in force."""

    name: str
    scorer: Scorer
    """The plain form."""
    stream: StreamBeside
    """The stream form, where there is one to use."""
    timed: TimedScorer
    """What the pipelines score with."""
    settings: DecisionSettings
    overrides: dict[str, float]
    cooldown_seconds: float
    signed: SignedStatement | None = None
    """What a trusted key says of the file, where the configuration requires that."""

    @property
    def in_force(self) -> events.ModelInForce:
        """What events say of it."""
        return events.ModelInForce(
            name=self.name,
            metadata=self.scorer.metadata,
            threshold=self.overrides.get("threshold", self.scorer.metadata.calibration.threshold),
            settings=self.settings,
            overrides=self.overrides,
            provider=self.scorer.provider,
            form="plain" if self.stream.scorer is None else "stream",
            stream_not_used=self.stream.not_used,
            signature=None if self.signed is None else {"key": self.signed.key_id, "counter": self.signed.counter},
        )

    def judges_as(self, other: LoadedModel) -> bool:
        """The same file with the same decision chain."""

        def judged_by(model: LoadedModel) -> tuple[object, ...]:
            stream = None if model.stream.scorer is None else model.stream.scorer.metadata
            plain = model.scorer
            return plain.metadata, stream, model.settings, model.overrides, model.cooldown_seconds, plain.provider

        return judged_by(self) == judged_by(other)

    def threshold_of(self, source: str, directory: Path | None) -> ThresholdInForce:
        """The threshold that judges `source`, with what the state directory has for it."""
        configured = self.overrides.get("threshold")
        return threshold_in_force(directory, source, self.scorer.metadata, self.settings, configured)

    def rule(self, threshold: ThresholdInForce) -> DecisionRule:
        """The decision chain with `threshold`."""
        return DecisionRule(
            threshold.value,
            self.settings,
            threshold.usual_score,
            self.cooldown_seconds,
            threshold.level_dbfs,
            threshold.spectrum,
            origin=threshold.origin,
            why=threshold.why,
        )


def open_model(table: ModelTable, directory: Path | None) -> tuple[Scorer, SignedStatement | None]:
    """The scorer of a model and what its signature says, where the configuration requires one.

    `directory`: the state directory, which tells what ran before. Raises as Scorer and read_signed_model do, and
    Unavailable without the package that checks signatures.
    """
    content, signed = _read_signed(table, table.path, table.name, directory)
    return Scorer(table.path, provider=table.provider, content=content), signed


def open_stream(table: ModelTable, plain: Scorer, directory: Path | None) -> StreamBeside:
    """The stream form beside the model that `plain` scores. Raises as read_signed_model does where it must be signed.

    One that is not the model's, or cannot be used here, is logged and left alone.
    """
    path = stream_path(table.path)
    if not path.exists():
        return StreamBeside()
    content, signed = _read_signed(table, path, stream_name(table.name), directory)
    return find_stream_form(plain, path, provider=table.provider, content=content, signed=signed)


def stream_name(name: str) -> str:
    """What the stream form of the model `name` is called among the signed files that ran."""
    return f"{name}, stream form"


def _read_signed(
    table: ModelTable, path: Path, name: str, directory: Path | None
) -> tuple[bytes | None, SignedStatement | None]:
    """The content of the file at `path` with what its signature says; nothing where none is required."""
    if not table.require_signature:
        return None, None
    require("[model] require_signature", "sign", ("cryptography",))
    from ..signing.ran_before import read_ran_before
    from ..signing.signed_model import read_signed_model

    if directory is None:
        raise ConfigError("require_signature needs a state directory")
    return read_signed_model(path, table.trusted_keys, name=name, before=read_ran_before(directory))


def load_model(config: MonitorConfig, table: ModelTable, directory: Path | None) -> LoadedModel:
    """Open a model and its stream form, and repeat golden windows; overrides of its decision chain are said loudly.

    Raises as open_model and open_stream do, and ConfigError for a decision chain that cannot work.
    """
    scorer, signed = open_model(table, directory)
    scorer.verify_golden()
    stream = open_stream(table, scorer, directory)
    for unknown in scorer.unknown_fields:
        log.warning("the metadata of %s has the field '%s', which this version ignores", table.path, unknown)
    metadata = scorer.metadata
    decision = config.overrides_of(table)
    settings, threshold = decision.apply(metadata.decision, metadata.calibration.threshold)
    overrides = decision.overrides()
    if overrides:
        listed = ", ".join(f"{name} = {value:g}" for name, value in overrides.items())
        log.warning(
            "[decision] replaces the model's own: %s. How often that will alarm falsely is not known: the %g false "
            "alarms a day that the model was calibrated for hold for its own settings only.",
            listed,
            metadata.calibration.false_alarms_per_day,
        )
    if is_out_of_reach(threshold, metadata.calibration):
        log.error("[decision] of model '%s': %s", table.name, out_of_reach(threshold, metadata.calibration))
    cooldown = config.alarm.cooldown_seconds
    timed = TimedScorer(stream.scorer or scorer)
    return LoadedModel(table.name, scorer, stream, timed, settings, overrides, cooldown, signed)


def load_models(config: MonitorConfig, directory: Path | None) -> dict[str, LoadedModel]:
    """Every model of `config` by its name; `directory` is that of the state. Raises as load_model does."""
    models = {table.name: load_model(config, table, directory) for table in config.models}
    release_free_memory()
    return models


def note_signed(models: Iterable[LoadedModel], directory: Path | None) -> None:
    """Note the signed models that run now, so that none older is loaded again. A disk that fails is logged."""
    signed: dict[str, SignedStatement] = {}
    for model in models:
        files = {model.name: model.signed, stream_name(model.name): model.stream.signed}
        signed |= {name: statement for name, statement in files.items() if statement is not None}
    if not signed or directory is None:
        return
    from ..signing.ran_before import note_ran
    from ..signing.trust import RanLast

    try:
        note_ran(
            directory,
            {
                name: RanLast(counter=statement.counter, sha256=statement.sha256, created=statement.created_at)
                for name, statement in signed.items()
            },
        )
    except DasvddError as error:
        log.error("which signed models run could not be noted, so an older one could be put back: %s", error)
