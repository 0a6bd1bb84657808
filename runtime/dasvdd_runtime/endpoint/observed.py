"""What the endpoint reads of a running monitor."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ..alarms.book import Alarm
from ..alarms.mutes import Mute
from ..running.scoring_times import TimedScorer
from ..running.snapshot import SourceSnapshot, Standing
from ..thresholds.choice import ThresholdInForce


@dataclass(frozen=True)
class ShownAlarms:
    """What state.db holds of alarms and mutes, as far as the page shows it."""

    alarms: Sequence[Alarm] = ()
    """Newest first."""
    unanswered: Mapping[str, int] = field(default_factory=dict)
    """By source, how many alarms nobody has judged, shown or not."""
    mutes: Sequence[Mute] = ()


@dataclass(frozen=True)
class Observed:
    """What is read of the monitor for each scrape. Every function may be called from any thread."""

    sources: Callable[[], tuple[SourceSnapshot, ...]]
    events: Callable[[], Mapping[str, int]]
    """Events written so far, by kind."""
    scorers: Callable[[], Mapping[str, TimedScorer]]
    receivers: Callable[[], Mapping[str, Standing]]
    since_beat_seconds: Callable[[], float]
    versions: Mapping[str, str]
    commands: Callable[[], Mapping[str, int]] = dict
    """Commands that came through the broker, by outcome; none where none are let in."""
    thresholds: Callable[[], Mapping[str, ThresholdInForce]] = dict
    """By source: what judges it, and why."""
