"""The evidence of a running monitor: its directory, the thread that writes, and the clips of each source."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from pathlib import Path

from ..alarms.later_events import evidence_lost
from ..contract import ModelMetadata
from ..errors import ConfigError
from ..events import Event
from ..files import is_full_disk
from ..running.changes import Change
from .base import Clips
from .claim import Claim
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
    ) -> None:
        """`patient` as ClipWriter has it. Raises ConfigError where `directory` cannot be used, but for a full disk."""
        self._claims: dict[Path, Claim] = {}
        self._told: list[Event] = []
        self._writer = ClipWriter(self._opened(table, directory), patient=patient)

    def prepare(self, table: EvidenceTable, directory: Path, *, patient: bool) -> Change:
        """Keep by `table` in `directory` the clips that begin from then on.

        Raises ConfigError where that cannot be used.
        """
        held = directory in self._claims
        folder = self._opened(table, directory)

        def apply() -> None:
            self._writer.folder, self._writer.patient = folder, patient

        return Change(apply) if held else Change(apply, lambda: self._claims.pop(directory).release())

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
        return Clips() if source.mode == "none" else SourceClips(source, metadata, table, self._writer)

    def results(self) -> list[Event]:
        """What became of clips since the last call."""
        told, self._told = self._told, []
        return told + self._writer.results()

    def close(self) -> list[Event]:
        """Write what waits, if the disk takes it in time, and let other monitors have the directories."""
        self._writer.close()
        for claim in self._claims.values():
            claim.release()
        return self.results()

    def _opened(self, table: EvidenceTable, directory: Path) -> EvidenceFolder:
        """The folder, held by this monitor; where the disk is full, as soon as there is room."""
        claim = self._claims.get(directory) or Claim(directory)
        try:
            claim.take()
        except ConfigError as error:
            if not is_full_disk(error.__cause__):
                raise
            log.error("%s. Monitoring goes on; alarms leave no evidence before there is room again", error)
            self._told.append(evidence_lost(None, None, reason=str(error)))
        self._claims[directory] = claim
        return EvidenceFolder(directory, table, now=lambda: datetime.now(UTC), claim=claim.take)
