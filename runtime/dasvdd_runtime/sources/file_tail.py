"""What a file grows by, over rotation by renaming, and truncation."""

from __future__ import annotations

import os
import stat
import time
from dataclasses import dataclass
from pathlib import Path

from .base import SourceLost

READ_BYTES = 65_536
HEAD_BYTES = 1_000_000
"""The longest first line that is looked for."""
ABSENT_SECONDS = 2.0
"""For so long a writer that renames its file may take to begin the next one."""


@dataclass(frozen=True)
class Growth:
    """Bytes that follow those before."""

    data: bytes = b""
    begun: bool = False
    """A file begins: nothing of the one before belongs to it."""
    head: bytes = b""
    """With `begun`, the first line of a file that was there already: the lines up to now are left out."""


class FileTail:
    """Follows one path. Its place in the file outlives `close`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None
        self._file: tuple[int, int] | None = None
        """Device and inode of the file that was read last."""
        self._offset = 0
        self._looked = False
        self._absent_since: float | None = None
        self._pending: Growth | None = None

    def open(self) -> None:
        """Go on in the file that was read last; of another, begin at its end at the first call, at its start later.

        Raises SourceLost where it is not there or no file.
        """
        self.close()
        first, self._looked = not self._looked, True
        self._descriptor, file = self._open_file()
        if file != self._file:
            self._pending = self._skip() if first else self._begin()
        self._file = file

    def read(self) -> Growth:
        """What has come since; empty where nothing has. Raises SourceLost where the file goes away or fails."""
        if self._pending is not None:
            growth, self._pending = self._pending, None
            return growth
        try:
            data = self._read()
            return Growth(data) if data else self._look_for_another()
        except OSError as error:
            raise SourceLost(f"{self._path} cannot be read: {error.strerror or error}") from error

    @property
    def unread_bytes(self) -> int:
        """What the open file holds beyond what was read."""
        return 0 if self._descriptor is None else max(0, os.fstat(self._descriptor).st_size - self._offset)

    def close(self) -> None:
        """Close the file."""
        descriptor, self._descriptor = self._descriptor, None
        self._absent_since = None
        if descriptor is not None:
            os.close(descriptor)

    def _open_file(self) -> tuple[int, tuple[int, int]]:
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            raise SourceLost(f"{self._path}: there is no such file; it is read from its start once there is") from None
        except OSError as error:
            raise SourceLost(f"{self._path} cannot be opened: {error.strerror}") from error
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            os.close(descriptor)
            raise SourceLost(f'{self._path} is no file that grows. A pipe or device is read with kind = "command".')
        return descriptor, (found.st_dev, found.st_ino)

    def _read(self) -> bytes:
        assert self._descriptor is not None, "open() comes first"
        data = os.pread(self._descriptor, READ_BYTES, self._offset)
        self._offset += len(data)
        return data

    def _begin(self) -> Growth:
        self._offset = 0
        return Growth(begun=True)

    def _skip(self) -> Growth:
        """Leave out the whole lines that are there, except for the first."""
        assert self._descriptor is not None
        size = os.fstat(self._descriptor).st_size
        head, line_feed, _ = os.pread(self._descriptor, HEAD_BYTES, 0).partition(b"\n")
        if not line_feed:
            return self._begin()
        at = max(0, size - HEAD_BYTES)
        self._offset = at + os.pread(self._descriptor, HEAD_BYTES, at).rfind(b"\n") + 1
        return Growth(begun=True, head=head + line_feed)

    def _look_for_another(self) -> Growth:
        """The end is reached: was the file truncated, or is another one under its name?"""
        assert self._descriptor is not None
        if os.fstat(self._descriptor).st_size < self._offset:
            return self._begin()
        try:
            found = self._path.stat()
        except FileNotFoundError:
            self._absent_since = self._absent_since or time.monotonic()
            if time.monotonic() - self._absent_since > ABSENT_SECONDS:
                raise SourceLost(
                    f"{self._path} was removed; waiting for a new file of that name, which is read from its start"
                ) from None
            return Growth()
        self._absent_since = None
        if (found.st_dev, found.st_ino) == self._file:
            return Growth()
        # What the writer added to the old file, before it began the new one.
        if data := self._read():
            return Growth(data)
        descriptor, file = self._open_file()
        self.close()
        self._descriptor, self._file = descriptor, file
        return self._begin()
