"""How long was each source watched, and why not? Pure: told of the event file's lines in order, it keeps no clock.

Time is counted from one event to the next, less what a `clock_jump` between them says, so that it is true however the
wall clock was set. What no event shows is never taken as watched.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from .condition.health import State
from .events import Event

OFF = "monitor off"
NO_EVENTS = "no events"
"""The monitor seemed to run, but wrote nothing of the source: it hung, could not write, or the source had ended."""
NO_EVENTS_SECONDS = 5400.0
"""Without an event of a source for so long it counts as NO_EVENTS: a `summary` of each is due every hour."""
WATCHED = frozenset({State.OK.value, State.CLIPPED.value})
SET_SECONDS = 1.0
"""A time that goes back by less between two events is no clock that was set."""


@dataclass(frozen=True)
class Stretch:
    """A time in which one thing was so of a source."""

    kind: str
    """A State's name, OFF or NO_EVENTS."""
    start: datetime
    end: datetime
    """Both as the wall clock showed them: where it was set between them, they are not `seconds` apart."""
    begin_seconds: float
    """Since the first event."""
    seconds: float
    reason: str = ""
    at_most: bool = False
    """It may have begun later: after a kill or a power cut only the last event before is known."""
    muted: bool = False

    @property
    def watched(self) -> bool:
        """The source was scored."""
        return self.kind in WATCHED

    @property
    def unwatched(self) -> bool:
        """It was not, and not because the machine stood still."""
        return not self.watched and self.kind != State.IDLE


@dataclass(frozen=True)
class ClockSet:
    """The wall clock was set."""

    to: datetime
    seconds: float
    """By how much, forwards positive; where `told` is False at least so far back."""
    begin_seconds: float
    told: bool
    """A `clock_jump` says so; else the times of two events do, between which no monitor looked at the clock."""


@dataclass
class Reckoning:
    """What the events say."""

    stretches: dict[str, list[Stretch]] = field(default_factory=dict)
    """By source, in order; from where its state is known first."""
    clock_sets: list[ClockSet] = field(default_factory=list)
    dropped: list[tuple[float, str, float]] = field(default_factory=list)
    """Seconds since the first event, source, and seconds of samples dropped because scoring fell behind."""
    seconds: float = 0.0
    """From the first event to the end."""
    damaged_lines: int = 0
    """Lines that are no events, as a power cut leaves them; left out."""


def reckon(lines: Iterable[str | bytes], *, now: datetime) -> Reckoning:
    """The stretches of every source from the first of `lines`, JSON of one event each, to `now`."""
    reckoner, damaged_lines = _Reckoner(), 0
    for line in lines:
        try:
            event = json.loads(line)
            reckoner.take(datetime.fromisoformat(event["time"]).astimezone(UTC), event)
        except (ValueError, TypeError, KeyError, AttributeError):
            damaged_lines += bool(line.strip())
    return replace(reckoner.end(now), damaged_lines=damaged_lines)


def last_seconds(whole: Reckoning, seconds: float) -> Reckoning:
    """The last `seconds` of `whole`; all of it where it is no longer than that."""
    begin = max(0.0, whole.seconds - seconds)
    cut = {
        source: [_cut(one, begin) for one in stretches if one.begin_seconds + one.seconds > begin]
        for source, stretches in whole.stretches.items()
    }
    return replace(
        whole,
        stretches={source: stretches for source, stretches in cut.items() if stretches},
        clock_sets=[one for one in whole.clock_sets if one.begin_seconds >= begin],
        dropped=[one for one in whole.dropped if one[0] >= begin],
        seconds=whole.seconds - begin,
    )


def longest_unwatched(stretches: list[Stretch]) -> list[Stretch]:
    """The longest run of stretches in which the source was not watched, whatever the reasons; [] for none."""
    longest: list[Stretch] = []
    run: list[Stretch] = []
    for one in stretches:
        adjoins = not run or one.begin_seconds - (run[-1].begin_seconds + run[-1].seconds) < SET_SECONDS
        run = [*(run if adjoins else []), one] if one.unwatched else []
        if total(run) > total(longest):
            longest = run
    return longest


def total(stretches: list[Stretch]) -> float:
    """Their seconds."""
    return sum(one.seconds for one in stretches)


def _cut(stretch: Stretch, begin_seconds: float) -> Stretch:
    """`stretch` from `begin_seconds` on."""
    left = stretch.begin_seconds + stretch.seconds - begin_seconds
    if left >= stretch.seconds:
        return stretch
    return replace(stretch, start=stretch.end - timedelta(seconds=left), begin_seconds=begin_seconds, seconds=left)


@dataclass
class _Source:
    kind: str
    since: datetime
    since_seconds: float
    """Up to here its time is in the stretches."""
    reason: str = ""
    muted: bool = False


class _Reckoner:
    def __init__(self) -> None:
        self._all = Reckoning()
        self._sources: dict[str, _Source] = {}
        self._last: datetime | None = None
        self._running = True
        self._owed_seconds = 0.0
        """Negative: by how far the time went back with no clock_jump yet, which may be written a moment later."""

    def take(self, time: datetime, event: Event) -> None:
        kind = event["event"]
        jump_seconds = float(event["seconds"]) if kind == "clock_jump" else 0.0
        if kind == "started":
            self._start(time, event["sources"])
            return
        self._advance(time, jump_seconds)
        if kind == "clock_jump":
            self._all.clock_sets.append(ClockSet(time, jump_seconds, self._all.seconds, told=True))
        elif kind == "reloaded":
            for name in event["removed"]:
                if name in self._sources:
                    self._count(name)
                    del self._sources[name]
            for name in event["added"]:
                self._sources[name] = self._new(State.STARTING.value)
        elif kind in ("muted", "unmuted"):
            for name in self._sources:
                if event.get("source") in (None, name):
                    self._count(name)
                    self._sources[name].muted = kind == "muted"
        elif kind == "overload":
            for name, seconds in event["dropped_seconds"].items():
                self._all.dropped.append((self._all.seconds, name, float(seconds)))
        elif kind in ("source_state", "summary"):
            self._take_state(event["source"], event)
        elif kind == "stopped":
            self._stop()

    def end(self, now: datetime) -> Reckoning:
        self._advance(now, 0.0)
        self._settle_clock()
        self._count_all()
        return self._all

    def _start(self, time: datetime, names: Iterable[str]) -> None:
        """Up to the last event things were as they were told, from there to `time` the monitor was off."""
        self._settle_clock()
        killed = self._running
        self._stop()
        self._advance(time, 0.0)
        self._settle_clock()
        self._count_all(at_most=killed)
        self._running = True
        self._sources = {name: self._new(State.STARTING.value) for name in names}

    def _stop(self) -> None:
        self._count_all()
        self._running = False
        self._sources = {name: self._new(OFF) for name in self._sources}

    def _take_state(self, name: str, event: Event) -> None:
        if name in self._sources:
            self._count(name)
        source = self._sources.setdefault(name, self._new(event["state"]))
        source.kind, source.reason = event["state"], event.get("reason", source.reason)
        source.muted = event.get("muted", source.muted)

    def _new(self, kind: str) -> _Source:
        assert self._last is not None
        return _Source(kind, self._last, self._all.seconds)

    def _advance(self, time: datetime, jump_seconds: float) -> None:
        if self._last is not None:
            elapsed = (time - self._last).total_seconds() - jump_seconds + self._owed_seconds
            self._owed_seconds = min(0.0, elapsed)
            self._all.seconds += max(0.0, elapsed)
        self._last = time

    def _settle_clock(self) -> None:
        """The time went back, and nothing more will say why."""
        if self._owed_seconds < -SET_SECONDS and self._last is not None:
            self._all.clock_sets.append(ClockSet(self._last, self._owed_seconds, self._all.seconds, told=False))
        self._owed_seconds = 0.0

    def _count_all(self, *, at_most: bool = False) -> None:
        for name in self._sources:
            self._count(name, at_most=at_most)

    def _count(self, name: str, *, at_most: bool = False) -> None:
        """Enter the time of a source up to here."""
        assert self._last is not None
        source, here = self._sources[name], self._all.seconds
        seconds = here - source.since_seconds
        unknown = self._running and seconds > NO_EVENTS_SECONDS
        new = Stretch(
            NO_EVENTS if unknown else source.kind,
            source.since,
            self._last,
            source.since_seconds,
            seconds,
            "" if unknown else source.reason,
            at_most=at_most or unknown,
            muted=source.muted,
        )
        source.since, source.since_seconds = self._last, here
        if seconds > 0:
            _append(self._all.stretches.setdefault(name, []), new)


def _append(stretches: list[Stretch], new: Stretch) -> None:
    """Add `new`, as part of the one before where nothing else became of the source."""
    if stretches:
        last = stretches[-1]
        as_last = replace(new, start=last.start, begin_seconds=last.begin_seconds, seconds=last.seconds, end=last.end)
        if as_last == last and last.begin_seconds + last.seconds >= new.begin_seconds - SET_SECONDS:
            new = replace(last, end=new.end, seconds=last.seconds + new.seconds)
            del stretches[-1]
    stretches.append(new)
