"""The alarms and mutes of state.db for the page, and what people do to them there.

Imported only where a state directory is configured: SQLite costs memory.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from ..alarms import commands as alarm_commands
from ..alarms.book import Verdict
from ..errors import DasvddError
from ..state.state_file import FILE_NAME
from ..state.state_store import StateStore
from .observed import ShownAlarms

MOST_ALARMS = 30
"""Of those that nobody has judged, and of all, so many are shown, newest first; and of each source the newest."""
R = TypeVar("R")


class AlarmBoard:
    """state.db, as a command would open it, kept open. Threads take turns; every method raises DasvddError."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        self._store: StateStore | None = None
        self._file: tuple[int, int] | None = None
        self._seen: ShownAlarms | None = None

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._close()

    def look(self) -> ShownAlarms:
        """Alarms and mutes as they are. Reads them only when another program has written."""
        return self._do(self._look)

    def judge(self, id: str, verdict: Verdict, note: str, *, with_earlier: bool = False) -> None:
        """Acknowledge the alarm with this whole id, or it and all before it of its source that nobody has judged.

        Raises DataError where it is not there.
        """

        def judge(store: StateStore) -> None:
            alarm = alarm_commands.alarm_with_id(store, id)
            alarms = alarm_commands.unanswered_up_to(store, alarm) if with_earlier else [alarm]
            alarm_commands.judge(store, alarms, verdict, note)

        self._change(judge)

    def mute(self, source: str, seconds: float, note: str) -> None:
        """Mute `source`, or ALL. Raises DataError for a duration that cannot be."""
        self._change(lambda store: alarm_commands.mute(store, source, seconds, note))

    def end_mute(self, source: str) -> None:
        """Raises DataError where `source`, or ALL, is not muted."""
        self._change(lambda store: alarm_commands.end_mute(store, source))

    def _change(self, work: Callable[[StateStore], object]) -> None:
        def change(store: StateStore) -> None:
            self._seen = None  # a connection's own writing does not count as a change for it
            work(store)

        self._do(change)

    def _look(self, store: StateStore) -> ShownAlarms:
        if store.changed() or self._seen is None:
            unanswered = store.unanswered()
            newest = [*store.alarms(limit=MOST_ALARMS), *store.alarms(limit=MOST_ALARMS, only_open=True)]
            shown = {alarm.id: alarm for alarm in [*newest, *(alarm for alarm, _ in unanswered)]}
            self._seen = ShownAlarms(
                sorted(shown.values(), key=lambda alarm: alarm.raised_at, reverse=True),
                {alarm.source: number for alarm, number in unanswered},
                store.mutes(),
            )
        return self._seen

    def _do(self, work: Callable[[StateStore], R]) -> R:
        with self._lock:
            try:
                return work(self._opened())
            except (sqlite3.Error, OSError) as error:
                self._close()
                raise DasvddError(f"{self._directory}/{FILE_NAME}: {error}. Nothing was changed; try again.") from error

    def _opened(self) -> StateStore:
        """The file that is there now: the monitor puts a damaged one aside."""
        status = (self._directory / FILE_NAME).stat()
        file = (status.st_dev, status.st_ino)
        if self._store is None or file != self._file:
            self._close()
            self._store, self._file = StateStore.open_existing(self._directory, any_thread=True), file
        return self._store

    def _close(self) -> None:
        if self._store is not None:
            self._store.close()
        self._store, self._seen = None, None
