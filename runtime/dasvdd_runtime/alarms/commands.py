"""What a person does to alarms: judge, mute, end a mute. The commands and the page of `[http]` both do it here."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING

from ..errors import DataError
from .book import Alarm, Verdict
from .mutes import ALL, LONGEST_SECONDS, Mute

if TYPE_CHECKING:
    from ..state.state_store import StateStore


def judge(store: StateStore, alarms: list[Alarm], verdict: Verdict, note: str) -> None:
    """Acknowledge `alarms`: say what they were, and a latched one is over.

    A second verdict replaces the first with its note; an empty note leaves that of the same verdict.
    """
    store.judge([alarm.id for alarm in alarms], verdict, note)


def alarm_with_id(store: StateStore, id: str) -> Alarm:
    """The alarm whose whole id this is. Raises DataError where there is none."""
    found = [alarm for alarm in store.find(id) if alarm.id == id]
    if not found:
        raise DataError(f"no alarm has the id '{id}' (any more)")
    return found[0]


def unanswered_up_to(store: StateStore, alarm: Alarm) -> list[Alarm]:
    """The alarms of its source that nobody has judged, `alarm` and those before it."""
    unanswered = store.alarms(source=alarm.source, only_open=True)
    return [each for each in unanswered if each.raised_at <= alarm.raised_at]


def duration_fault(seconds: float) -> str | None:
    """Why a mute cannot last for `seconds`, if it cannot."""
    if 0 < seconds <= LONGEST_SECONDS:
        return None
    return (
        f"a mute lasts more than 0 and at most {LONGEST_SECONDS / 86400:g} d, so that none is forgotten. "
        "Remove the source from monitor.toml to switch it off."
    )


def mute(store: StateStore, source: str, seconds: float, note: str) -> float:
    """Nobody is to be called for `source`, or ALL, for `seconds`; the wall time of the end, in seconds since 1970.

    A second mute of the same source replaces the first. Raises DataError for a duration that is none, or too long.
    """
    if fault := duration_fault(seconds):
        raise DataError(f"{seconds:g} s: {fault}")
    until = time.time() + seconds
    store.mute_all([Mute(str(uuid.uuid4()), source, until, seconds, note)])
    return until


def end_mute(store: StateStore, source: str) -> None:
    """People are called for `source`, or ALL, again. Raises DataError where it is not muted."""
    if not store.unmute(source):
        raise DataError(f"{in_words(source)}: not muted. `dasvdd-monitor alarms` lists the mutes.")


def in_words(source: str) -> str:
    """What a mute is for."""
    return "all sources" if source == ALL else f"source '{source}'"
