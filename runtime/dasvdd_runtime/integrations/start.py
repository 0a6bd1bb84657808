"""`[mqtt]` -> the links that it asks for, running."""

from __future__ import annotations

import logging
import time
from functools import partial
from pathlib import Path
from typing import Protocol

from ..running.changes import Change
from ..sinks.mqtt import prefix_of
from ..sinks.outbox_store import Row
from ..sinks.tables import MqttTable, SparkplugTable
from .commands import Commands
from .home_assistant import HomeAssistant
from .link import STOP_SECONDS, Link, Role, Sources

log = logging.getLogger(__name__)


class Waiting(Protocol):
    """Where events wait for receivers."""

    def read(self, name: str, *, most: int) -> list[Row]:
        """As `Outbox.read`."""

    def acknowledge(self, name: str, row_id: int) -> None:
        """As `Outbox.acknowledge`."""


class Links:
    """The links that `[mqtt]` asks for, until another table asks for others."""

    def __init__(self, sources: Sources, commands: Commands, waiting: Waiting, folder: Path) -> None:
        """They tell of `sources`; of the past, what is `waiting`. None yet.

        `folder`: for what Sparkplug must know again after a restart.
        """
        self._sources = sources
        self._commands = commands
        self._waiting = waiting
        self._folder = folder
        self._table: MqttTable | None = None
        self._running: list[Link] = []

    def prepare(self, table: MqttTable | None) -> Change | None:
        """What `table` changes. Raises as Link does, and Unavailable without protobuf for Sparkplug."""
        if table == self._table:
            return None
        links = [] if table is None else [Link(table, role, self._sources) for role in self._roles(table)]
        return Change(partial(self._use, table, links))

    def close(self) -> None:
        """Have all take leave, for STOP_SECONDS at most."""
        self._stop(next_table=self._table)

    def _roles(self, table: MqttTable) -> list[Role]:
        roles: list[Role] = []
        if not self._commands.possible:
            log.info("mqtt: there is no state directory, so nothing can be acknowledged or muted: [state] directory")
        if table.home_assistant:
            prefix = prefix_of(table)
            roles.append(HomeAssistant(self._commands, prefix=prefix, discovery_prefix=table.home_assistant_prefix))
        if table.sparkplug is not None:
            roles.append(self._sparkplug(table.sparkplug))
        return roles

    def _sparkplug(self, names: SparkplugTable) -> Role:
        from .backlog import BATCH, RECEIVER, Backlog
        from .birth_number import BirthNumber
        from .sparkplug import Sparkplug

        waiting = self._waiting
        backlog = Backlog(partial(waiting.read, RECEIVER, most=BATCH), partial(waiting.acknowledge, RECEIVER))
        return Sparkplug(
            self._commands,
            BirthNumber(self._folder),
            backlog,
            group=names.group,
            node=names.node,
            primary_host=names.primary_host,
        )

    def _use(self, table: MqttTable | None, links: list[Link]) -> None:
        self._stop(next_table=table)
        self._table, self._running = table, links
        for link in links:
            link.start()

    def _stop(self, *, next_table: MqttTable | None) -> None:
        for_good = _announced_at(self._table) != _announced_at(next_table)
        for link in self._running:
            link.request_stop(for_good=for_good)
        end_seconds = time.monotonic() + STOP_SECONDS
        for link in self._running:
            link.join(max(0.0, end_seconds - time.monotonic()))
        self._running = []


def _announced_at(table: MqttTable | None) -> tuple[str, ...] | None:
    """Where Home Assistant finds the announcements that `table` asks for; None: nowhere."""
    if table is None or not table.home_assistant:
        return None
    return table.address, prefix_of(table), table.home_assistant_prefix
