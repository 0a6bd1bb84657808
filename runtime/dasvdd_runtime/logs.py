"""Lines for people on standard error, at a rate that cannot fill a disk."""

from __future__ import annotations

import logging
import sys
import time
from collections import deque
from collections.abc import Callable

LINES = 10
PERIOD_SECONDS = 60.0


class RateLimit(logging.Filter):
    """Lets LINES records of one place in the code through in PERIOD_SECONDS, and later says how many it left out."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._passed: dict[tuple[str, int], deque[float]] = {}
        self._left_out: dict[tuple[str, int], int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """False to leave the record out."""
        now = self._clock()
        place = (record.pathname, record.lineno)
        passed = self._passed.setdefault(place, deque())
        while passed and now - passed[0] >= PERIOD_SECONDS:
            passed.popleft()
        if len(passed) >= LINES:
            self._left_out[place] = self._left_out.get(place, 0) + 1
            return False
        passed.append(now)
        left_out = self._left_out.pop(place, 0)
        if left_out:
            record.msg, record.args = f"{record.getMessage()} ({left_out} lines like this left out before)", ()
        return True


def log_to_stderr() -> None:
    """Send this package's log to standard error, rate-limited, without times: a service manager adds its own."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(RateLimit())
    handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    package = logging.getLogger("dasvdd_runtime")
    package.handlers = [handler]
    package.setLevel(logging.INFO)
    package.propagate = False
