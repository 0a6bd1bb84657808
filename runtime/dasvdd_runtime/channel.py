"""A source on its way to events."""

from __future__ import annotations

from dataclasses import dataclass

from .capture import Capture
from .errors import DasvddError
from .pipeline import Pipeline


@dataclass
class Channel:
    """A source on its way to events: the thread that captures it and the pipeline that judges it."""

    capture: Capture
    pipeline: Pipeline
    ended: bool = False
    error: DasvddError | None = None
    picked: tuple[int, ...] | None = None
    """The source's channels that are the model's, in the model's order; None: all."""
