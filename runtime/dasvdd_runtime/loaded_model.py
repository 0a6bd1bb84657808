"""A model as the configuration uses it: its scorer and its decision chain."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from . import events
from .config import ModelTable, MonitorConfig
from .detector import DecisionSettings
from .onnxruntime_session import release_free_memory
from .pipeline import DecisionRule
from .scorer import Scorer
from .scoring_times import TimedScorer
from .thresholds import ThresholdInForce, threshold_in_force

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoadedModel:
    """A model that has scored its golden windows, and the decision chain in force."""

    name: str
    scorer: Scorer
    timed: TimedScorer
    """What the pipelines score with."""
    settings: DecisionSettings
    overrides: dict[str, float]
    cooldown_seconds: float

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
        )

    def judges_as(self, other: LoadedModel) -> bool:
        """The same file with the same decision chain."""

        def judged_by(model: LoadedModel) -> tuple[object, ...]:
            return model.scorer.metadata, model.settings, model.overrides, model.cooldown_seconds, model.scorer.provider

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
            origin=threshold.origin,
            why=threshold.why,
        )


def load_model(config: MonitorConfig, table: ModelTable) -> LoadedModel:
    """Open a model and repeat its golden windows; overrides of its decision chain are said loudly.

    Raises as Scorer does, and ConfigError for a decision chain that cannot work.
    """
    scorer = Scorer(table.path, provider=table.provider)
    scorer.verify_golden()
    for unknown in scorer.unknown_fields:
        log.warning("the metadata of %s has the field '%s', which this version ignores", table.path, unknown)
    metadata = scorer.metadata
    decision = config.overrides_of(table)
    settings, _ = decision.apply(metadata.decision, metadata.calibration.threshold)
    overrides = decision.overrides()
    if overrides:
        listed = ", ".join(f"{name} = {value:g}" for name, value in overrides.items())
        log.warning(
            "[decision] replaces the model's own: %s. How often that will alarm falsely is not known: the %g false "
            "alarms a day that the model was calibrated for hold for its own settings only.",
            listed,
            metadata.calibration.false_alarms_per_day,
        )
    return LoadedModel(table.name, scorer, TimedScorer(scorer), settings, overrides, config.alarm.cooldown_seconds)


def load_models(config: MonitorConfig) -> dict[str, LoadedModel]:
    """Every model of `config` by its name. Raises as load_model does."""
    models = {table.name: load_model(config, table) for table in config.models}
    release_free_memory()
    return models
