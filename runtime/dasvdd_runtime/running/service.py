"""The life of a monitor: threads, clocks, start, reload and stop. What is decided is decided in `pipeline`."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from ..alarms.desk import AlarmDesk
from ..errors import DasvddError
from ..event_log import log_for_people
from ..events import Event, clock_jump, overload, reload_refused, stopped, to_json, with_id
from ..logs import about
from ..sinks.jsonl import Sink
from ..sources.base import why_missing
from .channels import Channel
from .clock_watch import ClockWatch
from .message_queue import Ended, Missing, Samples, joined
from .reload import ReloadPlan
from .scoring import score_waiting
from .snapshot import SourceSnapshot

log = logging.getLogger(__name__)

POLL_SECONDS = 0.25
"""How often sources from which nothing arrives are looked at."""
STATE_SECONDS = 0.5
"""Samples are looked at this often even where they complete no window: so late may a change of state be told."""
SUMMARY_SECONDS = 3600.0
OVERLOAD_SECONDS = 60.0
"""Least time between two events that tell of overload."""


class Service:
    """Runs channels until all have ended or a stop is asked for, and writes their events to the sinks."""

    def __init__(
        self,
        channels: Sequence[Channel],
        sinks: Sequence[Sink],
        *,
        wake: threading.Event,
        alarms: AlarmDesk | None = None,
        heartbeat: Callable[[], None] | None = None,
        reload: Callable[[Sequence[Channel]], ReloadPlan] | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`wake` is the event that the channels' captures set. Sinks get each event in the order given.

        `heartbeat` is called once a turn as long as scoring and every live capture go on, to feed a watchdog.
        `reload` reads the configuration anew, or raises a DasvddError that says why it cannot be used.
        """
        self._channels = list(channels)
        self._sinks = list(sinks)
        self._wake = wake
        self._alarms = alarms or AlarmDesk()
        self.event_counts: Counter[str] = Counter()
        """Events written so far, by kind. To be read, from any thread."""
        self._heartbeat = heartbeat
        self._reload = reload
        self._now = now
        self._clock_watch = ClockWatch()
        self._stop_reason: str | None = None
        self._reload_asked = False
        self._dropped_seconds: dict[str, float] = {}
        self._bursts: set[str] = set()
        self._next_overload_seconds = -float("inf")

    def request_stop(self, reason: str) -> None:
        """Ask `run` to score what waits and return, within POLL_SECONDS. May be called from a signal handler."""
        # Not self._wake.set(): the handler may have interrupted a method that holds that event's lock.
        self._stop_reason = self._stop_reason or reason

    def request_reload(self) -> None:
        """Ask `run` to read the configuration anew, within POLL_SECONDS. May be called from a signal handler."""
        self._reload_asked = True

    def snapshot(self) -> tuple[SourceSnapshot, ...]:
        """Every source as it is now, in the order of the configuration. May be called from any thread."""
        return tuple(self._alarms.complete(_snapshot(channel)) for channel in self._channels)

    def run(self, started: Event, *notices: Event, max_seconds: float | None = None) -> bool:
        """Watch until the end; True if every capture thread could be ended, False if a device holds one.

        Raises the fault that ended a source for good, once everything is written.
        """
        self._emit([started, *notices])
        self._emit(self._alarms.begin())
        for channel in self._channels:
            channel.capture.start()
        try:
            reason = self._watch(max_seconds)
            all_joined = _stop_captures(self._channels)
            self._finish(self._channels)
        except DasvddError as error:  # scoring itself failed: nothing can be judged any more
            _stop_captures(self._channels)
            self._close(reason=str(error))
            raise
        self._close(reason=reason)
        for channel in self._channels:
            if channel.error is not None:
                raise channel.error
        return all_joined

    def _watch(self, max_seconds: float | None) -> str:
        """Serve the channels until there is a reason to stop, and return it."""
        begin_seconds = time.monotonic()
        next_summary_seconds = begin_seconds + SUMMARY_SECONDS
        while self._stop_reason is None:
            self._wake.wait(POLL_SECONDS)
            self._wake.clear()
            self._look_at_clock()
            self._emit(self._alarms.look(self.snapshot))
            self._turn([channel for channel in self._channels if channel.capture.is_due()])
            self._look_at_waiting()
            self._tell_overload()
            self._beat()
            if self._reload_asked:
                self._reload_asked = False
                self._take_new_configuration()
            if all(channel.ended for channel in self._channels):
                self._stop_reason = "all sources have ended"
            elif max_seconds is not None and time.monotonic() - begin_seconds >= max_seconds:
                self._stop_reason = f"{max_seconds:g} s are over"
            elif time.monotonic() >= next_summary_seconds:
                next_summary_seconds += SUMMARY_SECONDS
                self._emit([_summary(channel) for channel in self._channels if not channel.ended])
        return self._stop_reason

    def _turn(self, due: Iterable[Channel]) -> None:
        """Take all that has arrived from the channels `due`, score it in batches and decide.

        Each gives all that it has, so that where scoring is too slow, the queues of all overflow alike, and what is
        left of each stream between two losses is as long as its queue.
        """
        at_end: list[tuple[Channel, Ended]] = []
        turn = list(due)
        for channel in turn:
            for message in joined(channel.capture.take_all()):
                if isinstance(message, Ended):
                    at_end.append((channel, message))
                else:
                    self._take(channel, message)
            state_samples = round(STATE_SECONDS * channel.capture.sample_rate_hz)
            channel.capture.wake_at(min(channel.pipeline.needed_samples, state_samples))
        score_waiting((channel.pipeline for channel in turn), self._emit, scored=self._beat)
        for channel, message in at_end:
            self._end(channel, message)

    def _take(self, channel: Channel, message: Samples | Missing) -> None:
        pipeline = channel.pipeline
        if isinstance(message, Missing):
            pipeline.missing(message.reason)
            return
        if message.gap:
            pipeline.gap(lost=message.lost, dropped=message.dropped)
            _tell_of_gap(channel.capture.name, message)
        if message.dropped:
            dropped_seconds = message.dropped / channel.capture.sample_rate_hz
            name = channel.capture.name
            self._dropped_seconds[name] = self._dropped_seconds.get(name, 0.0) + dropped_seconds
            (self._bursts.add if message.burst else self._bursts.discard)(name)
        pipeline.cut(message.samples)

    def _end(self, channel: Channel, message: Ended) -> None:
        pipeline = channel.pipeline
        channel.ended, channel.error = True, message.error or pipeline.nothing_judged()
        if message.error is not None:
            pipeline.missing(why_missing(message.error))
        self._emit([*pipeline.events_due(), *pipeline.finish(drift_ppm=channel.capture.drift_ppm)])

    def _look_at_waiting(self) -> None:
        for channel in self._channels:
            if not channel.ended and not channel.capture.is_due():  # what has arrived meanwhile comes first
                channel.pipeline.waiting(channel.capture.waiting_seconds())
                self._emit(channel.pipeline.events_due())

    def _look_at_clock(self) -> None:
        jump_seconds = self._clock_watch.look(self._now().timestamp(), time.monotonic())
        if jump_seconds is not None:
            self._emit([clock_jump(jump_seconds)])
            self._alarms.clock_was_set()

    def _tell_overload(self, *, last: bool = False) -> None:
        if self._dropped_seconds and (last or time.monotonic() >= self._next_overload_seconds):
            self._next_overload_seconds = time.monotonic() + OVERLOAD_SECONDS
            self._emit([overload(self._dropped_seconds, bursts=sorted(self._bursts))])
            self._dropped_seconds, self._bursts = {}, set()

    def _beat(self) -> None:
        if self._heartbeat is not None and all(map(_progresses, self._channels)):
            self._heartbeat()

    def _take_new_configuration(self) -> None:
        """Go on with a new configuration; where it cannot be used, with the old one."""
        if self._reload is None:
            return
        try:
            plan = self._reload(self._channels)
        except (DasvddError, OSError) as error:
            self._emit([reload_refused(str(error))])
            return
        removed = [channel for channel in self._channels if channel not in plan.channels]
        added = [channel for channel in plan.channels if channel not in self._channels]
        _stop_captures(removed)
        self._finish(removed)
        for channel in plan.channels:
            if channel.pipeline.name in plan.new_models and channel not in added:
                self._emit(channel.pipeline.close_alarm())
                plan.new_models[channel.pipeline.name]()
        self._channels = list(plan.channels)
        for change in plan.changes:
            change.apply()
        self._emit([plan.event, *plan.notices])
        for channel in added:
            channel.capture.start()

    def _finish(self, channels: Sequence[Channel]) -> None:
        """Judge what has arrived from `channels`, which have been stopped, but was not judged yet."""
        self._turn(channel for channel in channels if not channel.ended)
        for channel in channels:
            if not channel.ended:
                self._emit(channel.pipeline.finish(drift_ppm=channel.capture.drift_ppm))

    def _close(self, *, reason: str) -> None:
        """Write the last event and close the sinks."""
        self._tell_overload(last=True)
        alarms_open = [channel.capture.name for channel in self._channels if channel.pipeline.in_alarm]
        failed = {channel.capture.name: str(channel.error) for channel in self._channels if channel.error is not None}
        self._emit([*self._alarms.last_evidence(), stopped(reason=reason, alarms_open=alarms_open, failed=failed)])
        self._alarms.close()
        for sink in self._sinks:
            sink.close()

    def _emit(self, caused: list[Event]) -> None:
        for event in map(self._alarms.mark, caused):
            line = to_json(with_id(event), now=self._now())
            self.event_counts[event["event"]] += 1
            for sink in self._sinks:
                sink.write(line, durable=event["event"] != "score")
            log_for_people(event)


def _stop_captures(channels: Sequence[Channel]) -> bool:
    """End the capture threads; False if one does not end."""
    for channel in channels:
        channel.capture.request_stop()
    joined = [channel.capture.join() for channel in channels]
    return all(joined)


def _tell_of_gap(source: str, after: Samples) -> None:
    if after.lost or after.dropped:
        length = f"{after.lost} samples never arrived, {after.dropped} were dropped"
    else:
        length = "its length is not known"
    log.warning("source '%s': a gap; %s", source, length, extra=about(source))


def _summary(channel: Channel) -> Event:
    return channel.pipeline.summary(drift_ppm=channel.capture.drift_ppm)


def _snapshot(channel: Channel) -> SourceSnapshot:
    capture = channel.capture
    seen = channel.pipeline.snapshot(
        waiting_seconds=capture.waiting_seconds(), drift_ppm=capture.drift_ppm, live=capture.live, ended=channel.ended
    )
    return replace(seen, alive=_progresses(channel), failed=channel.error is not None)


def _progresses(channel: Channel) -> bool:
    return channel.ended or not channel.capture.live or channel.capture.alive
