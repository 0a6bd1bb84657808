"""Which errors of the outbox's file end the start of the monitor."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from ..errors import ConfigError
from ..files import has_no_room
from ..state.database_faults import FORBIDDEN, code_of


def refuse_for_good(path: Path, error: sqlite3.Error) -> None:
    """Raise ConfigError for what no waiting mends."""
    code = code_of(error)
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        raise ConfigError(
            f"[outbox] folder: another process uses {path}. Give each monitor a folder of its own."
        ) from error
    if code == sqlite3.SQLITE_CANTOPEN and has_no_room(path.parent):
        return
    if code in FORBIDDEN:
        raise ConfigError(f"[outbox] folder: {path} cannot be written: {error}") from error
