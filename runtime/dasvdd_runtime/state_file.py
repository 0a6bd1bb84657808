"""state.db itself: its schema, opening, and what happens to a damaged one. SQLite in WAL mode, durable at each commit.

Imported only where a state directory is configured: SQLite costs memory.
"""

from __future__ import annotations

import fcntl
import logging
import sqlite3
import time
from pathlib import Path

from .errors import ConfigError, DataError, InputMissing

log = logging.getLogger(__name__)

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


def open_existing(path: Path, *, any_thread: bool = False) -> sqlite3.Connection:
    """For a command. Raises InputMissing where no monitor has made the file, and DataError where it cannot be used."""
    if not path.is_file():
        raise InputMissing(
            f"{path}: there is no such file. `dasvdd-monitor run` makes it at its first start with "
            f'[state] directory = "{path.parent}".'
        )
    try:
        connection = _connect(path, any_thread=any_thread)
        _require_schema(connection)
        with connection:  # ends the transaction: one that stays open keeps the monitor from writing
            connection.execute("UPDATE alarms SET told = told WHERE 0")
    except sqlite3.Error as error:
        raise DataError(
            f"{path}: cannot be used ({error}). Run this as the monitor's user or as root. A damaged file the monitor "
            "puts aside at its next start, and begins a new one."
        ) from error
    return connection


def open_or_renew(path: Path) -> tuple[sqlite3.Connection, Path | None]:
    """For the monitor: the file at `path`, made if need be, and where a damaged one was put aside.

    Raises ConfigError where nothing can be written.
    """
    try:
        return _connect_whole(path), None
    except sqlite3.DatabaseError as error:
        if not path.exists() or _is_passing(error):
            raise ConfigError(f"[state] directory: {path} cannot be written: {error}") from error
        fault = error
    try:
        aside = _put_aside(path)
        connection = _connect_whole(path)
    except (OSError, sqlite3.Error) as error:
        raise ConfigError(f"[state] directory: {path} cannot be replaced: {error}") from error
    log.error(
        "%s cannot be used (%s). It is now %s, and a new one begins: alarms, verdicts and mutes in it are not known "
        "any more. Monitoring goes on.",
        path,
        fault,
        aside,
    )
    return connection, aside


class MonitorLock:
    """Held by the monitor that uses a state directory. The operating system releases it with the process."""

    def __init__(self, directory: Path) -> None:
        """Make `directory` if need be. Raises ConfigError if it cannot be written, or another monitor uses it."""
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._file = (directory / "monitor.lock").open("w")
        except OSError as error:
            raise ConfigError(f"[state] directory: {directory} cannot be written: {error.strerror}") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.close()
            raise ConfigError(
                f"[state] directory: another monitor uses {directory}. Give each monitor a directory of its own."
            ) from error

    def release(self) -> None:
        """Let another monitor have it."""
        self._file.close()


def _connect(path: Path, *, any_thread: bool = False) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, check_same_thread=not any_thread)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    return connection


def _connect_whole(path: Path) -> sqlite3.Connection:
    """A connection to a file that is whole, new or old."""
    connection = _connect(path)
    try:
        (check,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if check != "ok":
            raise sqlite3.DatabaseError(check)
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if tables == 0:
            connection.executescript(_SCHEMA)
        _require_schema(connection)
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _require_schema(connection: sqlite3.Connection) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version != SCHEMA_VERSION:
        raise sqlite3.DatabaseError(f"its schema is version {version}, this program knows {SCHEMA_VERSION}")


def _is_passing(error: sqlite3.Error) -> bool:
    """A fault of the disk or of rights, and not of the file's content."""
    return isinstance(error, sqlite3.OperationalError) and "malformed" not in str(error)


def _put_aside(path: Path) -> Path:
    """Rename the file with its log, so that nothing of it is lost."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    aside = path.with_name(f"{path.name}.damaged-{stamp}")
    path.replace(aside)
    for suffix in ("-wal", "-shm"):
        companion = path.with_name(path.name + suffix)
        if companion.exists():
            companion.replace(aside.with_name(aside.name + suffix))
    return aside
