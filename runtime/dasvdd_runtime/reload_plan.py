"""What a new configuration changes of a monitor that runs: prepared as a whole, then done, or dropped as a whole."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .events import Event

if TYPE_CHECKING:
    from .service import Channel


def _nothing() -> None:
    """Nothing was opened."""


@dataclass(frozen=True)
class Change:
    """One part that changes. Everything that can fail was done before it was made."""

    apply: Callable[[], object]
    """Do it. Does not raise, and takes far less than a source's queue holds."""
    abandon: Callable[[], object] = _nothing
    """Drop what was opened for it: another part cannot be changed."""


def prepared(parts: Iterable[Callable[[], Change | None]]) -> list[Change]:
    """The changes that `parts` prepare, in order. Where one raises, those before it are abandoned."""
    changes: list[Change] = []
    try:
        for prepare in parts:
            change = prepare()
            if change is not None:
                changes.append(change)
    except BaseException:
        for change in reversed(changes):
            change.abandon()
        raise
    return changes


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
