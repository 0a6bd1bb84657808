"""What became of test alarms at one receiver, told from the rows that pass."""

from __future__ import annotations

import json
from collections.abc import Iterable

from ..running.snapshot import TestFate
from .outbox_store import Row

MARK = '"event": "test_alarm"'
"""In the line of each, as `events.to_json` writes it."""
MOST = 8
"""The newest are remembered."""


class Fates:
    """By id of a test alarm, what became of it. May be read from any thread."""

    def __init__(self) -> None:
        self.by_id: dict[str, TestFate] = {}

    def note(self, rows: Iterable[Row], fate: TestFate) -> None:
        """Of `rows`, the test alarms have met this fate. What was delivered or refused is not held any more."""
        for row in rows:
            if MARK not in row.line:
                continue
            id = json.loads(row.line)["id"]
            if fate != "held" or id not in self.by_id:
                self.by_id = dict(list({**self.by_id, id: fate}.items())[-MOST:])
