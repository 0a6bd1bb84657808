"""state.db itself: its schema, opening, and what happens to a damaged one. SQLite in WAL mode, durable at each commit.

Imported only where a state directory is configured: SQLite costs memory.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from ..errors import ConfigError, DataError, InputMissing
from ..files import has_no_room
from .database_faults import PASSING, code_of, is_damage, put_aside

log = logging.getLogger(__name__)

ReadAll = Callable[[sqlite3.Connection], None]

FILE_NAME = "state.db"
SCHEMA_VERSION = 1
BUSY_SECONDS = 1.0
"""How long to wait for another program that writes; less than a source's queue holds."""

_SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE alarms (
    id TEXT PRIMARY KEY, source TEXT NOT NULL, model_fingerprint TEXT NOT NULL, state TEXT NOT NULL,
    raised_at TEXT NOT NULL, ended_at TEXT, start_seconds REAL NOT NULL, peak_seconds REAL NOT NULL,
    peak_score REAL NOT NULL, end_seconds REAL, threshold REAL NOT NULL, muted INTEGER NOT NULL, recording TEXT,
    verdict TEXT, note TEXT NOT NULL DEFAULT '', told INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE mutes (
    source TEXT PRIMARY KEY, id TEXT NOT NULL, until REAL NOT NULL, remaining_seconds REAL NOT NULL, note TEXT NOT NULL
);
CREATE TABLE test_requests (id TEXT PRIMARY KEY, source TEXT, taken INTEGER NOT NULL DEFAULT 0);
PRAGMA user_version = {SCHEMA_VERSION};
COMMIT;
"""


def open_existing(path: Path, read_all: ReadAll, *, any_thread: bool = False) -> sqlite3.Connection:
    """For a command. `read_all` raises ValueError or TypeError where what it reads makes no sense.

    Raises InputMissing where no monitor has made the file, and DataError where it cannot be used.
    """
    if not path.is_file():
        raise InputMissing(
            f"{path}: there is no such file. `dasvdd-monitor run` makes it at its first start with "
            f'[state] directory = "{path.parent}".'
        )
    try:
        connection = _connect(path, any_thread=any_thread)
        _require_schema(connection)
        _add_arrivals(connection)
        with connection:  # ends the transaction: one that stays open keeps the monitor from writing
            connection.execute("UPDATE alarms SET told = told WHERE 0")
        read_all(connection)
    except (sqlite3.Error, ValueError, TypeError) as error:
        raise DataError(
            f"{path}: cannot be used ({error}). Run this as the monitor's user or as root. A damaged file the monitor "
            "puts aside at its next start, and begins a new one."
        ) from error
    return connection


def open_or_renew(path: Path, read_all: ReadAll) -> tuple[sqlite3.Connection, Path | None]:
    """For the monitor: the file at `path`, made if need be, and where a damaged one was put aside.

    `read_all` as for `open_existing`. Raises ConfigError where nothing may be written, sqlite3.Error for what passes: a
    full disk, another program that writes.
    """
    try:
        return _connect_whole(path, read_all), None
    except (sqlite3.Error, ValueError, TypeError) as error:
        if code_of(error) in PASSING or (code_of(error) == sqlite3.SQLITE_CANTOPEN and has_no_room(path.parent)):
            raise
        if not is_damage(error):
            raise ConfigError(f"[state] directory: {path} cannot be written: {error}") from error
        fault = error
    try:
        aside = put_aside(path, datetime.now(UTC))
    except OSError as error:
        raise ConfigError(f"[state] directory: {path} cannot be replaced: {error}") from error
    log.error(
        "%s cannot be used (%s). It is now %s, and a new one begins: alarms, verdicts and mutes in it are not known "
        "any more. Monitoring goes on.",
        path,
        fault,
        aside,
    )
    return _connect_whole(path, read_all), aside


def _connect(path: Path, *, any_thread: bool = False) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, check_same_thread=not any_thread)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    return connection


def _connect_whole(path: Path, read_all: ReadAll) -> sqlite3.Connection:
    """A connection to a file that is whole, new or old."""
    connection = _connect(path)
    try:
        (check,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
        if check != "ok":
            raise sqlite3.DatabaseError(check)
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if tables == 0:
            connection.executescript(_SCHEMA)
        _require_schema(connection)
        _add_arrivals(connection)
        read_all(connection)
    except (sqlite3.Error, ValueError, TypeError):
        connection.close()
        raise
    return connection


def _require_schema(connection: sqlite3.Connection) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version != SCHEMA_VERSION:
        raise sqlite3.DatabaseError(f"its schema is version {version}, this program knows {SCHEMA_VERSION}")


def _add_arrivals(connection: sqlite3.Connection) -> None:
    """Add the column that files of the first days of this schema lack; who does not know it passes it over."""
    columns = {column[1] for column in connection.execute("PRAGMA table_info(test_requests)")}
    if "arrivals" not in columns:
        connection.execute("ALTER TABLE test_requests ADD COLUMN arrivals TEXT")
