"""The evidence of a running monitor: its directory, the thread that writes, and the clips of each source."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from errno import EDQUOT, ENOSPC
from pathlib import Path

from ..changes import Change
from ..config import MonitorConfig
from ..contract import ModelMetadata
from ..directory_lock import DirectoryLock
from ..errors import ConfigError
from ..events import Event
from .base import Clips
from .clips import SourceClips, SourceOfClips
from .folder import EvidenceFolder
from .tables import EvidenceTable
from .writer import ClipWriter

log = logging.getLogger(__name__)


class EvidenceKeeper:
    """Keeps clips in one directory, which no other monitor uses until this one stops."""

    def __init__(
        self,
        table: EvidenceTable,
        directory: Path,
        *,
        patient: bool = False,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`patient` as ClipWriter has it. Raises ConfigError where `directory` cannot be used."""
        self._now = now
        self._locks: dict[Path, DirectoryLock] = {}
        self._writer = ClipWriter(self._opened(table, directory), patient=patient)

    def prepare(self, table: EvidenceTable, directory: Path, *, patient: bool) -> Change:
        """Keep by `table` in `directory` the clips that begin from then on.

        Raises ConfigError where that cannot be used.
        """
        held = directory in self._locks
        folder = self._opened(table, directory)

        def apply() -> None:
            self._writer.folder, self._writer.patient = folder, patient

        return Change(apply) if held else Change(apply, lambda: self._locks.pop(directory).release())

    def clips_of(
        self,
        source: SourceOfClips,
        table: EvidenceTable,
        metadata: ModelMetadata,
        *,
        before: Clips | None = None,
    ) -> Clips:
        """What keeps the clips of a source by `table`, if its mode is not "none". `before` kept them until now."""
        if isinstance(before, SourceClips) and source.mode != "none":
            before.use_table(table, source.mode)
            return before
        if isinstance(before, SourceClips):
            before.dismiss()
        return Clips() if source.mode == "none" else SourceClips(source, metadata, table, self._writer, now=self._now)

    def results(self) -> list[Event]:
        """What became of clips since the last call."""
        return self._writer.results()

    def close(self) -> list[Event]:
        """Write what waits, if the disk takes it in time, and let other monitors have the directories."""
        self._writer.close()
        for lock in self._locks.values():
            lock.release()
        return self.results()

    def _opened(self, table: EvidenceTable, directory: Path) -> EvidenceFolder:
        """The folder, held by this monitor, without what an earlier one left half written."""
        if directory in self._locks:
            return EvidenceFolder(directory, table, now=self._now)
        lock = DirectoryLock(directory, table="[evidence]")
        folder = EvidenceFolder(directory, table, now=self._now)
        try:
            folder.remove_leftovers()
        except OSError as error:
            lock.release()
            raise ConfigError(f"[evidence] directory: {directory} cannot be used: {error.strerror}") from error
        self._locks[directory] = lock
        return folder


def make_evidence(config: MonitorConfig) -> EvidenceKeeper | None:
    """What keeps clips of alarms; None where there is no place for them or none are wanted, or on a full disk.

    A full disk must not keep a monitor from its start. Raises as EvidenceKeeper does.
    """
    if config.evidence.directory is None or not config.keeps_evidence:
        return None
    try:
        return EvidenceKeeper(config.evidence, config.evidence.directory, patient=config.only_replays)
    except ConfigError as error:
        if not isinstance(error.__cause__, OSError) or error.__cause__.errno not in (ENOSPC, EDQUOT):
            raise
        log.error("%s. Monitoring goes on, and no evidence is kept until the next start or reload", error)
        return None
