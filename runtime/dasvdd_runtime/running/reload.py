"""What a new configuration changes of a monitor that runs, and what of it only a restart can bring into force."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ..configuration.config import EVIDENCE_FOLDER, MonitorConfig
from ..events import Event
from .changes import Change
from .channels import Channel

TOLD_APART = ("model", "source", "decision")
"""Tables whose changes `reloaded` tells as models, sources and thresholds."""


@dataclass(frozen=True)
class ReloadPlan:
    """What a new configuration changes. Everything that can fail was done before it was made."""

    channels: list[Channel]
    """The channels from now on; those that stay are the same objects."""
    event: Event
    new_models: Mapping[str, Callable[[], None]] = field(default_factory=dict)
    """By the source's name: give its pipeline, which stays, the new model or threshold."""
    changes: Sequence[Change] = ()
    """Of evidence, and of where events go."""
    notices: Sequence[Event] = ()
    """What should be known beside `event`."""


def held_back(wanted: MonitorConfig, running: MonitorConfig) -> tuple[MonitorConfig, list[str]]:
    """`wanted`, but with what cannot change while a monitor runs as it is in `running`; and the names of that.

    The state directory is locked, and what it holds of alarms and mutes is in memory; latched alarms are in it. What
    waits in the outbox of one folder cannot follow to another.
    """
    state, outbox, evidence = wanted.state, wanted.outbox, wanted.evidence
    alarm = wanted.alarm.model_copy(update={"latch": running.alarm.latch})
    names = ["[alarm] latch"] if alarm != wanted.alarm else []
    if state != running.state:
        names.append("[state] directory")
        state = running.state
        if wanted.state.directory is not None and evidence.directory == wanted.state.directory / EVIDENCE_FOLDER:
            place = None if state.directory is None else state.directory / EVIDENCE_FOLDER
            evidence = evidence.model_copy(update={"directory": place})
    if outbox.folder != running.outbox.folder and wanted.receivers and running.receivers:
        names.append("[outbox] folder")
        outbox = outbox.model_copy(update={"folder": running.outbox.folder})
    held = {"state": state, "alarm": alarm, "outbox": outbox, "evidence": evidence}
    return wanted.model_copy(update=held), names


def changed_sections(before: MonitorConfig, after: MonitorConfig) -> list[str]:
    """The tables that differ, as the file names them, besides those of models and sources."""
    names = [name for name in type(after).model_fields if name not in TOLD_APART]
    return [f"[{name}]" for name in names if getattr(before, name) != getattr(after, name)]
