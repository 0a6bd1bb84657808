"""The thread that takes clips to the disk. What waits for it is bounded, so that no disk ever holds up scoring."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from ..alarms import later_events as events
from ..events import Event
from .clip_file import ClipFile, ClipFormat
from .folder import EvidenceFolder
from .rows import Rows

log = logging.getLogger(__name__)

QUEUE_BYTES = 16 * 2**20
"""Rows that may wait for the disk: half a minute of sixteen 16 kHz microphones."""
SWEEP_SECONDS = 3600.0
"""How often old clips are looked for."""
DRAIN_SECONDS = 2.0
"""How long a stop waits for what is to be written."""


class OpenClip:
    """A clip that is being written, as the thread that judges sees it. No method waits for the disk."""

    def __init__(self, writer: ClipWriter, file: ClipFile, *, source: str, alarm: str, name: str) -> None:
        self.name = name
        """Of the sidecar, in the directory."""
        self.lost: str | None = None
        """Why there is no clip; None while all is well."""
        self.source, self.alarm = source, alarm
        self.file = file
        self._writer = writer

    def append(self, rows: Rows) -> None:
        """Rows that follow."""
        if self.lost is None and not self._writer.put(self, partial(self._append, rows), rows.nbytes):
            self._writer.lose(self, f"the disk is too slow: {QUEUE_BYTES} bytes already wait for it")

    def note(self, described: dict[str, Any], *, final: bool) -> None:
        """There are no more rows: the sidecar. `final`: it will not be written anew."""
        self._writer.put(self, partial(self._note, described, final), 0)

    def _append(self, rows: Rows) -> None:
        if self.lost is None:
            self.file.append(rows)

    def _note(self, described: dict[str, Any], final: bool) -> None:
        if self.lost is not None:
            return
        self.file.note(described)
        if final:
            self._writer.kept(self, described["seconds"])


class ClipWriter:
    """Writes clips in the order in which their parts come."""

    def __init__(self, folder: EvidenceFolder, *, patient: bool = False) -> None:
        """`patient`: whoever gives rows can wait for the disk, a replay for instance, so that none are lost."""
        self.folder = folder
        """Of the clips that begin from now on."""
        self.patient = patient
        self._jobs: deque[tuple[OpenClip, Callable[[], None], int]] = deque()
        self._waiting_bytes = 0
        self._closing = False
        self._changed = threading.Condition()
        self._results: deque[Event] = deque()
        self._in_trouble = False
        self._thread = threading.Thread(target=self._run, name="evidence", daemon=True)
        self._thread.start()

    def begin(self, stem: str, format: ClipFormat, *, source: str, alarm: str) -> OpenClip:
        """A new clip."""
        file = ClipFile(self.folder, stem, format)
        return OpenClip(self, file, source=source, alarm=alarm, name=f"{stem}.json")

    def put(self, clip: OpenClip, work: Callable[[], None], size: int) -> bool:
        """Do `work` later; False where `size` more bytes may not wait. What has no size always may."""
        with self._changed:
            if self.patient:
                self._changed.wait_for(lambda: self._fits(size))
            if not self._fits(size):
                return False
            self._jobs.append((clip, work, size))
            self._waiting_bytes += size
            self._changed.notify_all()
        return True

    def lose(self, clip: OpenClip, reason: str) -> None:
        """Give `clip` up, and tell."""
        with self._changed:
            if clip.lost is not None:
                return
            clip.lost = reason
        self._results.append(events.evidence_lost(clip.source, clip.alarm, reason=reason))
        self.put(clip, clip.file.discard, 0)
        if not self._in_trouble:
            log.error("evidence of an alarm is lost: %s. Monitoring goes on, and the next alarm is tried again", reason)
        self._in_trouble = True

    def kept(self, clip: OpenClip, seconds: float) -> None:
        """`clip` is whole on the disk."""
        self._results.append(events.evidence_kept(clip.source, clip.alarm, evidence=clip.name, seconds=seconds))
        if self._in_trouble:
            log.warning("evidence is kept again")
        self._in_trouble = False

    def results(self) -> list[Event]:
        """What became of clips since the last call."""
        return [self._results.popleft() for _ in range(len(self._results))]

    def close(self) -> None:
        """End the thread once everything is written; wait for that DRAIN_SECONDS at most, or as long as it takes."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(None if self.patient else DRAIN_SECONDS)
        if self._thread.is_alive():
            log.error("evidence is lost: the disk does not take it before the stop")

    def _fits(self, size: int) -> bool:
        return not size or not self._waiting_bytes or self._waiting_bytes + size <= QUEUE_BYTES

    def _run(self) -> None:
        next_sweep_seconds = time.monotonic()
        while True:
            with self._changed:
                patience_seconds = max(0.0, next_sweep_seconds - time.monotonic())
                self._changed.wait_for(lambda: self._jobs or self._closing, patience_seconds)
                job = self._jobs.popleft() if self._jobs else None
            if job is not None:
                self._do(*job)
            elif self._closing:
                return
            if time.monotonic() >= next_sweep_seconds:
                next_sweep_seconds = time.monotonic() + SWEEP_SECONDS
                self._sweep()

    def _do(self, clip: OpenClip, work: Callable[[], None], size: int) -> None:
        try:
            work()
        except Exception as error:  # whatever a library or the disk raises must end neither this thread nor monitoring
            self.lose(clip, getattr(error, "strerror", None) or str(error) or type(error).__name__)
        with self._changed:
            self._waiting_bytes -= size
            self._changed.notify_all()

    def _sweep(self) -> None:
        try:
            self.folder.remove_old()
        except OSError as error:
            log.warning("old evidence cannot be removed: %s", error)
