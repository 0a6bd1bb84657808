"""What happened while no Sparkplug host could be told: events that wait in the outbox, as metrics of the past.

Sparkplug specification 3.0, Payloads, Metric: one with is_historical tells what was, and leaves the value of now alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from itertools import takewhile
from typing import NamedTuple

from ..sinks.outbox_store import Row
from .sparkplug_payload import DataType, Metric

RECEIVER = "sparkplug"
"""What the outbox calls it."""
BATCH = 256
"""Events told in one turn."""
SURE_MILLISECONDS = 60_000
"""Events that a connection has outlived for so long arrived; of a younger one it may not have noticed its end."""


class Past(NamedTuple):
    """Metrics that an event changed."""

    source: str | None
    """None: all."""
    metrics: Sequence[Metric]


class _Waiting(NamedTuple):
    row_id: int
    milliseconds: int
    """When it was, since 1970; 0 where that cannot be read."""
    past: Past | None


class Backlog:
    """Tells each event from before a birth once, and lets go of those after it, which are told as they happen."""

    def __init__(self, read: Callable[[], list[Row]], acknowledge: Callable[[int], None]) -> None:
        """`read`: the first events that wait; `acknowledge`: no event up to the row with this id waits any more."""
        self._read = read
        self._acknowledge = acknowledge
        self._told: int | None = None

    def connected(self) -> None:
        """Another connection: what was told last on the one before may be lost, and is told again."""
        self._told = None

    def before(self, born_milliseconds: int, *, now_milliseconds: int) -> list[Past]:
        """The next events from before the birth. To be called once a turn: the next call lets go of them."""
        if self._told is not None:
            self._acknowledge(self._told)
            self._told = None
        waiting = [_waiting(row) for row in self._read()]
        earlier = list(takewhile(lambda event: event.milliseconds < born_milliseconds, waiting))
        if earlier:
            self._told = earlier[-1].row_id
            return [event.past for event in earlier if event.past is not None]
        arrived = list(takewhile(lambda e: e.milliseconds < now_milliseconds - SURE_MILLISECONDS, waiting))
        if arrived:
            self._acknowledge(arrived[-1].row_id)
        return []


def _waiting(row: Row) -> _Waiting:
    """The event in `row`; one that the disk has damaged tells nothing."""
    try:
        event = json.loads(row.line)
        at = round(1000 * datetime.fromisoformat(event["time"]).timestamp())
        metrics = list(_changed(event, at))
        return _Waiting(row.id, at, Past(event.get("source"), metrics) if metrics else None)
    except (ValueError, KeyError, TypeError, AttributeError):
        return _Waiting(row.id, 0, None)


def _changed(event: dict[str, object], at: int) -> Iterator[Metric]:
    """The metrics that `event` changed."""
    kind = event["event"]
    if kind == "source_state":
        yield Metric("State", DataType.STRING, str(event["state"]), at)
    elif kind == "alarm_raised":
        yield Metric("Alarm", DataType.BOOLEAN, True, at)
    elif kind in ("alarm_cleared", "alarm_open") and not event.get("latched"):
        yield Metric("Alarm", DataType.BOOLEAN, False, at)
    elif kind in ("muted", "unmuted"):
        yield Metric("Muted", DataType.BOOLEAN, kind == "muted", at)
