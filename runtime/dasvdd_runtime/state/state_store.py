"""What state.db holds: alarms with verdicts, mutes, and what commands ask of the running monitor.

Imported only where a state directory is configured: SQLite costs memory.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from ..alarms.arrivals import Arrival
from ..alarms.book import Alarm, AlarmState, Verdict
from ..alarms.mutes import Mute
from ..files import is_in_place
from .state_file import FILE_NAME, open_existing, open_or_renew

KEEP_ALARMS = 10_000
"""The newest alarms; older ones are forgotten."""

_COLUMNS = (
    "id, source, model_fingerprint, state, raised_at, ended_at, start_seconds, peak_seconds, peak_score, end_seconds, "
    "threshold, muted, recording, verdict, note"
)
_MACHINE_COLUMNS = ("state", "ended_at", "peak_seconds", "peak_score", "end_seconds")
"""What changes in an alarm other than by a person's word."""


class StateStore:
    """An open state.db. Every method may raise sqlite3.Error."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection
        self._data_version = -1
        (_, _, path) = connection.execute("PRAGMA database_list").fetchone()
        self._path = Path(path)
        self._file = self._path.stat()

    @classmethod
    def open_existing(cls, directory: Path, *, any_thread: bool = False) -> StateStore:
        """For a command. Raises InputMissing where no monitor has run, and DataError for a file that is damaged.

        `any_thread`: threads take turns with it.
        """
        return cls(open_existing(directory / FILE_NAME, _read_all, any_thread=any_thread))

    @classmethod
    def open_or_renew(cls, directory: Path) -> tuple[StateStore, Path | None]:
        """For the monitor: the file in `directory`, made if need be, and where a damaged one was put aside.

        Raises ConfigError where the directory may not be written.
        """
        connection, aside = open_or_renew(directory / FILE_NAME, _read_all)
        return cls(connection), aside

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    @property
    def is_in_place(self) -> bool:
        """Nobody has removed the file or put another there."""
        return is_in_place(self._path, self._file)

    def changed(self) -> bool:
        """Another program has written since the last call; true at the first."""
        (version,) = self._db.execute("PRAGMA data_version").fetchone()
        before, self._data_version = self._data_version, version
        return bool(version != before)

    def save(self, alarm: Alarm) -> None:
        """Note `alarm`; what a person said of it stays."""
        updates = ", ".join(f"{name} = excluded.{name}" for name in _MACHINE_COLUMNS)
        with self._db:
            self._db.execute(
                f"INSERT INTO alarms ({_COLUMNS}) VALUES ({', '.join('?' * 15)}) "
                f"ON CONFLICT (id) DO UPDATE SET {updates}",
                _row_of(alarm),
            )
            self._db.execute("DELETE FROM alarms WHERE rowid <= (SELECT max(rowid) FROM alarms) - ?", (KEEP_ALARMS,))

    def contents_of_removed(self) -> list[tuple[Any, ...]]:
        """Every alarm of a file that was removed, which can be read while it is open: oldest first, for `take_over`.

        Its write-ahead log, which stays where it was and would overwrite the file that follows, is emptied.
        """
        with suppress(sqlite3.Error):  # a full disk can still be read
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return self._db.execute(f"SELECT {_COLUMNS}, told FROM alarms ORDER BY rowid").fetchall()

    def take_over(self, contents: Sequence[tuple[Any, ...]]) -> None:
        """Add the `contents` of a removed file, all or none; where both have an alarm, a person's word here stays."""
        said = ", ".join(
            f"{name} = CASE WHEN alarms.verdict IS NULL THEN excluded.{name} ELSE alarms.{name} END"
            for name in ("told", "note", "verdict")
        )
        updates = ", ".join(f"{name} = excluded.{name}" for name in _MACHINE_COLUMNS)
        with self._db:
            self._db.executemany(
                f"INSERT INTO alarms ({_COLUMNS}, told) VALUES ({', '.join('?' * 16)}) "
                f"ON CONFLICT (id) DO UPDATE SET {updates}, {said}",
                contents,
            )

    def alarms(self, *, source: str | None = None, limit: int = -1, only_open: bool = False) -> list[Alarm]:
        """Alarms, newest first. `only_open`: those that no person has judged."""
        wanted, values = ["1"], list[Any]()
        if source is not None:
            wanted, values = [*wanted, "source = ?"], [source]
        if only_open:
            wanted.append("verdict IS NULL")
        rows = self._db.execute(
            f"SELECT {_COLUMNS} FROM alarms WHERE {' AND '.join(wanted)} ORDER BY rowid DESC LIMIT ?", [*values, limit]
        )
        return [_alarm_of(row) for row in rows]

    def unanswered(self) -> list[tuple[Alarm, int]]:
        """Of each source with alarms that no person has judged: the newest, and how many there are."""
        rows = self._db.execute(
            f"SELECT {_COLUMNS}, number FROM alarms JOIN (SELECT max(rowid) AS newest, count(*) AS number FROM alarms "
            "WHERE verdict IS NULL GROUP BY source) ON alarms.rowid = newest"
        )
        return [(_alarm_of(row[:-1]), row[-1]) for row in rows]

    def lasting(self) -> list[Alarm]:
        """Alarms that a monitor before this one left active or latched, oldest first."""
        rows = self._db.execute(f"SELECT {_COLUMNS} FROM alarms WHERE state IN ('active', 'latched') ORDER BY rowid")
        return [_alarm_of(row) for row in rows]

    def find(self, prefix: str) -> list[Alarm]:
        """The alarms whose id begins with `prefix`."""
        rows = self._db.execute(
            f"SELECT {_COLUMNS} FROM alarms WHERE substr(id, 1, ?) = ?", (len(prefix), prefix.lower())
        )
        return [_alarm_of(row) for row in rows]

    def judge(self, ids: Iterable[str], verdict: Verdict, note: str) -> None:
        """A person's word on alarms; the monitor tells of it when it next looks, or at its next start.

        An empty `note` leaves the one that is there where the verdict stays.
        """
        with self._db:
            self._db.executemany(
                "UPDATE alarms SET note = CASE WHEN ? = '' AND verdict = ? THEN note ELSE ? END, verdict = ?, told = 0 "
                "WHERE id = ?",
                [(note, verdict, note, verdict, id) for id in ids],
            )

    def untold(self) -> list[Alarm]:
        """Judged alarms of which no event has told yet."""
        rows = self._db.execute(f"SELECT {_COLUMNS} FROM alarms WHERE verdict IS NOT NULL AND told = 0 ORDER BY rowid")
        return [_alarm_of(row) for row in rows]

    def set_told(self, id: str) -> None:
        """An event has told the verdict on the alarm `id`."""
        with self._db:
            self._db.execute("UPDATE alarms SET told = 1 WHERE id = ?", (id,))

    def mutes(self) -> list[Mute]:
        """All that are noted, in force or over."""
        rows = self._db.execute("SELECT id, source, until, remaining_seconds, note FROM mutes ORDER BY source")
        return [Mute(id, source, float(until), float(left), note) for id, source, until, left, note in rows]

    def mute_all(self, mutes: Sequence[Mute]) -> None:
        """Note each of `mutes` in the place of the one of the same source."""
        with self._db:
            self._db.executemany(
                "INSERT OR REPLACE INTO mutes (id, source, until, remaining_seconds, note) VALUES (?, ?, ?, ?, ?)",
                [(mute.id, mute.source, mute.until, mute.remaining_seconds, mute.note) for mute in mutes],
            )

    def renew(self, mutes: Sequence[Mute]) -> None:
        """Note what remains of `mutes`, unless a person has changed them meanwhile."""
        with self._db:
            self._db.executemany(
                "UPDATE mutes SET until = ?, remaining_seconds = ? WHERE source = ? AND id = ?",
                [(mute.until, mute.remaining_seconds, mute.source, mute.id) for mute in mutes],
            )

    def unmute(self, source: str, *, id: str | None = None) -> bool:
        """Remove the mute of `source`, that called `id` if given; False if there is none."""
        with self._db:
            removed = self._db.execute(
                "DELETE FROM mutes WHERE source = ? AND (? IS NULL OR id = ?)", (source, id, id)
            ).rowcount
        return removed > 0

    def ask_for_test(self, id: str, source: str | None) -> None:
        """Ask the running monitor for a test alarm."""
        with self._db:
            self._db.execute("INSERT INTO test_requests (id, source) VALUES (?, ?)", (id, source))

    def test_taken(self, id: str) -> bool:
        """The monitor has taken the request."""
        row = self._db.execute("SELECT taken FROM test_requests WHERE id = ?", (id,)).fetchone()
        return row is not None and bool(row[0])

    def forget_test(self, id: str) -> None:
        """Remove a request."""
        with self._db:
            self._db.execute("DELETE FROM test_requests WHERE id = ?", (id,))

    def forget_tests(self) -> None:
        """Remove all requests: those of a time when no monitor ran are not for the one that starts."""
        with self._db:
            self._db.execute("DELETE FROM test_requests")

    def test_requests(self) -> list[tuple[str, str | None]]:
        """Requests that are not taken: id and source."""
        return list(self._db.execute("SELECT id, source FROM test_requests WHERE taken = 0 ORDER BY rowid"))

    def take_test(self, id: str) -> None:
        """Say that a request was taken."""
        with self._db:
            self._db.execute("UPDATE test_requests SET taken = 1 WHERE id = ?", (id,))

    def note_arrivals(self, id: str, found: Mapping[str, Arrival]) -> bool:
        """Say how far a test alarm has come, by receiver; False where nobody asks any more."""
        with self._db:
            text = json.dumps({name: arrival._asdict() for name, arrival in found.items()})
            changed = self._db.execute("UPDATE test_requests SET arrivals = ? WHERE id = ?", (text, id)).rowcount
        return changed > 0

    def arrivals(self, id: str) -> dict[str, Arrival] | None:
        """How far a test alarm has come, by receiver; None before the monitor has said so."""
        row = self._db.execute("SELECT arrivals FROM test_requests WHERE id = ?", (id,)).fetchone()
        if row is None or row[0] is None:
            return None
        return {name: Arrival(**values) for name, values in json.loads(row[0]).items()}


def _read_all(connection: sqlite3.Connection) -> None:
    """Read every alarm and mute. Raises ValueError or TypeError where one makes no sense."""
    store = StateStore(connection)
    store.alarms()
    store.mutes()


def _row_of(alarm: Alarm) -> tuple[Any, ...]:
    return (
        alarm.id,
        alarm.source,
        alarm.model_fingerprint,
        alarm.state.value,
        alarm.raised_at.isoformat(),
        None if alarm.ended_at is None else alarm.ended_at.isoformat(),
        alarm.start_seconds,
        alarm.peak_seconds,
        alarm.peak_score,
        alarm.end_seconds,
        alarm.threshold,
        int(alarm.muted),
        alarm.recording,
        alarm.verdict,
        alarm.note,
    )


def _alarm_of(row: Sequence[Any]) -> Alarm:
    values = dict(zip(_COLUMNS.split(", "), row, strict=True))
    ended_at = values["ended_at"]
    return Alarm(
        **values
        | {
            "state": AlarmState(values["state"]),
            "raised_at": datetime.fromisoformat(values["raised_at"]),
            "ended_at": None if ended_at is None else datetime.fromisoformat(ended_at),
            "muted": bool(values["muted"]),
        }
    )
