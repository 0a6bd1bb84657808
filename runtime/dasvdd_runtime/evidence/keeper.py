"""The evidence of a running monitor: its directory, the thread that writes, and the clips of each source."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from errno import EDQUOT, ENOSPC
from pathlib import Path

from ..contract import ModelMetadata
from ..directory_lock import DirectoryLock
from ..errors import ConfigError
from ..events import Event
from ..sources.tables import SourceTable
from .base import Clips
from .clips import SourceClips, SourceOfClips
from .folder import EvidenceFolder
from .tables import EvidenceTable
from .writer import ClipWriter

log = logging.getLogger(__name__)


class EvidenceKeeper:
    """Keeps clips in one directory, which no other monitor uses."""

    def __init__(
        self,
        table: EvidenceTable,
        directory: Path,
        *,
        patient: bool = False,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`patient` as ClipWriter has it. Raises ConfigError where `directory` cannot be used."""
        self._table = table
        self._now = now
        self._lock = DirectoryLock(directory, table="[evidence]")
        folder = EvidenceFolder(directory, table, now=now)
        try:
            folder.remove_leftovers()
        except OSError as error:
            raise ConfigError(f"[evidence] directory: {directory} cannot be used: {error.strerror}") from error
        self._writer = ClipWriter(folder, patient=patient)

    def clips_of(self, table: SourceTable, metadata: ModelMetadata, channels: tuple[int, ...] | None) -> Clips:
        """What keeps the clips of a source. `channels`: those of the source that are the model's; None: all."""
        mode = table.evidence or self._table.mode
        if mode == "none":
            return Clips()
        return SourceClips(
            SourceOfClips(table.name, mode, channels), metadata, self._table, self._writer, now=self._now
        )

    def results(self) -> list[Event]:
        """What became of clips since the last call."""
        return self._writer.results()

    def close(self) -> list[Event]:
        """Write what waits, if the disk takes it in time, and let another monitor have the directory."""
        self._writer.close()
        self._lock.release()
        return self.results()


def keep_evidence(table: EvidenceTable, directory: Path, *, patient: bool) -> EvidenceKeeper | None:
    """The keeper for `directory`, or None where the disk is full: that must not keep a monitor from its start.

    Raises as EvidenceKeeper does.
    """
    try:
        return EvidenceKeeper(table, directory, patient=patient)
    except ConfigError as error:
        if not isinstance(error.__cause__, OSError) or error.__cause__.errno not in (ENOSPC, EDQUOT):
            raise
        log.error("%s. Monitoring begins, and no evidence is kept until the next start", error)
        return None
