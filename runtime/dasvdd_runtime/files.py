"""Names of files, and files that are written whole or not at all."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

from .errors import DasvddError

_TRIED_BYTES = 4096
"""More than a file system keeps beside a file's name."""


def write_atomically(path: Path, content: bytes) -> None:
    """Put `content` at `path`: a reader, or a power cut, sees the old file or the new one, never a part.

    Raises DasvddError where it cannot be written; what was at `path` is still there then.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path, content)
    except OSError as error:
        raise DasvddError(
            f"{path}: cannot be written ({error.strerror}); what was there before is unchanged. "
            "Make room, or choose another place, and run it again."
        ) from error


def is_full_disk(error: BaseException | None) -> bool:
    """The disk has no room, or none for this user: that passes."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def has_no_room(folder: Path) -> bool:
    """Not even an empty file can be made in `folder`, for want of room."""
    try:
        handle, path = tempfile.mkstemp(dir=folder)
    except OSError as error:
        return is_full_disk(error)
    os.close(handle)
    Path(path).unlink()
    return False


def fault_of_writing(folder: Path) -> OSError | None:
    """What keeps a file from being written in `folder`, or in the deepest of its parents that is there; None: nothing.

    It is tried with a file that has no name, of which nothing stays behind.
    """
    nearest = deepest_existing(folder)
    try:
        with tempfile.TemporaryFile(dir=nearest) as file:
            file.write(bytes(_TRIED_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return error
    return None


def deepest_existing(path: Path) -> Path:
    """`path`, or the deepest of its parents that is there."""
    return next(place for place in (path.absolute(), *path.absolute().parents) if place.exists())


def is_in_place(path: Path, opened: os.stat_result) -> bool:
    """The file at `path` is the one that was opened: nobody has removed it or put another there."""
    try:
        return os.path.samestat(path.stat(), opened)
    except OSError:
        return False


def _replace(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.urandom(8).hex()}")
    # The kernel applies the umask: to read it, a program must change it, for all of its threads.
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def require_writable(path: Path) -> None:
    """Raises DasvddError where a file could not be written at `path`: now rather than after the work for it."""
    if path.is_dir():
        raise DasvddError(f"{path}: this is a folder, the name of a file is needed")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise DasvddError(f"{path}: cannot be written ({error.strerror}). Choose another place.") from error


def file_name(name: str) -> str:
    """`name` with everything that a file name should not hold replaced."""
    return "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in name)
