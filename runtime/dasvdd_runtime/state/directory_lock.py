"""One monitor a directory: a lock that the operating system releases with the process."""

from __future__ import annotations

import fcntl
import time
from pathlib import Path

from ..errors import ConfigError

FILE_NAME = "monitor.lock"


def is_locked(directory: Path) -> bool:
    """A monitor uses `directory`, or its lock may not be read."""
    try:
        with (directory / FILE_NAME).open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


class DirectoryLock:
    """Held by the monitor that uses a directory."""

    def __init__(self, directory: Path, *, table: str) -> None:
        """Make `directory`, which the `table` of monitor.toml names, if need be.

        Raises ConfigError if it cannot be written, or another monitor uses it.
        """
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._file = (directory / FILE_NAME).open("w")
        except OSError as error:
            raise ConfigError(f"{table} directory: {directory} cannot be written: {error.strerror}") from error
        try:
            self._take()
        except OSError as error:
            self._file.close()
            raise ConfigError(
                f"{table} directory: a monitor already runs on {directory}. Stop that one first, or give each a "
                "directory of its own."
            ) from error

    def _take(self) -> None:
        """Raises OSError. Tried twice, since `is_locked` of a command may hold it for an instant."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.1)
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def release(self) -> None:
        """Let another monitor have it."""
        self._file.close()
