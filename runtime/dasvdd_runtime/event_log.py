"""Events as lines for people, on the log."""

from __future__ import annotations

import logging

from .alarms.book import lasted_seconds
from .condition.health import State
from .events import Event
from .words import duration

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
        muted = " (muted)" if event["muted"] else ""
        log.warning("source '%s': ALARM%s at %.1f s, carried by %s", source, muted, seconds, bands)
    elif kind == "alarm_cleared":
        waits = "; it stays until it is acknowledged" if event["latched"] else ""
        lasted = duration(lasted_seconds(event["start_seconds"], event["stream_seconds"]))
        log.warning("source '%s': scores cleared the alarm, which lasted %s%s", source, lasted, waits)
    elif kind == "overload":
        dropped = ", ".join(f"{lost:.1f} s of '{name}'" for name, lost in event["dropped_seconds"].items())
        log.error("scoring is slower than the sources: dropped %s. Use fewer sources or a longer window hop.", dropped)
    elif kind == "clock_jump":
        log.warning("the wall clock was set by %+.1f s; durations are not affected", event["seconds"])
    elif kind == "reload_refused":
        log.error("the new configuration is not taken, the old one stays: %s", event["reason"])
    elif kind == "reloaded":
        log.info("new configuration: %d source(s), captures that went on: %s", len(event["sources"]), event["kept"])
        if event["restart_needed"]:
            stays = ", ".join(event["restart_needed"])
            log.warning("%s stays as it was: only a restart of the monitor changes it", stays)
    elif kind == "stopped":
        log.info("stopped: %s", event["reason"])
    elif kind == "drift" and event["drifting"]:
        reasons = "; ".join(event["reasons"])
        log.warning(
            "source '%s' drifts: %s. Look at machine and microphone; if both are healthy, calibrate on site "
            "(dasvdd-monitor calibrate). The threshold stays.",
            source,
            reasons,
        )
    elif kind == "drift":
        log.info("source '%s' drifts no longer", source)
    else:
        _log_life(event)


def _log_life(event: Event) -> None:
    """The line for an event of an alarm's later life, or of a threshold."""
    kind = event["event"]
    where = f"source '{event['source']}'" if "source" in event else "all sources"
    if kind == "alarm_latched":
        log.warning("%s: the alarm %s of an earlier run waits for an acknowledgement", where, event["alarm"])
    elif kind == "alarm_acknowledged":
        log.warning("%s: the alarm %s was acknowledged, verdict %s", where, event["alarm"], event["verdict"])
    elif kind == "muted":
        log.warning("%s: muted until %s", where, event["until"])
    elif kind == "unmuted":
        lasting = f"; alarms that last: {', '.join(event['alarms'])}" if event["alarms"] else ""
        log.warning("%s: muted no longer (%s)%s", where, event["reason"], lasting)
    elif kind == "site_threshold_not_used":
        log.warning("%s: the threshold calibrated on site is not used: %s", where, event["reason"])
    elif kind == "evidence_kept":
        log.info("%s: evidence of %.1f s is kept: %s", where, event["seconds"], event["evidence"])
    elif kind == "test_alarm":
        log.warning("%s: TEST ALARM, nothing is wrong", where)
