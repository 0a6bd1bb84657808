"""The right to write in the directory of the clips, which one monitor has."""

from __future__ import annotations

import threading
from pathlib import Path

from ..errors import ConfigError
from ..state.directory_lock import DirectoryLock
from .folder import remove_leftovers


class Claim:
    """Taken at the start, or as soon as the disk has room for it. Its methods may be called from any thread."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock: DirectoryLock | None = None
        self._taking = threading.Lock()

    def take(self) -> None:
        """Hold the directory, without what an earlier monitor left half written; does nothing where it is held.

        Raises ConfigError where it cannot be written or another monitor uses it.
        """
        with self._taking:
            if self._lock is not None:
                return
            lock = DirectoryLock(self._directory, table="[evidence]")
            try:
                remove_leftovers(self._directory)
            except OSError as error:
                lock.release()
                raise ConfigError(
                    f"[evidence] directory: {self._directory} cannot be used: {error.strerror}"
                ) from error
            self._lock = lock

    def release(self) -> None:
        """Let another monitor have it."""
        with self._taking:
            if self._lock is not None:
                self._lock.release()
            self._lock = None
