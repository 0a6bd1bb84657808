"""The clips of alarms, as they lie in the directory of `[evidence]`."""

from __future__ import annotations

import threading
import time
from collections.abc import Set
from pathlib import Path

from ..evidence.folder import ALARM_ID, sidecars

SETTLED_SECONDS = 2.0
"""For this long after the directory has changed it is looked at again: its time may be too coarse for two changes."""


class EvidenceShelf:
    """Which alarms have a clip, and where. May be asked from any thread; only names that clips have are ever found."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        self._changed_at = -1
        self._look_until_seconds = 0.0
        self._alarms: Set[str] = frozenset()

    def alarms(self) -> Set[str]:
        """Ids of the alarms that have a clip. Lists the directory only when it has changed."""
        with self._lock:
            try:
                changed_at = self._directory.stat().st_mtime_ns
            except OSError:
                return frozenset()
            now_seconds = time.monotonic()
            if changed_at != self._changed_at:
                self._changed_at, self._look_until_seconds = changed_at, now_seconds + SETTLED_SECONDS
            elif now_seconds > self._look_until_seconds:
                return self._alarms
            self._alarms = sidecars(self._directory).keys()
            return self._alarms

    def sidecar(self, alarm: str) -> Path | None:
        """The sidecar of the alarm with this id, as the directory has it now."""
        return sidecars(self._directory).get(alarm) if ALARM_ID.fullmatch(alarm) else None
