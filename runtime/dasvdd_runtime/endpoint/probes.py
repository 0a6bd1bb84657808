"""Is the monitor well, and does every source deliver? Pure: told of both, it keeps no clock."""

from __future__ import annotations

from collections.abc import Sequence

from ..condition.health import State
from ..running.snapshot import SourceSnapshot

HUNG_SECONDS = 30.0
"""A monitor that has not come round for this long hangs; a batch or a reload on a slow device takes a few seconds."""
DELIVERING = frozenset({State.OK, State.CLIPPED, State.IDLE})
"""States of a source that is judged, or whose machine stands still."""


def faults(
    sources: Sequence[SourceSnapshot], *, since_beat_seconds: float, hung_seconds: float = HUNG_SECONDS
) -> list[str]:
    """Why the monitor is not well; none if it is. `since_beat_seconds`: since its last heartbeat."""
    if since_beat_seconds < hung_seconds:
        return []
    hanging = [source.name for source in sources if not source.alive]
    if hanging:
        return [f"source '{name}': its driver does not come back" for name in hanging]
    return [f"no turn for {since_beat_seconds:.0f} s: scoring or writing an event hangs"]


def undelivered(sources: Sequence[SourceSnapshot]) -> list[SourceSnapshot]:
    """The sources that give nothing to judge. A recording that came to its end is done."""
    return [source for source in sources if source.failed or (source.state not in DELIVERING and not source.ended)]


def why_undelivered(source: SourceSnapshot) -> str:
    """Why one of those gives nothing to judge, in words."""
    verb = "ended with a fault and was" if source.failed else "is"
    return f"source '{source.name}' {verb} {source.state.value}: {source.state_reason or 'nothing has arrived yet'}"
