"""What an error of the outbox's file means."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from ..errors import ConfigError


def is_damage(error: Exception) -> bool:
    """The file itself is broken, not the disk or the right to use it."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
    return isinstance(error, sqlite3.DatabaseError) and (
        not isinstance(error, sqlite3.OperationalError) or code == sqlite3.SQLITE_ERROR
    )


def refuse_for_good(path: Path, error: sqlite3.Error) -> None:
    """Raise ConfigError for what no waiting mends."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        raise ConfigError(
            f"[outbox] folder: another process uses {path}. Give each monitor a folder of its own."
        ) from error
    if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH):
        raise ConfigError(f"[outbox] folder: {path} cannot be written: {error}") from error
