"""Events as lines for people, on the log."""

from __future__ import annotations

import logging
from typing import Any

from .alarms.book import lasted_seconds
from .condition.health import State
from .events import Event, ratio
from .logs import about
from .words import duration

log = logging.getLogger(__name__)

Line = tuple[int, str]
"""A level of `logging`, and the text."""


def log_for_people(event: Event) -> None:
    """The line on standard error for an event that a person should see."""
    line = line_for(event)
    if line is not None:
        level, text = line
        log.log(level, "%s", text, extra=about(f"{event['event']} {event.get('source')}"))


def line_for(event: Event) -> Line | None:
    """The line for `event`; None where no person need see it."""
    return _line(event) or _line_of_life(event)


def bands_in_words(bands: list[dict[str, Any]]) -> str:
    """The `bands` of an event: '3.1 kHz (5.1 times the usual), ...'."""
    return ", ".join(f"{band['name']} ({band['ratio']:.1f} times the usual)" for band in bands)


def _line(event: Event) -> Line | None:
    """The line for an event of sources and of the whole monitor."""
    source, kind = event.get("source"), event["event"]
    muted = " (muted)" if event.get("muted") else ""
    if kind == "source_state":
        level = logging.INFO if event["state"] in (State.OK, State.IDLE) else logging.WARNING
        return level, f"source '{source}'{muted}: {event['previous']} -> {event['state']}: {event['reason']}"
    if kind == "alarm_raised":
        bands = bands_in_words(event["bands"])
        place = f"{event['stream_seconds']:.1f} s"
        return logging.WARNING, f"source '{source}': ALARM{muted} at {place}, carried by {bands}"
    if kind == "alarm_grew":
        far, bands = f"{ratio(event):.3g} times the threshold", bands_in_words(event["bands"])
        return logging.WARNING, f"source '{source}': the alarm{muted} has grown to {far}, carried by {bands}"
    if kind == "alarm_cleared":
        waits = "; it stays until it is acknowledged" if event["latched"] else ""
        lasted = duration(lasted_seconds(event["start_seconds"], event["stream_seconds"]))
        return logging.WARNING, f"source '{source}': scores cleared the alarm, which lasted {lasted}{waits}"
    if kind == "overload":
        return logging.ERROR, _line_of_overload(event)
    if kind == "clock_jump":
        return logging.WARNING, f"the wall clock was set by {event['seconds']:+.1f} s; durations are not affected"
    if kind == "reload_refused":
        return logging.ERROR, f"the new configuration is not taken, the old one stays: {event['reason']}"
    if kind == "reloaded":
        return _line_of_reload(event)
    if kind == "stopped":
        return logging.INFO, f"stopped: {event['reason']}"
    if kind == "drift" and event["drifting"]:
        return logging.WARNING, (
            f"source '{source}'{muted} drifts: {'; '.join(event['reasons'])}. Look at machine and microphone; if both "
            "are healthy, calibrate on site (dasvdd-monitor calibrate). The threshold stays."
        )
    if kind == "drift":
        return logging.INFO, f"source '{source}'{muted} drifts no longer"
    return None


def _line_of_overload(event: Event) -> str:
    def of(names: set[str]) -> str:
        return ", ".join(
            f"{lost:.1f} s of '{name}'" for name, lost in event["dropped_seconds"].items() if name in names
        )

    told, bursts = [], set(event["bursts"])
    if slow := of({*event["dropped_seconds"]} - bursts):
        told.append(f"scoring is slower than the sources: dropped {slow}. Use fewer sources or a longer window hop.")
    if at_once := of(bursts):
        told.append(
            f"more came at once than may wait: dropped {at_once}. Have what sends it send as it hears, or read it from "
            "a pipe or a file that grows, which drop nothing."
        )
    return " ".join(told)


def _line_of_reload(event: Event) -> Line:
    renewed = [name for name in event["added"] if name in event["removed"]]
    told = {
        "goes on": [f"{name} ({_judges(event, name)})" for name in event["kept"]],
        "begins anew": [f"{name} ({_judges(event, name)})" for name in renewed],
        "added": [f"{name} ({_judges(event, name)})" for name in event["added"] if name not in renewed],
        "gone": [name for name in event["removed"] if name not in renewed],
    }
    taken = "new configuration: " + "; ".join(f"{what}: {', '.join(names)}" for what, names in told.items() if names)
    if not event["restart_needed"]:
        return logging.INFO, taken
    stays = ", ".join(event["restart_needed"])
    return logging.WARNING, f"{taken}. {stays} stays as it was: only a restart of the monitor changes it"


def _judges(event: Event, source: str) -> str:
    """Model and threshold of `source`, and those before where they differ: 'model a, threshold 118 -> 130'."""
    model, threshold = event["models"][event["sources"][source]], event["thresholds"][source]["threshold"]
    now = {"model": model["model"], "model_fingerprint": model["model_fingerprint"], "threshold": threshold}
    before = event["judged_before"].get(source, now)

    def named(judge: dict[str, Any]) -> str:
        return f"{judge['model']} {judge['model_fingerprint'][:8]}"

    new_model = named(before) != named(now)
    was = f"{named(before)} -> " if new_model else ""
    moved = f"{before['threshold']:.5g} -> " if before["threshold"] != threshold else ""
    return f"model {was}{named(now)}, threshold {moved}{threshold:.5g}"


def _line_of_life(event: Event) -> Line | None:
    """The line for an event of an alarm's later life, or of a threshold."""
    kind = event["event"]
    where = f"source '{event['source']}'" if "source" in event else "all sources"
    if kind == "alarm_latched":
        return logging.WARNING, f"{where}: the alarm {event['alarm']} of an earlier run waits for an acknowledgement"
    if kind == "alarm_acknowledged":
        return logging.WARNING, f"{where}: the alarm {event['alarm']} was acknowledged, verdict {event['verdict']}"
    if kind == "muted":
        return logging.WARNING, f"{where}: muted until {event['until']}"
    if kind == "unmuted":
        return logging.WARNING, f"{where}: muted no longer ({event['reason']}){_what_lasts(event)}"
    if kind == "site_threshold_not_used":
        return logging.WARNING, f"{where}: the threshold calibrated on site is not used: {event['reason']}"
    if kind == "evidence_kept":
        return logging.INFO, f"{where}: evidence of {event['seconds']:.1f} s is kept: {event['evidence']}"
    if kind == "test_alarm":
        return logging.WARNING, f"{where}: TEST ALARM, nothing is wrong"
    return None


def _what_lasts(event: Event) -> str:
    """What an `unmuted` says of alarms, states and drifts, for which nobody may have been called."""
    unwatched = [f"{name} ({state})" for name, state in event["unwatched"].items()]
    lasting = {"alarms that last": event["alarms"], "not watched": unwatched, "drifting": event["drifting"]}
    return "".join(f"; {what}: {', '.join(found)}" for what, found in lasting.items() if found)
