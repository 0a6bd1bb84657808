"""Events as lines for people, on the log."""

from __future__ import annotations

import logging

from .events import Event
from .health import State

log = logging.getLogger(__name__)


def log_for_people(event: Event) -> None:
    """The line on standard error for an event that a person should see."""
    source, seconds = event.get("source"), event.get("stream_seconds")
    kind = event["event"]
    if kind == "source_state":
        level = logging.INFO if event["state"] in (State.OK, State.IDLE) else logging.WARNING
        log.log(level, "source '%s': %s -> %s: %s", source, event["previous"], event["state"], event["reason"])
    elif kind == "alarm_raised":
        bands = ", ".join(f"{band['name']} ({band['ratio']:.1f} times the usual)" for band in event["bands"])
        log.warning("source '%s': ALARM at %.1f s, carried by %s", source, seconds, bands)
    elif kind == "alarm_cleared":
        log.warning("source '%s': alarm cleared after %.1f s", source, event["duration_seconds"])
    elif kind == "overload":
        dropped = ", ".join(f"{lost:.1f} s of '{name}'" for name, lost in event["dropped_seconds"].items())
        log.error("scoring is slower than the sources: dropped %s. Use fewer sources or a longer window hop.", dropped)
    elif kind == "clock_jump":
        log.warning("the wall clock was set by %+.1f s; durations are not affected", event["seconds"])
    elif kind == "reload_refused":
        log.error("the new configuration is not taken, the old one stays: %s", event["reason"])
    elif kind == "reloaded":
        log.info("new configuration: %d source(s), captures that went on: %s", len(event["sources"]), event["kept"])
    elif kind == "stopped":
        log.info("stopped: %s", event["reason"])
