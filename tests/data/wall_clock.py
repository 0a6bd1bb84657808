"""A wall clock that a test sets, by libfaketime."""

from __future__ import annotations

from pathlib import Path


class WallClock:
    """The wall clock of a child that is started with `environment`; its monotonic clock is the machine's."""

    def __init__(self, file: Path, library: Path) -> None:
        self._file = file
        file.write_text("+0")
        self.environment = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def set(self, hours: int) -> None:
        """Set it by so many hours against the machine's."""
        self._file.write_text(f"{hours:+d}h")
