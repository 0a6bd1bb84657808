"""A file as the body of an answer: sent piece by piece, whole or the range that was asked for."""

from __future__ import annotations

import os
import re
import socket
import stat
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

PIECE_BYTES = 65536
SLOWEST_BYTES_PER_SECOND = 100_000
"""A client that takes a file more slowly than this loses the connection."""
_RANGE = re.compile(r"bytes=(?P<first>\d{0,18})-(?P<last>\d{0,18})", re.ASCII)


@dataclass(frozen=True)
class FileBody:
    """So many bytes of an open file, from `first` on."""

    file: BinaryIO
    size: int
    first: int = 0

    def __len__(self) -> int:
        return self.size

    def send(self, connection: socket.socket, *, patience_seconds: float) -> None:
        """Send it all. Raises OSError where the client leaves, or takes it too slowly."""
        end_seconds = time.monotonic() + patience_seconds + self.size / SLOWEST_BYTES_PER_SECOND
        self.file.seek(self.first)
        left = self.size
        while left:
            piece = self.file.read(min(left, PIECE_BYTES))
            if not piece:
                raise ConnectionError("the file ends early")
            connection.settimeout(max(0.001, min(patience_seconds, end_seconds - time.monotonic())))
            connection.sendall(piece)
            left -= len(piece)


def open_file(path: Path) -> FileBody | None:
    """The file at `path`; None where there is none, or anything but a plain file: a link leads elsewhere."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    status = os.fstat(handle)
    if not stat.S_ISREG(status.st_mode):
        os.close(handle)
        return None
    return FileBody(os.fdopen(handle, "rb", buffering=0), status.st_size)


def ranged(body: FileBody, wanted: str) -> tuple[FileBody, str] | None:
    """What a `Range` header `wanted` chooses of the whole `body`, and its `Content-Range`. None: all of it is due.

    Raises ValueError where nothing of the file lies in the range.
    """
    match = _RANGE.fullmatch(wanted.strip())
    if match is None or not (match["first"] or match["last"]):
        return None
    if not match["first"]:
        first, last = max(0, body.size - int(match["last"])), body.size - 1
    else:
        first, last = int(match["first"]), min(int(match["last"] or body.size), body.size - 1)
        if match["last"] and int(match["last"]) < first:
            return None
    if first > last:
        raise ValueError(f"bytes */{body.size}")
    return replace(body, first=first, size=last - first + 1), f"bytes {first}-{last}/{body.size}"
