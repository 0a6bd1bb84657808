"""One monitor a directory: a lock that the operating system releases with the process."""

from __future__ import annotations

import fcntl
from pathlib import Path

from ..errors import ConfigError


class DirectoryLock:
    """Held by the monitor that uses a directory."""

    def __init__(self, directory: Path, *, table: str) -> None:
        """Make `directory`, which the `table` of monitor.toml names, if need be.

        Raises ConfigError if it cannot be written, or another monitor uses it.
        """
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._file = (directory / "monitor.lock").open("w")
        except OSError as error:
            raise ConfigError(f"{table} directory: {directory} cannot be written: {error.strerror}") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.close()
            raise ConfigError(
                f"{table} directory: a monitor already runs on {directory}. Stop that one first, or give each a "
                "directory of its own."
            ) from error

    def release(self) -> None:
        """Let another monitor have it."""
        self._file.close()
