"""What an error of the outbox's file means."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from pathlib import Path

from ..errors import ConfigError
from ..files import has_no_room


def is_damage(error: Exception) -> bool:
    """The file itself is broken, not the disk or the right to use it."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
    return isinstance(error, sqlite3.DatabaseError) and (
        not isinstance(error, sqlite3.OperationalError) or code == sqlite3.SQLITE_ERROR
    )


def put_aside(path: Path, now: datetime) -> Path:
    """Rename the damaged database `path` with all that belongs to it; its new name. Raises OSError."""
    target = path.with_name(f"{path.name}.damaged-{now.astimezone(UTC):%Y%m%dT%H%M%SZ}")
    for suffix in ("", "-wal", "-journal"):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.replace(target.with_name(target.name + suffix))
    return target


def refuse_for_good(path: Path, error: sqlite3.Error) -> None:
    """Raise ConfigError for what no waiting mends."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        raise ConfigError(
            f"[outbox] folder: another process uses {path}. Give each monitor a folder of its own."
        ) from error
    if code == sqlite3.SQLITE_CANTOPEN and has_no_room(path.parent):
        return
    if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH):
        raise ConfigError(f"[outbox] folder: {path} cannot be written: {error}") from error
