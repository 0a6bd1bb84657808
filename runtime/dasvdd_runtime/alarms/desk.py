"""The alarms of a running monitor: what its book, its mutes and state.db make of events. Never stops monitoring."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..condition.health import UNWATCHED
from ..errors import ConfigError, DasvddError
from ..events import Event
from ..files import fault_of_writing, is_full_disk
from ..running.snapshot import SourceSnapshot
from ..state.directory_lock import DirectoryLock
from ..words import count
from . import later_events as events
from .arrivals import SentTests
from .book import Alarm, AlarmBook
from .mutes import ALL, Mute, MuteChange, Mutes

if TYPE_CHECKING:
    from ..evidence.keeper import EvidenceKeeper
    from ..state.state_store import StateStore

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
"""How often commands are looked for."""
NOTE_SECONDS = 60.0
"""How often it is noted what remains of the mutes."""


class AlarmDesk:
    """Completes events before they are written, keeps alarms in state.db, and obeys the commands that come through it.

    Without a directory it only completes events. One thread calls it, but `snapshot` may be called from any.
    """

    def __init__(
        self,
        directory: Path | None = None,
        *,
        latch: bool = False,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Open state.db in `directory`. Raises ConfigError where that may not be written or another monitor uses it.

        On a full disk it is tried again.
        """
        self._book = AlarmBook(latch=latch)
        self._mutes = Mutes()
        self._evidence: EvidenceKeeper | None = None
        self.tests = SentTests()
        self._clock = clock
        self._now = now
        self._directory = directory
        self._store: StateStore | None = None
        self._unsaved: dict[str, Alarm] = {}
        self._held: list[tuple[Any, ...]] = []
        """Of a file that was removed: what is not in the new one yet."""
        self._next_look_seconds = -float("inf")
        self._next_note_seconds = -float("inf")
        self._in_trouble = self._resumed = False
        self._aside: Path | None = None
        self._lock: DirectoryLock | None = None
        if directory is not None:
            self._open(directory)

    def tell_of(self, evidence: EvidenceKeeper | None) -> None:
        """Give the events of `evidence`, too."""
        self._evidence = evidence

    def begin(self) -> list[Event]:
        """What an earlier monitor left: alarms that still wait, mutes in force, verdicts given meanwhile."""
        caused: list[Event] = []
        self._resumed = self._survive(lambda store: self._resume(store, caused))
        return caused + self.look()

    def _open_again(self) -> list[Event]:
        """Try the file that could not be opened; what an earlier monitor left in it, if that is not known yet."""
        assert self._directory is not None
        try:
            self._open(self._directory)
        except DasvddError as error:
            self._tell(error)
        caused: list[Event] = []
        if not self._resumed:
            self._resumed = self._survive(lambda store: self._resume(store, caused))
        self._survive(lambda store: store.mute_all(self._mutes_to_note()))
        return caused

    def mark(self, event: Event) -> Event:
        """`event` with the id of its alarm, `muted` and `latched`; what it says of an alarm is kept."""
        event, alarm = self._book.mark(event, now=self._now(), muted=self._mutes.muted)
        if alarm is not None and self._directory is not None:
            self._unsaved[alarm.id] = alarm
            self._save()
        return event

    def look(self, sources: Callable[[], Sequence[SourceSnapshot]] = tuple) -> list[Event]:
        """What commands have asked for and what has run out since. May be called often.

        `sources` tells how each of them is now: the end of a mute says what lasts.
        """
        told = [] if self._evidence is None else self._evidence.results()
        if self._directory is None or self._clock() < self._next_look_seconds:
            return told
        self._next_look_seconds = self._clock() + LOOK_SECONDS
        caused = told + (self._open_again() if self._store is None else [])
        if self._store is not None and not self._store.is_in_place:
            caused.append(self._replace_removed(self._directory))
        saved = self._save()
        if self._aside is not None:
            caused.append(events.state_lost(str(self._aside)))
            self._aside = None
        self._survive(lambda store: self.tests.tell(store.note_arrivals))  # before new ones begin, not sent yet
        obeyed = self._survive(lambda store: self._obey(store, caused, sources))
        over = self._mutes.expire(self._clock())
        caused += self._told(over, sources)
        noted = self._survive(lambda store: self._note_mutes(store, over))
        # A full disk can still be read, and often there is nothing to write.
        if self._in_trouble and saved and obeyed and noted and fault_of_writing(self._directory) is None:
            self._in_trouble = False
            log.warning("state.db: can be used again")
        return caused

    def clock_was_set(self) -> None:
        """The wall clock jumped: what is noted of the mutes' ends is wrong."""
        self._next_note_seconds = self._next_look_seconds = -float("inf")

    def complete(self, snapshot: SourceSnapshot) -> SourceSnapshot:
        """`snapshot` with what the desk knows of its source."""
        latched = self._book.latched(snapshot.name)
        return replace(
            snapshot,
            in_alarm=snapshot.in_alarm or latched > 0,
            latched_alarms=latched,
            muted=self._mutes.muted(snapshot.name),
        )

    def last_evidence(self) -> list[Event]:
        """What became of the clips that were being written; no more will be. Waits for the disk, not for long."""
        return [] if self._evidence is None else self._evidence.close()

    def close(self) -> None:
        """Note what remains and close the file; one that could not be opened before is tried a last time."""
        if self._directory is not None and self._store is None:
            self._open_again()
        self._save()
        self._next_note_seconds = -float("inf")
        self._survive(lambda store: self._note_mutes(store, []))
        lost = self._unsaved.keys() | {id for id, *_ in self._held}
        if lost:
            log.error("state.db: %d alarms could not be written and are lost", len(lost))
        if self._store is not None:
            self._store.close()
        if self._directory is not None:
            self._store = self._directory = None
            if self._lock is not None:
                self._lock.release()

    def _resume(self, store: StateStore, caused: list[Event]) -> None:
        store.forget_tests()
        left = store.lasting()
        for alarm in self._book.resume(left):
            store.save(alarm)
        latched = [alarm for alarm in left if alarm.id in self._book.in_progress(alarm.source)]
        caused += [events.alarm_latched(alarm.source, alarm.id, alarm.raised_at) for alarm in latched]

    def _obey(self, store: StateStore, caused: list[Event], sources: Callable[[], Sequence[SourceSnapshot]]) -> None:
        """Do what commands have written since the last look."""
        if not store.changed():
            return
        for alarm in store.untold():
            ended = self._book.acknowledge(alarm)
            if ended is not None:
                store.save(ended)
            assert alarm.verdict is not None
            caused.append(
                events.alarm_acknowledged(
                    alarm.source, alarm.id, verdict=alarm.verdict, note=alarm.note, released=ended is not None
                )
            )
            store.set_told(alarm.id)
        changes = self._mutes.take(store.mutes(), wall_seconds=self._now().timestamp(), monotonic_seconds=self._clock())
        caused += self._told(changes, sources)
        for id, source in store.test_requests():
            caused.append(events.test_alarm(id, source))
            self.tests.begin(id)
            store.take_test(id)

    def _told(self, changes: list[MuteChange], sources: Callable[[], Sequence[SourceSnapshot]]) -> list[Event]:
        """The events of `changes`."""
        caused = []
        for change in changes:
            source = None if change.mute.source == ALL else change.mute.source
            if change.began:
                until = datetime.fromtimestamp(change.mute.until, UTC)
                caused.append(
                    events.muted(source, until=until, seconds=change.mute.remaining_seconds, note=change.mute.note)
                )
            else:
                caused.append(events.unmuted(source, reason=change.reason, **self._lasting(source, sources())))
        return caused

    def _lasting(self, source: str | None, sources: Sequence[SourceSnapshot]) -> dict[str, Any]:
        """What lasts of `source` (None: of all) as its mute ends, unless another mute is still in force for it."""
        with_alarms = self._book.sources_in_progress() if source is None else [source]
        here = [each for each in sources if source in (None, each.name) and not self._mutes.muted(each.name)]
        return {
            "alarms": [
                id for name in with_alarms if not self._mutes.muted(name) for id in self._book.in_progress(name)
            ],
            "unwatched": {each.name: each.state.value for each in here if each.state in UNWATCHED},
            "drifting": [each.name for each in here if each.drift is not None and each.drift.drifting],
        }

    def _note_mutes(self, store: StateStore, over: list[MuteChange]) -> None:
        for change in over:
            store.unmute(change.mute.source, id=change.mute.id)
        if self._clock() >= self._next_note_seconds:
            self._next_note_seconds = self._clock() + NOTE_SECONDS
            noted = self._mutes_to_note()
            if noted:
                store.renew(noted)

    def _mutes_to_note(self) -> list[Mute]:
        return self._mutes.to_note(wall_seconds=self._now().timestamp(), monotonic_seconds=self._clock())

    def _save(self) -> bool:
        """Write alarms that are not written yet; what fails is tried again later, and False."""
        if self._held:
            if not self._survive(lambda store: store.take_over(self._held)):
                return False
            self._held = []
        for alarm in list(self._unsaved.values()):
            if not self._survive(lambda store, alarm=alarm: store.save(alarm)):  # type: ignore[misc]
                return False
            del self._unsaved[alarm.id]
        return True

    def _survive(self, work: Callable[[StateStore], None]) -> bool:
        """Do `work` on the file; False where that failed, which is said once and never raised."""
        if self._store is None or self._directory is None:
            return False
        import sqlite3

        from ..state.database_faults import is_damage

        try:
            work(self._store)
        except (sqlite3.Error, ValueError, TypeError) as error:
            self._tell(error)
            if is_damage(error):
                self._renew(self._directory)
            return False
        return True

    def _renew(self, directory: Path) -> None:
        """Begin a new file in the place of a damaged one, with what is known of alarms and mutes."""
        assert self._store is not None
        self._store.close()
        self._unsaved = {alarm.id: alarm for alarm in self._book.all_in_progress()} | self._unsaved
        try:
            self._open(directory)
        except DasvddError as error:
            log.error("%s", error)
            return
        self._survive(lambda store: store.mute_all(self._mutes_to_note()))

    def _replace_removed(self, directory: Path) -> Event:
        """Begin a new file in the place of one that somebody has removed, perhaps with its directory.

        While it is open, the removed one can still be read.
        """
        import sqlite3

        assert self._store is not None
        kept: tuple[int, int] | None = None
        try:
            held = self._store.contents_of_removed()
        except sqlite3.Error as error:
            log.error(
                "state.db was removed or replaced by another program and can be read no more (%s): a new one begins "
                "with the mutes and the alarms that last. It lacks all other alarms and the verdicts, nobody knows how "
                "many. They stand in the event file; to have them back, stop the monitor and restore a backup.",
                error,
            )
        else:
            kept = (len(held), sum(verdict is not None for *_, verdict, _note, _told in held))
            self._held += held
            log.error(
                "state.db was removed or replaced by another program: a new one begins with all that it held, %s and "
                "%s. To begin with none, stop the monitor first.",
                count(kept[0], "alarm"),
                count(kept[1], "verdict"),
            )
        if self._lock is not None:
            self._lock.release()
            self._lock = None
        self._renew(directory)
        return events.state_lost(None, kept)

    def _open(self, directory: Path) -> None:
        """Open the file, or leave it for later. Raises ConfigError."""
        import sqlite3

        from ..state.state_store import StateStore

        self._store = None
        try:
            self._lock = self._lock or DirectoryLock(directory, table="[state]")
            self._store, self._aside = StateStore.open_or_renew(directory)
        except (sqlite3.Error, OSError) as error:
            self._tell(error)
        except ConfigError as error:
            if not is_full_disk(error.__cause__):
                raise
            self._tell(error)

    def _tell(self, error: Exception) -> None:
        if not self._in_trouble:
            log.error("state.db: %s; monitoring goes on, and the file is tried again", error)
        self._in_trouble = True
