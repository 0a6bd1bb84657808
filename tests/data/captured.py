"""A live source in the thread that would own it in the monitor."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np
from dasvdd_runtime.running.capture import Capture
from dasvdd_runtime.running.message_queue import Missing, Samples
from dasvdd_runtime.sources.base import Source
from numpy.typing import NDArray


class Captured:
    """A live source in the thread that would own it in the monitor, and what has come of it."""

    def __init__(self, source: Source, *, stall_seconds: float = 5.0) -> None:
        self.samples: list[Samples] = []
        self.missing: list[str] = []
        self._source = source
        self._capture = Capture(source, name="test", stall_seconds=stall_seconds, wake=threading.Event())
        self._capture.start()

    @property
    def rows(self) -> NDArray[np.float32]:
        """All rows so far [rows, channels]."""
        return np.concatenate([part.samples for part in self.samples])

    @property
    def first_channel(self) -> list[float]:
        """All values so far of the first channel."""
        return [float(value) for part in self.samples for value in part.samples[:, 0]]

    @property
    def lost(self) -> int:
        """Rows that were lost so far."""
        return sum(part.lost for part in self.samples)

    def wait(self, condition: Callable[[], bool], *, seconds: float = 60.0) -> None:
        """Take what comes until `condition` holds."""
        deadline = time.monotonic() + seconds
        while not self._look() and not condition():
            assert time.monotonic() < deadline, f"after {seconds} s: {self.first_channel[-20:]}, {self.missing}"
            time.sleep(0.01)

    def pause(self, seconds: float) -> None:
        """Take what comes for so long."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self._look()
            time.sleep(0.01)

    def stop(self) -> bool:
        """Ask for the end; whether it came within the time that a stop waits for."""
        self._capture.request_stop()
        return self._capture.join()

    def _look(self) -> None:
        for message in self._capture.take_all():
            if isinstance(message, Samples):
                self.samples.append(message)
            elif isinstance(message, Missing):
                self.missing.append(message.reason)
