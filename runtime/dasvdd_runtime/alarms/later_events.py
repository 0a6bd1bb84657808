"""Event records of an alarm's later life: latched, acknowledged, muted, tested. As those in `events`."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ..events import Event, stamp


def alarm_latched(source: str, alarm: str, raised_at: datetime) -> Event:
    """At the start: an alarm of an earlier run that nobody has acknowledged. `alarm`: its id."""
    return {"event": "alarm_latched", "source": source, "alarm": alarm, "raised_at": stamp(raised_at)}


def alarm_acknowledged(source: str, alarm: str, *, verdict: str, note: str, released: bool) -> Event:
    """Somebody has judged an alarm. `released`: it was latched, and is over now."""
    return {
        "event": "alarm_acknowledged",
        "source": source,
        "alarm": alarm,
        "verdict": verdict,
        "note": note,
        "released": released,
    }


def muted(source: str | None, *, until: datetime, seconds: float, note: str) -> Event:
    """Nobody is to be called for `source` (None: for any), for `seconds` from now."""
    return _of(source, {"event": "muted", "until": stamp(until), "seconds": seconds, "note": note})


def unmuted(
    source: str | None, *, reason: str, alarms: list[str], unwatched: dict[str, str], drifting: list[str]
) -> Event:
    """A mute ended. `alarms` (ids), `unwatched` (states by source) and `drifting` (sources) last.

    Nobody may have been called for them.
    """
    lasting = {"alarms": alarms, "unwatched": unwatched, "drifting": drifting}
    return _of(source, {"event": "unmuted", "reason": reason, **lasting})


def test_alarm(id: str, source: str | None) -> Event:
    """Somebody tries whether alarms arrive; nothing is wrong."""
    return _of(source, {"event": "test_alarm", "id": id, "test": True})


def evidence_kept(source: str, alarm: str, *, evidence: str, seconds: float) -> Event:
    """A clip of an alarm is whole on the disk. `evidence`: its sidecar, in the directory of `[evidence]`."""
    return {"event": "evidence_kept", "source": source, "alarm": alarm, "evidence": evidence, "seconds": seconds}


def evidence_lost(source: str | None, alarm: str | None, *, reason: str) -> Event:
    """There is no clip of an alarm; without one, there will be none of any alarm before there is room."""
    return _of(source, {"event": "evidence_lost", "alarm": alarm, "reason": reason})


def state_lost(moved_to: str | None, kept: tuple[int, int] | None = None) -> Event:
    """state.db was damaged and is put aside as `moved_to`; None: somebody has removed it.

    `kept`: the alarms and verdicts of before that the new one has; None where it has those alone that last.
    """
    alarms, verdicts = kept or (None, None)
    return {"event": "state_lost", "moved_to": moved_to, "kept_alarms": alarms, "kept_verdicts": verdicts}


def _of(source: str | None, event: dict[str, Any]) -> Event:
    return event if source is None else {**event, "source": source}
