"""Some seconds of a source, for `dasvdd-monitor check`."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from ..errors import DasvddError, Unavailable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..sources.base import Source

SETTLING_SECONDS = 0.5
"""Left out at the start of a live capture: devices click when they are opened."""
PATIENCE_SECONDS = 10.0
"""For how much longer than the capture itself a device may take before it counts as hanging."""


class TrialCapture:
    """Reads a source for some seconds in a thread of its own, since a dead device may hold its reader for ever."""

    def __init__(self, source: Source, seconds: float) -> None:
        self.overflowed = False
        self.lost = 0
        """Rows that a live source says are missing."""
        self.captured_seconds = 0.0
        self._source = source
        self._seconds = seconds
        self._blocks: list[NDArray[np.float32]] = []
        self._error: DasvddError | None = None
        self._thread = threading.Thread(target=self._read, name="check", daemon=True)
        self._thread.start()

    def wait(self) -> bool:
        """Wait for the end of the capture; False if it does not come."""
        self._thread.join(self._seconds + PATIENCE_SECONDS)
        return not self._thread.is_alive()

    def samples(self) -> NDArray[np.float32]:
        """What was captured, [samples, channels]. Raises the fault that ended the capture."""
        import numpy as np

        if self._error is not None:
            raise self._error
        if not self._blocks:
            raise DasvddError(
                "no samples arrived. Is the device muted, in use, slower than --seconds, or the file empty?"
            )
        settled = np.concatenate(self._blocks)
        wanted = round(self._seconds * self._source.sample_rate_hz)
        return settled[-wanted:] if self._source.live else settled[:wanted]

    def _read(self) -> None:
        wanted_seconds = self._seconds + (SETTLING_SECONDS if self._source.live else 0.0)
        deadline = time.monotonic() + self._seconds + PATIENCE_SECONDS / 2
        try:
            self._source.open()
            while self.captured_seconds < wanted_seconds and time.monotonic() < deadline:
                block = self._source.read()
                if block is None:
                    break
                self.overflowed = self.overflowed or block.overflowed
                self.lost += block.lost or 0 if self._source.live else 0
                if len(block.samples):
                    self._blocks.append(block.samples)
                    self.captured_seconds += len(block.samples) / self._source.sample_rate_hz
        except DasvddError as error:
            self._error = error
        except Exception as error:  # whatever a device's library raises
            self._error = Unavailable(f"{type(error).__name__}: {error}")
        finally:
            self._source.close()
