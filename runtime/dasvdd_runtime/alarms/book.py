"""The alarms of a monitor, from rise to acknowledgement. Pure: it is told of events, and knows no clock or file."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Literal, get_args

from ..events import Event

Verdict = Literal["real", "false", "unknown"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)


class AlarmState(StrEnum):
    """Where an alarm is in its life."""

    ACTIVE = "active"
    """Scores are high."""
    LATCHED = "latched"
    """Scores have cleared it, or the monitor stopped, but it stays until somebody acknowledges it."""
    CLEARED = "cleared"
    ENDED = "ended"
    """The stream or the monitor ended while it lasted."""


@dataclass(frozen=True)
class Alarm:
    """One episode of one source, and what a person said of it."""

    id: str
    """The `id` of its `alarm_raised` event."""
    source: str
    model_fingerprint: str
    state: AlarmState
    raised_at: datetime
    """Wall time, UTC."""
    ended_at: datetime | None
    """Wall time at which its scores cleared, or monitoring ended."""
    start_seconds: float
    """Where, in the stream, the window begins that raised it."""
    peak_seconds: float
    peak_score: float
    """The largest smoothed score that is known: until it ends, that of its last event."""
    end_seconds: float | None
    """Where, in the stream, it ended."""
    threshold: float
    muted: bool
    """It was raised while its source was muted."""
    recording: str | None
    """The file that was replayed; None for a live source."""
    verdict: Verdict | None = None
    note: str = ""


def lasted_seconds(start_seconds: float, end_seconds: float) -> float:
    """How long an alarm lasted, as people are told: from the start of the window that raised it to its end."""
    return end_seconds - start_seconds


class AlarmBook:
    """Which alarms last, which wait for an acknowledgement, and what events must say of them."""

    def __init__(self, *, latch: bool) -> None:
        """`latch`: an alarm stays after its scores cleared, until `acknowledge`."""
        self._latch = latch
        self._active: dict[str, Alarm] = {}
        self._latched: dict[str, dict[str, Alarm]] = {}
        self._acknowledged: set[str] = set()
        """Ids of active alarms."""

    def latched(self, source: str) -> int:
        """How many alarms of `source` wait for an acknowledgement after their scores cleared."""
        return len(self._latched.get(source, {}))

    def in_progress(self, source: str) -> list[str]:
        """Ids of the alarms of `source` that last: the active one and the latched."""
        active = [self._active[source].id] if source in self._active else []
        return [*active, *self._latched.get(source, {})]

    def sources_latched(self) -> list[str]:
        """The sources with a latched alarm."""
        return [source for source, alarms in self._latched.items() if alarms]

    def sources_in_progress(self) -> list[str]:
        """The sources with an alarm that lasts."""
        return list(dict.fromkeys([*self._active, *self.sources_latched()]))

    def all_in_progress(self) -> list[Alarm]:
        """Every alarm that lasts."""
        return [*self._active.values(), *(alarm for alarms in self._latched.values() for alarm in alarms.values())]

    def resume(self, alarms: Iterable[Alarm]) -> list[Alarm]:
        """Take over what a monitor before this one left; returns those that have changed.

        An alarm that it left active has ended. With `latch`, what nobody acknowledged is latched; without, nothing is.
        """
        changed = []
        for alarm in alarms:
            if self._latch and alarm.verdict is None:
                state = AlarmState.LATCHED
                self._latched.setdefault(alarm.source, {})[alarm.id] = replace(alarm, state=state)
            else:
                state = AlarmState.ENDED if alarm.state is AlarmState.ACTIVE else AlarmState.CLEARED
            if state is not alarm.state:
                changed.append(replace(alarm, state=state))
        return changed

    def mark(self, event: Event, *, now: datetime, muted: Callable[[str], bool]) -> tuple[Event, Alarm | None]:
        """`event` with what only the book knows, and the alarm that it begins, changes or ends.

        `muted` tells whether a source is.
        """
        kind, source = event["event"], event.get("source", "")
        if kind == "alarm_raised":
            alarm = self._begin(event, now=now, muted=muted(source))
            return {**event, "id": alarm.id, "alarm": alarm.id, "muted": alarm.muted}, alarm
        if kind in ("alarm_grew", "alarm_cleared", "alarm_open") and source in self._active:
            alarm = self._grow(event) if kind == "alarm_grew" else self._end(event, now=now)
            told = {"alarm": alarm.id, "muted": muted(source), "start_seconds": alarm.start_seconds}
            if kind != "alarm_grew":
                told["latched"] = alarm.state is AlarmState.LATCHED
            return {**event, **told, "threshold": alarm.threshold}, alarm
        if kind == "summary":
            latched_count = self.latched(source)
            in_alarm = event["in_alarm"] or latched_count > 0
            return {**event, "in_alarm": in_alarm, "latched_alarms": latched_count, "muted": muted(source)}, None
        if kind in ("source_state", "drift", "alarm_latched"):
            return {**event, "muted": muted(source)}, None
        if kind == "stopped":
            return {**event, "alarm_open": list(dict.fromkeys([*event["alarm_open"], *self.sources_latched()]))}, None
        return event, None

    def acknowledge(self, alarm: Alarm) -> Alarm | None:
        """Somebody has acknowledged `alarm`; the alarm as it now is, if that ended it."""
        active = self._active.get(alarm.source)
        if active is not None and active.id == alarm.id:
            self._acknowledged.add(alarm.id)
        latched = self._latched.get(alarm.source, {}).pop(alarm.id, None)
        return None if latched is None else replace(latched, state=AlarmState.CLEARED, verdict=alarm.verdict)

    def _begin(self, event: Event, *, now: datetime, muted: bool) -> Alarm:
        alarm = Alarm(
            id=event.get("alarm") or str(uuid.uuid4()),
            source=event["source"],
            model_fingerprint=event["model_fingerprint"],
            state=AlarmState.ACTIVE,
            raised_at=now,
            ended_at=None,
            start_seconds=event["start_seconds"],
            peak_seconds=event["stream_seconds"],
            peak_score=event["smoothed_score"],
            end_seconds=None,
            threshold=event["threshold"],
            muted=muted,
            recording=event.get("recording"),
        )
        self._active[alarm.source] = alarm
        return alarm

    def _grow(self, event: Event) -> Alarm:
        """The alarm of the source as it is now."""
        source = event["source"]
        self._active[source] = replace(
            self._active[source], peak_seconds=event["peak_seconds"], peak_score=event["peak_score"]
        )
        return self._active[source]

    def _end(self, event: Event, *, now: datetime) -> Alarm:
        alarm = self._active.pop(event["source"])
        acknowledged = alarm.id in self._acknowledged
        self._acknowledged.discard(alarm.id)
        state = AlarmState.CLEARED if event["event"] == "alarm_cleared" else AlarmState.ENDED
        if self._latch and not acknowledged:
            state = AlarmState.LATCHED
        alarm = replace(
            alarm,
            state=state,
            ended_at=now,
            peak_seconds=event["peak_seconds"],
            peak_score=event["peak_score"],
            end_seconds=event["stream_seconds"],
        )
        if state is AlarmState.LATCHED:
            self._latched.setdefault(alarm.source, {})[alarm.id] = alarm
        return alarm
