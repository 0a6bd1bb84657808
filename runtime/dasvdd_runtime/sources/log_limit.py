"""A log that a device or program which repeats itself cannot fill."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable


class LogLimit:
    """Lets MOST_LINES lines through every STRETCH_SECONDS, then says once how many it left out."""

    MOST_LINES = 5
    STRETCH_SECONDS = 60.0

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._stretch_end_seconds = -float("inf")
        self._lines = 0
        self._left_out = 0

    def log(self, log: logging.Logger, level: int, line: str) -> None:
        """Log `line`, or count it."""
        now = self._clock()
        if now >= self._stretch_end_seconds:
            if self._left_out:
                log.log(level, "%d lines like the following were left out", self._left_out)
            self._stretch_end_seconds = now + self.STRETCH_SECONDS
            self._lines = self._left_out = 0
        if self._lines < self.MOST_LINES:
            self._lines += 1
            log.log(level, "%s", line)
        else:
            self._left_out += 1
