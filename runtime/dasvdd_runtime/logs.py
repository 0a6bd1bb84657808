"""Lines for people on standard error, at a rate that cannot fill a disk."""

from __future__ import annotations

import io
import logging
import os
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import TextIO

from .words import harmless

LINES = 10
PERIOD_SECONDS = 60.0


def about(subject: str) -> dict[str, str]:
    """The `extra` of a record that is limited with others about `subject` alone: one source cannot silence another.

    Subjects are few: names of the configuration, and kinds of events.
    """
    return {"subject": subject}


class RateLimit(logging.Filter):
    """Lets LINES records of one place in the code, and about one subject, through in PERIOD_SECONDS.

    The next that passes says how many were left out.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._passed: dict[tuple[str, int, str], deque[float]] = {}
        self._left_out: dict[tuple[str, int, str], int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """False to leave the record out."""
        now = self._clock()
        place = (record.pathname, record.lineno, getattr(record, "subject", ""))
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


class _Formatter(logging.Formatter):
    """Level and message, on whatever terminal."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        return harmless(super().formatMessage(record))


class _StderrHandler(logging.StreamHandler[TextIO]):
    """Writes on standard error by a file descriptor of its own.

    While PortAudio starts, sounddevice sends descriptor 2 to /dev/null, and what other threads write there is lost.
    """

    def __init__(self) -> None:
        try:
            own = os.dup(sys.stderr.fileno())
        except (OSError, io.UnsupportedOperation):  # a stream that a caller has put there
            super().__init__(sys.stderr)
        else:
            super().__init__(os.fdopen(own, "w", buffering=1, encoding="utf-8", errors="backslashreplace"))

    def close(self) -> None:
        super().close()
        if self.stream is not sys.stderr:
            self.stream.close()


def log_to_stderr(level: int = logging.INFO) -> None:
    """Send this package's log, from `level`, to standard error, rate-limited. Times are added by a service manager."""
    handler = _StderrHandler()
    handler.addFilter(RateLimit())
    handler.setFormatter(_Formatter("%(levelname)s: %(message)s"))
    package = logging.getLogger("dasvdd_runtime")
    for former in package.handlers:
        former.close()
    package.handlers = [handler]
    package.setLevel(level)
    package.propagate = False
