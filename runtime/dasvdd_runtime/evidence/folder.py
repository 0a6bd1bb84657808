"""The directory of the clips: their names, and the bounds on their number, age and the room that they leave."""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from ..errors import DasvddError
from ..files import file_name
from .tables import EvidenceTable

_ID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
ALARM_ID = re.compile(_ID)
_OWN = re.compile(rf"^(?P<stem>.+-(?P<raised>\d{{8}}T\d{{6}}Z)-(?P<id>{_ID}))\.(?:json|flac|npz)$")
"""The names of clips. Nothing else in the directory is ever removed, but for what was left half written."""
_LEFTOVER = re.compile(rf"^\..+-\d{{8}}T\d{{6}}Z-{_ID}\.(?:json\.[^.]+|(?:flac|npz)\.partial)$")
_STAMP = "%Y%m%dT%H%M%SZ"
COARSEST_SECONDS = 2.0
"""File systems may round the times of files to this."""


class NoRoom(DasvddError):
    """The bounds allow no clip, or not this one."""


@dataclass
class Kept:
    """One clip in the directory."""

    raised: str
    """When its alarm rose, by the clock of that time, as its name has it."""
    paths: list[Path] = field(default_factory=list)
    size: int = 0
    written_at: float = 0.0
    """Seconds since the epoch. It orders the clips, whatever the clock was set to: see `put_last`."""


def stem_of(source: str, alarm: str, raised_at: datetime) -> str:
    """What the names of a clip's files begin with."""
    return f"{file_name(source)}-{raised_at.astimezone(UTC):{_STAMP}}-{alarm}"


def sidecars(directory: Path) -> dict[str, Path]:
    """The sidecars of the clips that are whole, by the ids of their alarms."""
    if not directory.is_dir():
        return {}
    named = [(_OWN.match(path.name), path) for path in directory.glob("*.json")]
    return {match["id"]: path for match, path in named if match is not None}


class EvidenceFolder:
    """Keeps the directory within the bounds of `[evidence]`: what is oldest goes first."""

    def __init__(
        self,
        directory: Path,
        table: EvidenceTable,
        *,
        now: Callable[[], datetime],
        claim: Callable[[], None] = lambda: None,
    ) -> None:
        """`claim` makes the directory this monitor's before something is written; what it raises costs the clip."""
        self.directory = directory
        self._table = table
        self._now = now
        self._claim = claim

    def used_bytes(self) -> int:
        """What the clips take."""
        return sum(kept.size for kept in _kept(self.directory))

    def remove_old(self) -> None:
        """Remove what is older than `max_days`. A clip dated later than now is taken to be as old as its alarm."""
        now = self._now().timestamp()
        for kept in _kept(self.directory):
            date = kept.written_at if kept.written_at <= now else _seconds(kept.raised)
            if date < now - 86400 * self._table.max_days:
                _remove(kept)

    def put_last(self, sidecar: Path) -> None:
        """Date the clip of `sidecar`, just written, after all others: the clock may have been set back since those."""
        newest = max((kept.written_at for kept in _kept(self.directory) if sidecar not in kept.paths), default=0.0)
        if sidecar.stat().st_mtime <= newest:
            os.utime(sidecar, (newest + COARSEST_SECONDS, newest + COARSEST_SECONDS))

    def make_room(self, size: int) -> None:
        """Remove clips until one of `size` bytes, whose temporary file is there already, fits.

        Raises NoRoom where it would not even if all were removed.
        """
        self._claim()
        self.directory.mkdir(parents=True, exist_ok=True)
        self.remove_old()
        if size > self._table.max_bytes:
            raise NoRoom(f"the clip takes {size} bytes, and [evidence] max_bytes is {self._table.max_bytes}")
        clips = sorted(_kept(self.directory), key=lambda kept: kept.written_at)
        total = size + sum(kept.size for kept in clips)
        while clips and (total > self._table.max_bytes or self._free() < self._table.min_free_bytes):
            oldest = clips.pop(0)
            total -= oldest.size
            _remove(oldest)
        if (free := self._free()) < self._table.min_free_bytes:
            raise NoRoom(
                f"{free} bytes are free on the disk, and [evidence] min_free_bytes is {self._table.min_free_bytes}"
            )

    def _free(self) -> int:
        return shutil.disk_usage(self.directory).free


def remove_leftovers(directory: Path) -> None:
    """What a monitor that was killed was writing. Only while none writes. Raises OSError."""
    for path in directory.iterdir():
        if _LEFTOVER.match(path.name):
            path.unlink(missing_ok=True)
    for kept in _kept(directory):
        if not any(path.suffix == ".json" for path in kept.paths):
            _remove(kept)


def _kept(directory: Path) -> list[Kept]:
    """The clips in the directory; none where it is not there."""
    clips: dict[str, Kept] = {}
    for path in directory.iterdir() if directory.is_dir() else ():
        match = _OWN.match(path.name)
        if match is None:
            continue
        try:
            status = path.stat()
        except FileNotFoundError:  # removed since it was listed: by the monitor, where `check` looks
            continue
        if not stat.S_ISREG(status.st_mode):
            continue
        kept = clips.setdefault(match["stem"], Kept(match["raised"]))
        kept.paths.append(path)
        kept.size += status.st_size
        kept.written_at = max(kept.written_at, status.st_mtime)
    return list(clips.values())


def _seconds(stamp: str) -> float:
    """Since the epoch; without end for digits that are no date."""
    try:
        return datetime.strptime(stamp, _STAMP).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return float("inf")


def _remove(kept: Kept) -> None:
    """The sidecar first: what it does not list is not looked for."""
    for path in sorted(kept.paths, key=lambda path: path.suffix != ".json"):
        path.unlink(missing_ok=True)
