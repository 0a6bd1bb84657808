"""What a new configuration changes of a monitor that runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from .changes import Change
from .channel import Channel
from .events import Event


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
