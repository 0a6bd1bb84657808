"""monitor.toml -> MonitorConfig. Every fault is one ConfigError (exit code 78) that names the key."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, field_validator, model_validator

from ..detector import DecisionSettings
from ..endpoint.tables import HttpTable
from ..errors import ConfigError
from ..evidence.tables import EvidenceTable, Mode
from ..model_files.execution_providers import AUTO, unknown_provider
from ..sinks.tables import EmailTable, MqttTable, OutboxTable, ReceiverTable, WebhookTable
from ..sources.tables import SourceTable
from .config_paths import refuse_overlaps
from .strict_config import StrictModel, read_toml, validate

EVIDENCE_FOLDER = "evidence"
"""Of the state directory."""


class DecisionTable(StrictModel):
    """`[decision]`, `[model.decision]`: values that replace the model's own. The calibrated rate then is void.

    What the file says, mostly None; `apply` makes DecisionSettings and a threshold of it.
    """

    threshold: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    smoothing_seconds: float | None = None
    k: int | None = None
    n: int | None = None
    clear_ratio: float | None = None
    minimum_duration_seconds: float | None = None

    def overrides(self) -> dict[str, float]:
        """The values that are set, by name."""
        return self.model_dump(exclude_none=True)

    def apply(self, settings: DecisionSettings, threshold: float) -> tuple[DecisionSettings, float]:
        """The model's `settings` and `threshold` with this table's values in their place.

        Raises ConfigError where the result cannot work, for instance k above n.
        """
        values = self.overrides()
        chosen_threshold = float(values.pop("threshold", threshold))
        try:
            return DecisionSettings(**{**asdict(settings), **values}), chosen_threshold
        except ValueError as error:
            raise ConfigError(f"[decision]: {error}; {_own(settings)}") from error


def _own(settings: DecisionSettings) -> str:
    return (
        f"the model's own settings are k = {settings.k}, n = {settings.n}, smoothing_seconds = "
        f"{settings.smoothing_seconds:g}, clear_ratio = {settings.clear_ratio:g}, minimum_duration_seconds = "
        f"{settings.minimum_duration_seconds:g}"
    )


class ModelTable(StrictModel):
    """`[model]`, or one of several `[[model]]`: which model, and on what it runs."""

    path: Path
    """The exported model; relative to the TOML file."""
    provider: str = "auto"
    """`auto`, or a name that model_files.execution_providers knows."""
    name: str = Field(default="model", min_length=1)
    """What sources call it."""
    decision: DecisionTable = DecisionTable()
    """For this model alone; beats `[decision]`."""
    require_signature: bool = False
    """Load nothing that none of `trusted_keys` has signed."""
    trusted_keys: list[Path] = Field(default_factory=list)
    """Files with public keys; relative to the TOML file."""

    @field_validator("provider")
    @classmethod
    def _provider_is_known(cls, name: str) -> str:
        fault = None if name == AUTO else unknown_provider(name)
        if fault:
            raise ValueError(fault)
        return name

    @model_validator(mode="after")
    def _keys_fit(self) -> ModelTable:
        if self.require_signature and not self.trusted_keys:
            raise ValueError('require_signature needs trusted_keys, for instance ["release.pub.pem"]')
        if self.trusted_keys and not self.require_signature:
            raise ValueError("trusted_keys alone check nothing: set require_signature = true, or remove them")
        return self


class EventsTable(StrictModel):
    """`[events]`: where events go besides standard output."""

    path: Path | None = None
    """JSON-lines file, rotated to path.1, path.2, ...; relative to the TOML file. Without it: standard output only."""
    max_bytes: int = Field(default=10_000_000, ge=10_000)
    keep: int = Field(default=5, ge=1)
    """Number of rotated files kept beside the current one."""
    scores: bool = False
    """Also write one event per window."""


class AlarmTable(StrictModel):
    """`[alarm]`: what happens to an alarm after it rose."""

    cooldown_seconds: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """After an alarm of a source has cleared, none rises for this long."""
    latch: bool = False
    """An alarm whose scores have cleared stays until somebody acknowledges it. Needs a state directory."""


class StateTable(StrictModel):
    """`[state]`: where alarms, verdicts and mutes are kept over restarts."""

    directory: Path | None = None
    """Relative to the TOML file; without it, what systemd says in $STATE_DIRECTORY, else none."""


def _as_list(tables: Any) -> Any:
    """A lone `[model]`, say, as a list of one."""
    return [tables] if isinstance(tables, dict) else tables


class MonitorConfig(StrictModel):
    """What `dasvdd-monitor run` and `check` read. All paths are absolute or relative to the working folder."""

    model: Annotated[list[ModelTable], BeforeValidator(_as_list)] = Field(min_length=1)
    """In the TOML file `[model]`, or several `[[model]]`."""
    source: Annotated[list[SourceTable], BeforeValidator(_as_list)] = Field(min_length=1)
    """In the TOML file `[source]`, or several `[[source]]`."""
    decision: DecisionTable = DecisionTable()
    events: EventsTable = EventsTable()
    alarm: AlarmTable = AlarmTable()
    state: StateTable = StateTable()
    evidence: EvidenceTable = EvidenceTable()
    outbox: OutboxTable = OutboxTable()
    mqtt: MqttTable | None = None
    webhook: Annotated[list[WebhookTable], BeforeValidator(_as_list)] = Field(default_factory=list)
    """In the TOML file `[webhook]`, or several `[[webhook]]`."""
    email: Annotated[list[EmailTable], BeforeValidator(_as_list)] = Field(default_factory=list)
    """In the TOML file `[email]`, or several `[[email]]`."""
    http: HttpTable | None = None

    @property
    def sources(self) -> list[SourceTable]:
        """Every source, in the order of the file."""
        return self.source

    @property
    def models(self) -> list[ModelTable]:
        """Every model, in the order of the file."""
        return self.model

    @property
    def only_replays(self) -> bool:
        """A replay can wait for a slow reader, `less` say, or a slow disk; a machine cannot."""
        return all(source.kind == "file" for source in self.source)

    @property
    def receivers(self) -> list[ReceiverTable]:
        """Those for whom events wait in the outbox: every table of this kind, in the order of the fields."""
        tables = [table for _, value in self for table in (value if isinstance(value, list) else [value])]
        return [table for table in tables if isinstance(table, ReceiverTable)]

    @property
    def keeps_evidence(self) -> bool:
        """Alarms of some source leave clips."""
        return any(self.evidence_of(source) != "none" for source in self.source)

    def evidence_of(self, source: SourceTable) -> Mode:
        """What is kept of the alarms of `source`."""
        return "none" if self.evidence.directory is None else source.evidence or self.evidence.mode

    @property
    def files_read(self) -> list[Path]:
        """What the tables name: models, recordings, keys, tokens."""
        tables = [*self.model, *self.source, *self.receivers, self.http]
        named = [path for table in tables if table is not None for path in table.paths().values()]
        return [*named, *(key for model in self.model for key in model.trusted_keys)]

    @property
    def folders_kept(self) -> dict[str, Path]:
        """Where the monitor keeps files of its own, by the key that says so."""
        folders = {"[state] directory": self.state.directory, "[evidence] directory": self.evidence.directory}
        if self.receivers:
            folders["[outbox] folder"] = self.outbox.folder
        return {key: folder for key, folder in folders.items() if folder is not None}

    def model_of(self, source: SourceTable) -> ModelTable:
        """The model that judges `source`."""
        return next(table for table in self.model if source.model in ("", table.name))

    def overrides_of(self, model: ModelTable) -> DecisionTable:
        """What replaces the decision values of `model`: `[decision]`, and over it the model's own table."""
        return DecisionTable.model_validate(self.decision.overrides() | model.decision.overrides())

    @model_validator(mode="after")
    def _models_and_sources_fit(self) -> MonitorConfig:
        names = [table.name for table in self.model]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two models are named '{name}'; give each [[model]] a name of its own")
        for source in self.source:
            if source.model and source.model not in names:
                raise ValueError(f"source '{source.name}': no [[model]] is named '{source.model}', but {names}")
            if not source.model and len(names) > 1:
                raise ValueError(f"source '{source.name}' names no model, but there are {len(names)}: {names}")
        idle = sorted(set(names) - {self.model_of(source).name for source in self.source})
        if idle:
            raise ValueError(f"no source uses the model '{idle[0]}': remove it, or name it in a [[source]]")
        if len(names) > 1 and self.decision.threshold is not None:
            raise ValueError(
                "[decision] sets one threshold for several models, whose scores are on different scales. "
                "Put it into [model.decision] below each [[model]]."
            )
        return self

    @model_validator(mode="after")
    def _receivers_fit(self) -> MonitorConfig:
        names = [table.receiver for table in self.receivers]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two receivers are called {twice[0]}; give each table a name of its own")
        if not self.receivers and "outbox" in self.model_fields_set:
            raise ValueError("[outbox] keeps events for [[email]], [mqtt] or [[webhook]], and there is none: remove it")
        scores = [table.receiver for table in self.receivers if table.takes_scores]
        if scores and not self.events.scores:
            raise ValueError(f"{scores[0]}: telemetry needs [events] scores = true, which makes the events of scores")
        return self

    @model_validator(mode="after")
    def _sources_can_share_a_process(self) -> MonitorConfig:
        names = [source.name for source in self.sources]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two sources are named '{twice[0]}'; events could not tell them apart: rename one")
        if sum(source.kind == "stdin" for source in self.sources) > 1:
            raise ValueError("two sources read stdin, but there is only one standard input: keep one of them")
        return self


def load_config(path: str | Path) -> MonitorConfig:
    """The configuration in the TOML file `path`; paths in it are taken relative to its folder.

    Raises ConfigError for a missing or unreadable file, unknown keys (with the nearest known one) and values that
    cannot work. Does not look whether the model or a recording exists.
    """
    path = Path(path)
    config = validate(MonitorConfig, read_toml(path), origin=str(path))
    evidence_wanted = "evidence" in config.model_fields_set and config.evidence.mode != "none"
    config = _with_folders(config.relative_to(path.parent))
    if config.events.path is not None:
        read = [path, *config.files_read]
        refuse_overlaps(config.events.path, config.events.keep, read=read, folders=config.folders_kept)
    if config.alarm.latch and config.state.directory is None:
        raise ConfigError(
            f"{path}: [alarm] latch needs a place where an acknowledgement can reach the monitor: "
            '[state] directory = "/var/lib/dasvdd", for instance.'
        )
    if evidence_wanted and config.evidence.directory is None:
        raise ConfigError(
            f'{path}: [evidence] needs a place: [state] directory = "/var/lib/dasvdd", for instance, or a directory of '
            "its own."
        )
    if config.state.directory is None and any(model.require_signature for model in config.models):
        raise ConfigError(
            f"{path}: require_signature needs a place to note which model ran last, or an older one could be put back: "
            '[state] directory = "/var/lib/dasvdd", for instance.'
        )
    return config


def _with_folders(config: MonitorConfig) -> MonitorConfig:
    """`config` with the state directory that systemd gives, where it names none, and evidence in that of the two."""
    state, evidence = config.state.directory, config.evidence
    if state is None:
        state = state_directory_from_environment()
    if evidence.directory is None and state is not None:
        evidence = evidence.model_copy(update={"directory": state / EVIDENCE_FOLDER})
    return config.model_copy(update={"state": StateTable(directory=state), "evidence": evidence})


def state_directory_from_environment() -> Path | None:
    """Where systemd lets a service keep its state (StateDirectory=)."""
    # systemd lists several with colons between them; the first is the one to write to.
    given = os.environ.get("STATE_DIRECTORY", "").split(":")[0]
    return Path(given) if given else None
