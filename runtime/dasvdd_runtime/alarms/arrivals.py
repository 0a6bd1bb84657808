"""Test alarms on their way to the receivers: how far each has come, for the command that asked for it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from ..running.snapshot import Standing, TestFate

MOST_TESTS = 8
"""The newest are followed."""


class Arrival(NamedTuple):
    """How far a test alarm has come on its way to one receiver."""

    state: TestFate | Literal["waiting"]
    until: float | None = None
    """Unix time until which the receiver's limit holds it."""
    fault: str = ""
    """Why the receiver takes nothing now."""


def arrivals(id: str, receivers: Mapping[str, Standing]) -> dict[str, Arrival]:
    """By receiver, how far the test alarm `id` has come, which was sent. Pure."""
    return {name: _arrival(id, standing) for name, standing in receivers.items()}


def _arrival(id: str, standing: Standing) -> Arrival:
    fate = standing.tests.get(id)
    if fate == "held" and standing.held is not None:
        return Arrival(fate, until=standing.held.until)
    if fate in ("delivered", "refused"):
        return Arrival(fate)
    return Arrival("waiting", fault=standing.fault) if standing.waiting else Arrival("delivered")


class SentTests:
    """The test alarms of which somebody asks how far they have come."""

    def __init__(self) -> None:
        self.standings: Callable[[], Mapping[str, Standing]] = dict
        """How the receivers stand."""
        self._noted: deque[tuple[str, dict[str, Arrival] | None]] = deque(maxlen=MOST_TESTS)

    def begin(self, id: str) -> None:
        """The test alarm `id` is about to be sent."""
        self._noted.append((id, None))

    def tell(self, note: Callable[[str, Mapping[str, Arrival]], bool]) -> None:
        """Call `note` for each that was sent and has come further; nobody asks for one of which it says False."""
        for _ in range(len(self._noted)):
            id, before = self._noted.popleft()
            found = arrivals(id, self.standings())
            if found == before or note(id, found):
                self._noted.append((id, found))
