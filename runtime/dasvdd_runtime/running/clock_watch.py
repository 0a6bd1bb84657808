"""Was the wall clock set? Pure: told of both clocks, it keeps none."""

from __future__ import annotations

JUMP_SECONDS = 1.0
"""A smaller change between two looks is the slewing of a time service, or the time between reading both clocks."""


class ClockWatch:
    """Compares the wall clock with the monotonic one."""

    def __init__(self) -> None:
        self._offset_seconds: float | None = None

    def look(self, wall_seconds: float, monotonic_seconds: float) -> float | None:
        """By how many seconds the wall clock jumped since the last look, forwards positive; None if it did not."""
        offset_seconds = wall_seconds - monotonic_seconds
        before, self._offset_seconds = self._offset_seconds, offset_seconds
        if before is None or abs(offset_seconds - before) < JUMP_SECONDS:
            return None
        return offset_seconds - before
