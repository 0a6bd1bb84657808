"""Mutes: for how long nobody is to be called for a source. Pure: told of both clocks, it keeps none.

While the monitor runs, a mute is counted by the monotonic clock, so that setting the wall clock neither ends nor
prolongs it. Across a restart the wall clock counts, but a mute never gets longer than it was when last noted: a clock
that is wrong after a power cut can end a mute too early, never keep a machine silent for longer than was asked.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

ALL = "*"
"""In the place of a source: every source."""
LONGEST_SECONDS = 7 * 86400.0
"""A mute is no way to switch a source off."""


@dataclass(frozen=True)
class Mute:
    """A mute as it was noted."""

    id: str
    source: str
    """The source's name, or ALL."""
    until: float
    """Wall time of its end, in seconds since 1970 UTC."""
    remaining_seconds: float
    """How long it lasted still when it was noted: the most that it may last now."""
    note: str = ""


@dataclass(frozen=True)
class MuteChange:
    """A mute that began, or one that ended."""

    mute: Mute
    began: bool
    reason: str = ""
    """Why it ended."""


class Mutes:
    """The mutes in force, by source."""

    def __init__(self) -> None:
        self._ends: dict[str, tuple[Mute, float]] = {}

    def muted(self, source: str) -> bool:
        """Nobody is to be called for `source`."""
        return source in self._ends or ALL in self._ends

    def take(self, noted: Iterable[Mute], *, wall_seconds: float, monotonic_seconds: float) -> list[MuteChange]:
        """What is noted now: mutes that are new begin, those that are gone end."""
        changes = []
        by_source = {mute.source: mute for mute in noted}
        for source, (mute, _) in list(self._ends.items()):
            if source not in by_source:
                del self._ends[source]
                changes.append(MuteChange(mute, False, "ended by hand"))
        for source, mute in by_source.items():
            if source in self._ends and self._ends[source][0].id == mute.id:
                continue
            left = min(mute.until - wall_seconds, mute.remaining_seconds, LONGEST_SECONDS)
            if left > 0:
                mute = replace(mute, until=wall_seconds + left, remaining_seconds=left)
                changes.append(MuteChange(mute, True))
            self._ends[source] = (mute, monotonic_seconds + max(0.0, left))
        return changes

    def expire(self, monotonic_seconds: float) -> list[MuteChange]:
        """Mutes whose time is over; they are in force no longer."""
        over = [mute for mute, end in self._ends.values() if monotonic_seconds >= end]
        for mute in over:
            del self._ends[mute.source]
        return [MuteChange(mute, False, "its time is over") for mute in over]

    def to_note(self, *, wall_seconds: float, monotonic_seconds: float) -> list[Mute]:
        """The mutes in force with what remains of them, for the monitor after this one."""
        noted = []
        for mute, end in self._ends.values():
            left = max(0.0, end - monotonic_seconds)
            noted.append(replace(mute, until=wall_seconds + left, remaining_seconds=left))
        return noted
