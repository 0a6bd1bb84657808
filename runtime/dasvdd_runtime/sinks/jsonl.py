"""Events as JSON lines: to standard output, and to a file that is rotated by size."""

from __future__ import annotations

import logging
import os
import select
from pathlib import Path
from typing import Protocol

from ..files import is_full_disk, is_in_place

log = logging.getLogger(__name__)


class Sink(Protocol):
    """Takes lines and never raises: where events cannot go, monitoring still goes on."""

    def write(self, line: str, *, durable: bool) -> None:
        """Write `line`, given without a line feed; `durable`: it must survive a power cut."""

    def close(self) -> None:
        """Write out what is buffered."""


class StreamSink:
    """Lines to an open file descriptor, by default standard output.

    A reader that went away ends it; one that does not read loses lines after `patience_seconds`, until it reads again.
    """

    def __init__(self, file_descriptor: int = 1, *, patience_seconds: float | None = 2.0) -> None:
        """With `patience_seconds` None it waits for its reader however long that takes, and loses nothing."""
        self._file_descriptor = file_descriptor
        self._patience_seconds = patience_seconds
        self._open = True
        self._lost_lines = 0
        self._torn = False

    def write(self, line: str, *, durable: bool) -> None:
        """Write `line` at once. After a broken pipe: nothing."""
        if not self._open:
            return
        try:
            written = self._write(f"{line}\n".encode())
        except OSError as error:
            self._open = False
            log.warning("standard output is gone (%s); events go to the event file only", error.strerror)
            return
        if not written:
            self._lost_lines += 1
            if self._lost_lines == 1:
                log.error("nobody reads standard output; events on it are lost")
        elif self._lost_lines:
            log.warning("standard output is read again; %d events on it were lost", self._lost_lines)
            self._lost_lines = 0

    def close(self) -> None:
        """Nothing is buffered."""

    def _write(self, data: bytes) -> bool:
        """Write `data`, in pieces that a pipe takes whole if it takes any; False if it takes no more."""
        if self._torn:
            data = b"\n" + data
        patience_seconds = 0.0 if self._lost_lines else self._patience_seconds
        for start in range(0, len(data), select.PIPE_BUF):
            _, ready, _ = select.select([], [self._file_descriptor], [], patience_seconds)
            if not ready:
                self._torn = self._torn or start > 0
                return False
            _write_all(self._file_descriptor, data[start : start + select.PIPE_BUF])
        self._torn = False
        return True


class RotatingFile:
    """Lines appended to `path`, which becomes path.1, path.2, ... `path.keep` before it would exceed `max_bytes`.

    A full disk loses lines, says so once, and is tried again with the next line. A file that somebody removes or
    renames is begun anew. Raises OSError on creation only, and not for a full disk.
    """

    def __init__(self, path: Path, *, max_bytes: int, keep: int) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._keep = keep
        self._lost_lines = 0
        self._in_trouble = False
        self._file_descriptor = -1
        try:
            self._open()
        except OSError as error:
            if not is_full_disk(error):
                raise
            self._lose(error)

    def write(self, line: str, *, durable: bool) -> None:
        """Append `line`; with `durable`, put it on the disk itself."""
        data = f"{line}\n".encode()
        try:
            if self._file_descriptor >= 0 and not is_in_place(self._path, self._file):
                log.warning("%s was removed or renamed by another program: begun anew", self._path)
                self._close()
            if self._file_descriptor < 0:
                self._open()
            if self._size > 0 and self._size + len(data) > self._max_bytes:
                self._rotate()
            self._append(data)
            if durable:
                os.fsync(self._file_descriptor)
        except OSError as error:
            self._lost_lines += 1
            self._lose(error)
            return
        if self._in_trouble:
            log.warning("%s: written to again; %d events were lost", self._path, self._lost_lines)
        self._lost_lines, self._in_trouble = 0, False

    def close(self) -> None:
        """Put everything on the disk and close the file."""
        if self._file_descriptor >= 0:
            try:
                os.fsync(self._file_descriptor)
            except OSError as error:
                log.error("%s: %s", self._path, error.strerror)
            self._close()

    def _close(self) -> None:
        # Also where that fails, the number may be another file's from now on.
        descriptor, self._file_descriptor = self._file_descriptor, -1
        os.close(descriptor)

    def _lose(self, error: OSError) -> None:
        if not self._in_trouble:
            log.error("%s: %s; events are lost until there is room", self._path, error.strerror)
        self._in_trouble = True

    def _open(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file_descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._file = os.fstat(self._file_descriptor)
        self._size = self._file.st_size
        # A power cut or a full disk may have left half a line.
        self._torn = self._size > 0 and os.pread(self._file_descriptor, 1, self._size - 1) != b"\n"

    def _append(self, data: bytes) -> None:
        if self._torn:
            data = b"\n" + data
        before = self._size
        try:
            _write_all(self._file_descriptor, data)
        except OSError:
            self._size = os.fstat(self._file_descriptor).st_size
            self._torn = self._torn or self._size > before
            raise
        self._size += len(data)
        self._torn = False

    def _rotate(self) -> None:
        self._close()
        for number in range(self._keep, 0, -1):
            older = self._path.with_name(f"{self._path.name}.{number}")
            newer = self._path if number == 1 else self._path.with_name(f"{self._path.name}.{number - 1}")
            if newer.exists():
                newer.replace(older)
        self._open()


def _write_all(file_descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file_descriptor, view) :]
