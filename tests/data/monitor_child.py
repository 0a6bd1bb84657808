"""`dasvdd-monitor run` as a child that tests feed, and whose events they read as they come."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

MONITOR = [sys.executable, "-c", "from dasvdd_runtime.cli import main; main()"]

Events = list[dict[str, Any]]


class MonitorChild:
    """The real program on the configuration `config`."""

    def __init__(self, config: Path, environment: dict[str, str] | None = None) -> None:
        self.events: Events = []
        self.errors: list[bytes] = []
        self.process = subprocess.Popen(
            [*MONITOR, "run", str(config)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **(environment or {})},
        )
        self._readers = [threading.Thread(target=read, daemon=True) for read in (self._read, self._read_errors)]
        for reader in self._readers:
            reader.start()

    def of_kind(self, kind: str) -> Events:
        """The events of `kind` so far."""
        return [event for event in list(self.events) if event["event"] == kind]

    def wait_for(self, kind: str, *, count: int = 1, seconds: float = 60) -> dict[str, Any]:
        """The `count`-th event of `kind`. Raises AssertionError where it does not come within `seconds`."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if len(found := self.of_kind(kind)) >= count:
                return found[count - 1]
            time.sleep(0.02)
        raise AssertionError(f"no {kind} number {count}: {self.events[-5:]} {self.errors}")

    def feed(self, samples: NDArray[np.float32]) -> None:
        """Write `samples` [samples, channels], full scale 1.0, to its standard input as s16le."""
        assert self.process.stdin is not None
        self.process.stdin.write(np.round(32767 * samples).astype("<i2").tobytes())
        self.process.stdin.flush()

    def reload(self) -> None:
        """Have it read its configuration anew."""
        self.process.send_signal(signal.SIGHUP)

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """End it, read all that it wrote, and return its exit code."""
        self.process.terminate()
        code = self.process.wait(60)
        for reader in self._readers:
            reader.join()
        self.wait_for("stopped")
        return code

    def stop_seconds(self) -> float:
        """Have it stop, which must end well: how long it took, but for the time that it waited for a processor."""
        kept_waiting, begin_seconds = Path(f"/proc/{self.process.pid}/schedstat"), time.monotonic()
        before = after = int(kept_waiting.read_text().split()[1])
        self.process.terminate()
        while self.process.poll() is None:
            with contextlib.suppress(OSError, IndexError):  # it ends meanwhile
                after = int(kept_waiting.read_text().split()[1])
            time.sleep(0.01)
        seconds = time.monotonic() - begin_seconds - (after - before) / 1e9
        assert self.stop() == 0
        return seconds

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.events.append(json.loads(line))

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        self.errors.extend(self.process.stderr)
