"""What an error of a database's file means, and what becomes of a damaged one.

Imported only where there is a database: SQLite costs memory.
"""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from pathlib import Path

PASSING = (
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_INTERRUPT,
    sqlite3.SQLITE_PROTOCOL,
)
"""The disk, the memory or another program stands in the way for now."""
FORBIDDEN = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH)
"""This user may not, which no waiting mends."""


def code_of(error: Exception) -> int:
    """SQLite's own code; 0 where the fault is in what was read."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def is_damage(error: Exception) -> bool:
    """The file's content is broken, and neither the disk nor the right to use it."""
    return not isinstance(error, OSError) and code_of(error) not in (*PASSING, *FORBIDDEN)


def put_aside(path: Path, now: datetime) -> Path:
    """Rename the damaged database `path` with all that belongs to it; its new name. Raises OSError."""
    target = path.with_name(f"{path.name}.damaged-{now.astimezone(UTC):%Y%m%dT%H%M%SZ}")
    for suffix in ("", "-wal", "-shm", "-journal"):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.replace(target.with_name(target.name + suffix))
    return target
