"""When the service last came round."""

from __future__ import annotations

import time
from collections.abc import Callable


class Pulse:
    """The newest heartbeat of the service; begun alive. One thread beats, any may look."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._beat_seconds = clock()

    def beat(self) -> None:
        """Scoring and every source go on."""
        self._beat_seconds = self._clock()

    def since_beat_seconds(self) -> float:
        """Since the last heartbeat."""
        return self._clock() - self._beat_seconds
