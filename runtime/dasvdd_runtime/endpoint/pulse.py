"""When the service last came round."""

from __future__ import annotations

import time


class Pulse:
    """The newest heartbeat of the service; begun alive. One thread beats, any may look."""

    def __init__(self) -> None:
        self._beat_seconds = time.monotonic()

    def beat(self) -> None:
        """Scoring and every source go on."""
        self._beat_seconds = time.monotonic()

    def since_beat_seconds(self) -> float:
        """Since the last heartbeat."""
        return time.monotonic() - self._beat_seconds
