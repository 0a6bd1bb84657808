"""The life of a monitor: threads, clocks, start and stop. What is decided is decided in `pipeline`."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from .capture import Capture, Ended, Message, Missing
from .errors import DasvddError, DataError
from .events import Event, stopped, to_json, with_id
from .health import State
from .pipeline import Pipeline
from .sinks.jsonl import Sink
from .snapshot import SourceSnapshot

log = logging.getLogger(__name__)

POLL_SECONDS = 0.25
"""How often sources from which nothing arrives are looked at."""
SUMMARY_SECONDS = 3600.0


@dataclass
class Channel:
    """A source on its way to events: the thread that captures it and the pipeline that judges it."""

    capture: Capture
    pipeline: Pipeline
    ended: bool = False
    error: DasvddError | None = None


class Service:
    """Runs channels until all have ended or a stop is asked for, and writes their events to the sinks."""

    def __init__(
        self,
        channels: Sequence[Channel],
        sinks: Sequence[Sink],
        *,
        wake: threading.Event,
        heartbeat: Callable[[], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`wake` is the event that the channels' captures set. Sinks get each event in the order given.

        `heartbeat` is called once a turn as long as scoring and every live capture go on, to feed a watchdog.
        """
        self._channels = list(channels)
        self._sinks = list(sinks)
        self._wake = wake
        self._heartbeat = heartbeat
        self._clock = clock
        self._now = now
        self._stop_reason: str | None = None

    def request_stop(self, reason: str) -> None:
        """Ask `run` to score what waits and return, within POLL_SECONDS. May be called from a signal handler."""
        # Not self._wake.set(): the handler may have interrupted a method that holds that event's lock.
        self._stop_reason = self._stop_reason or reason

    def snapshot(self) -> tuple[SourceSnapshot, ...]:
        """Every source as it is now, in the order of the configuration. May be called from any thread."""
        return tuple(
            channel.pipeline.snapshot(
                waiting_seconds=channel.capture.waiting_seconds(),
                drift_ppm=channel.capture.drift_ppm,
                live=channel.capture.live,
                ended=channel.ended,
            )
            for channel in list(self._channels)
        )

    def run(self, started: Event, *, max_seconds: float | None = None) -> bool:
        """Watch until the end; True if every capture thread could be ended, False if a device holds one.

        Raises the fault that ended a source for good, once everything is written.
        """
        self._emit([started])
        for channel in self._channels:
            channel.capture.start()
        try:
            reason = self._watch(max_seconds)
            all_joined = self._stop_captures()
            self._drain()
        except DasvddError as error:  # scoring itself failed: nothing can be judged any more
            self._stop_captures()
            self._close(reason=str(error))
            raise
        self._close(reason=reason)
        for channel in self._channels:
            if channel.error is not None:
                raise channel.error
        return all_joined

    def _watch(self, max_seconds: float | None) -> str:
        """Serve the channels until there is a reason to stop, and return it."""
        begin_seconds = self._clock()
        next_summary_seconds = begin_seconds + SUMMARY_SECONDS
        while self._stop_reason is None:
            self._wake.wait(POLL_SECONDS)
            self._wake.clear()
            for channel in self._channels:
                self._serve(channel)
            if self._heartbeat is not None and all(map(_progresses, self._channels)):
                self._heartbeat()
            if all(channel.ended for channel in self._channels):
                self._stop_reason = "all sources have ended"
            elif max_seconds is not None and self._clock() - begin_seconds >= max_seconds:
                self._stop_reason = f"{max_seconds:g} s are over"
            elif self._clock() >= next_summary_seconds:
                next_summary_seconds += SUMMARY_SECONDS
                self._emit([channel.pipeline.summary() for channel in self._channels if not channel.ended])
        return self._stop_reason

    def _serve(self, channel: Channel) -> None:
        for message in channel.capture.take_all():
            self._handle(channel, message)
        if not channel.ended:
            self._emit(channel.pipeline.waiting(channel.capture.waiting_seconds()))

    def _handle(self, channel: Channel, message: Message) -> None:
        pipeline = channel.pipeline
        if isinstance(message, Missing):
            self._emit(pipeline.missing(message.reason))
        elif isinstance(message, Ended):
            channel.ended, channel.error = True, message.error or _nothing_judged(pipeline)
            if message.error is not None:
                self._emit(pipeline.missing(str(message.error)))
            self._emit(pipeline.finish())
        else:
            if message.gap:
                pipeline.gap(lost=message.lost, dropped=message.dropped)
                log.warning(
                    "source '%s': a gap; %d samples never arrived, %d were dropped",
                    channel.capture.name,
                    message.lost,
                    message.dropped,
                )
            self._emit(pipeline.samples(message.samples))

    def _stop_captures(self) -> bool:
        """End the capture threads; False if one does not end."""
        for channel in self._channels:
            channel.capture.request_stop()
        joined = [channel.capture.join() for channel in self._channels]
        return all(joined)

    def _drain(self) -> None:
        """Judge what has arrived but not been judged yet."""
        for channel in self._channels:
            for message in channel.capture.take_all():
                self._handle(channel, message)
            if not channel.ended:
                self._emit(channel.pipeline.finish())

    def _close(self, *, reason: str) -> None:
        """Write the last event and close the sinks."""
        alarms_open = [channel.capture.name for channel in self._channels if channel.pipeline.in_alarm]
        failed = {channel.capture.name: str(channel.error) for channel in self._channels if channel.error is not None}
        self._emit([stopped(reason=reason, alarms_open=alarms_open, failed=failed)])
        for sink in self._sinks:
            sink.close()

    def _emit(self, caused: list[Event]) -> None:
        for event in caused:
            line = to_json(with_id(event), now=self._now())
            for sink in self._sinks:
                sink.write(line, durable=event["event"] != "score")
            _log_for_people(event)


def _progresses(channel: Channel) -> bool:
    return channel.ended or not channel.capture.live or channel.capture.alive


def _nothing_judged(pipeline: Pipeline) -> DasvddError | None:
    """The fault of a source that came to its end without a single window that could be judged, or None."""
    if pipeline.counts.windows_scored:
        return None
    return DataError(
        f"source '{pipeline.name}' ended before a window could be judged: {pipeline.counts.windows_withheld} windows "
        f"were withheld as silent or not finite, and its last state was {pipeline.state}. Does what feeds it work?"
    )


def _log_for_people(event: Event) -> None:
    """The line on standard error for an event that a person should see."""
    source, seconds = event.get("source"), event.get("stream_seconds")
    kind = event["event"]
    if kind == "source_state":
        level = logging.INFO if event["state"] == State.OK else logging.WARNING
        log.log(level, "source '%s': %s -> %s: %s", source, event["previous"], event["state"], event["reason"])
    elif kind == "alarm_raised":
        bands = ", ".join(f"{band['name']} ({band['ratio']:.1f} times the usual)" for band in event["bands"])
        log.warning("source '%s': ALARM at %.1f s, carried by %s", source, seconds, bands)
    elif kind == "alarm_cleared":
        log.warning("source '%s': alarm cleared after %.1f s", source, event["duration_seconds"])
    elif kind == "stopped":
        log.info("stopped: %s", event["reason"])
