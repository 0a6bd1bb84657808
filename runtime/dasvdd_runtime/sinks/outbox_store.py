"""What waits to be delivered, in one SQLite file. The only module that knows SQL; it raises sqlite3.Error."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from ..files import is_in_place

SCHEMA_VERSION = 1
TABLES = (
    "CREATE TABLE event (id INTEGER PRIMARY KEY, durable INTEGER NOT NULL, line BLOB NOT NULL)",
    "CREATE INDEX telemetry ON event (id) WHERE durable = 0",
    """CREATE TABLE receiver (name TEXT PRIMARY KEY, cursor INTEGER NOT NULL, lost_events INTEGER NOT NULL,
       lost_scores INTEGER NOT NULL, refused INTEGER NOT NULL)""",
    f"PRAGMA user_version = {SCHEMA_VERSION}",
)
STRANGE = (
    f"SELECT count(*) FROM event WHERE id > {1 << 62} OR typeof(line) != 'blob' OR typeof(durable) != 'integer'",
    f"""SELECT count(*) FROM receiver WHERE typeof(name) != 'text' OR cursor > {1 << 62} OR typeof(cursor) != 'integer'
       OR typeof(lost_events) != 'integer' OR typeof(lost_scores) != 'integer' OR typeof(refused) != 'integer'""",
)
"""How many rows hold what only damage can have put there."""
UPSERT = """INSERT INTO receiver VALUES (?, ?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET cursor = excluded.cursor,
            lost_events = excluded.lost_events, lost_scores = excluded.lost_scores, refused = excluded.refused"""
LOCK_SECONDS = 2.0
"""How long the process before may take to let go of the file."""


class Row(NamedTuple):
    """An event that waits. `id` counts upwards; `durable` is False for score telemetry."""

    id: int
    durable: bool
    line: str


@dataclass(frozen=True)
class Receiver:
    """How far one receiver has come."""

    telemetry: bool
    """It takes scores as well."""
    cursor: int = 0
    """The id of the last row that it has, or that is not for it."""
    lost_events: int = 0
    """Events dropped before it had them, since it was told last; likewise the next two."""
    lost_scores: int = 0
    refused: int = 0
    """Events that it would not take."""
    told: tuple[int, int, int] = (0, 0, 0)
    """Losses of each kind that it was told of since the start."""

    def wants(self, row: Row) -> bool:
        """`row` is still to be delivered to it."""
        return row.id > self.cursor and (row.durable or self.telemetry)

    @property
    def losses(self) -> dict[str, int]:
        """What it never got, by kind."""
        return {"events": self.lost_events, "scores": self.lost_scores, "refused": self.refused}

    @property
    def all_losses(self) -> dict[str, int]:
        """What it never got since the start, and what it had not been told of before."""
        return {kind: count + told for (kind, count), told in zip(self.losses.items(), self.told, strict=True)}

    def after_telling(self) -> Receiver:
        """The receiver once its losses are told."""
        events, scores, refused = self.all_losses.values()
        return replace(self, lost_events=0, lost_scores=0, refused=0, told=(events, scores, refused))

    def adding_losses(self, other: Receiver) -> Receiver:
        """The receiver with the losses of `other` beside its own."""
        return replace(
            self,
            lost_events=self.lost_events + other.lost_events,
            lost_scores=self.lost_scores + other.lost_scores,
            refused=self.refused + other.refused,
        )

    def without(self, dropped: Sequence[Row]) -> Receiver:
        """The receiver after `dropped` will never reach it."""
        missed = [row.durable for row in dropped if self.wants(row)]
        return replace(
            self, lost_events=self.lost_events + sum(missed), lost_scores=self.lost_scores + missed.count(False)
        )


def without_excess(rows: Sequence[Row], *, max_events: int, max_bytes: int) -> tuple[list[Row], list[Row]]:
    """What fits and what is dropped of `rows`: the oldest telemetry first, and only then the oldest events."""
    excess_rows, excess_bytes = len(rows) - max_events, sum(len(row.line) for row in rows) - max_bytes
    dropped: list[Row] = []
    for row in sorted(rows, key=lambda row: (row.durable, row.id)):
        if excess_rows <= 0 and excess_bytes <= 0:
            break
        dropped.append(row)
        excess_rows, excess_bytes = excess_rows - 1, excess_bytes - len(row.line)
    ids = {row.id for row in dropped}
    return [row for row in rows if row.id not in ids], dropped


class OutboxStore:
    """The file `path`, held by this process alone. At most `max_events` rows and `max_bytes` of lines stay in it."""

    def __init__(self, path: Path, *, max_events: int, max_bytes: int) -> None:
        self._path = path
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._db = sqlite3.connect(path, timeout=LOCK_SECONDS, isolation_level=None, check_same_thread=False)
        self._db.text_factory = lambda text: text.decode(errors="replace")
        try:
            self._open()
        except UnicodeDecodeError as error:  # SQLite's own message names something that is damaged
            self._db.close()
            raise sqlite3.DatabaseError(f"damaged schema: {error.object!r}") from error
        except BaseException:
            self._db.close()
            raise

    def _open(self) -> None:
        # Exclusive: a second monitor is kept out, and the write-ahead log needs no shared-memory file.
        self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA temp_store = MEMORY")  # a long backlog would leave a temporary file open, on the disk
        version = self._number("PRAGMA user_version")
        if version not in (0, SCHEMA_VERSION):
            raise sqlite3.DatabaseError(f"schema {version}, but this version reads {SCHEMA_VERSION}")
        fault = self._db.execute("PRAGMA quick_check(1)").fetchone()[0]
        if fault != "ok":
            raise sqlite3.DatabaseError(fault)
        if version == 0:
            with self._transaction():
                for statement in TABLES:
                    self._db.execute(statement)
        if self._number(f"SELECT {' + '.join(f'({query})' for query in STRANGE)}"):
            raise sqlite3.DatabaseError("values of a type that was never written")
        self._file = self._path.stat()
        self.rows = self._number("SELECT count(*) FROM event")
        self.bytes = self._number("SELECT coalesce(sum(length(line)), 0) FROM event")

    def use_limits(self, *, max_events: int, max_bytes: int) -> None:
        """Keep so much from the next commit on."""
        self._max_events, self._max_bytes = max_events, max_bytes

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    @property
    def is_in_place(self) -> bool:
        """Nobody has removed the file or put another there."""
        return is_in_place(self._path, self._file)

    def highest_id(self) -> int:
        """The greatest id that was ever stored or passed, 0 for none."""
        return max(
            self._number("SELECT coalesce(max(id), 0) FROM event"),
            self._number("SELECT coalesce(max(cursor), 0) FROM receiver"),
        )

    def receivers(self, telemetry: Mapping[str, bool]) -> dict[str, Receiver]:
        """Those named by `telemetry`; one that is new begins with what comes next."""
        known = {row[0]: row[1:] for row in self._db.execute("SELECT * FROM receiver")}
        new = (self.highest_id(), 0, 0, 0)
        return {name: Receiver(wanted, *known.get(name, new)) for name, wanted in telemetry.items()}

    def after(self, receiver: Receiver, *, most: int) -> list[Row]:
        """The first `most` rows that `receiver` still wants, in order."""
        only = "" if receiver.telemetry else "AND durable = 1"
        found = self._db.execute(
            f"SELECT id, durable, line FROM event WHERE id > ? {only} ORDER BY id LIMIT ?", (receiver.cursor, most)
        )
        return [Row(number, bool(durable), line.decode(errors="replace")) for number, durable, line in found]

    def commit(self, rows: Sequence[Row], receivers: Mapping[str, Receiver], *, durable: bool) -> dict[str, Receiver]:
        """Store `rows` and `receivers`, remove what all have and what is too much, in one transaction.

        Returns the receivers, with what they lost by it. `durable`: on the disk itself when this returns; otherwise
        it survives the end of the process, but perhaps not a power cut.
        """
        self._db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
        with self._transaction():
            lines = [(row.id, row.durable, row.line.encode()) for row in rows]
            self._db.executemany("INSERT INTO event VALUES (?, ?, ?)", lines)
            stored = self.rows + len(lines), self.bytes + sum(len(line) for _, _, line in lines)
            stored = self._remove_delivered(receivers, *stored)
            dropped = self._excess(*stored)
            self._db.executemany("DELETE FROM event WHERE id = ?", [(row.id,) for row in dropped])
            after = {name: receiver.without(dropped) for name, receiver in receivers.items()}
            self._write_receivers(after)
        self.rows = stored[0] - len(dropped)
        self.bytes = stored[1] - sum(len(row.line.encode()) for row in dropped)
        return after

    def _write_receivers(self, receivers: Mapping[str, Receiver]) -> None:
        known = {name for (name,) in self._db.execute("SELECT name FROM receiver")}
        self._db.executemany("DELETE FROM receiver WHERE name = ?", [(name,) for name in known - set(receivers)])
        self._db.executemany(
            UPSERT, [(n, r.cursor, r.lost_events, r.lost_scores, r.refused) for n, r in receivers.items()]
        )

    def _remove_delivered(self, receivers: Mapping[str, Receiver], rows: int, size: int) -> tuple[int, int]:
        """Delete what every receiver has; the number of rows and bytes that stay, of `rows` and `size`."""
        everywhere = min(receiver.cursor for receiver in receivers.values())
        scores_everywhere = min((r.cursor for r in receivers.values() if r.telemetry), default=everywhere)
        for where, cursor in (("", everywhere), ("durable = 0 AND", scores_everywhere)):
            gone = self._db.execute(f"DELETE FROM event WHERE {where} id <= ? RETURNING length(line)", (cursor,))
            lengths = [length for (length,) in gone]
            rows, size = rows - len(lengths), size - sum(lengths)
        return rows, size

    def _excess(self, rows: int, size: int) -> list[Row]:
        """What has to go so that the rest fits: the oldest telemetry, and only then the oldest events."""
        if rows <= self._max_events and size <= self._max_bytes:
            return []
        dropped: list[Row] = []
        for durable in (0, 1):
            oldest = self._db.execute(f"SELECT id, line FROM event WHERE durable = {durable} ORDER BY id")
            for number, line in oldest:
                dropped.append(Row(number, bool(durable), line.decode(errors="replace")))
                rows, size = rows - 1, size - len(line)
                if rows <= self._max_events and size <= self._max_bytes:
                    return dropped
        return dropped

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def _number(self, query: str) -> int:
        return int(self._db.execute(query).fetchone()[0])
