"""`[mqtt]` -> the links that it asks for, running."""

from __future__ import annotations

import logging
import time
from functools import partial

from ..reload_plan import Change
from ..sinks.mqtt import prefix_of
from ..sinks.tables import MqttTable
from .commands import Commands
from .home_assistant import HomeAssistant
from .link import STOP_SECONDS, Link, Role, Sources

log = logging.getLogger(__name__)


class Links:
    """The links that `[mqtt]` asks for, until another table asks for others."""

    def __init__(self, sources: Sources, commands: Commands) -> None:
        """They tell of `sources`. None yet."""
        self._sources = sources
        self._commands = commands
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
        if table.home_assistant:
            if not self._commands.possible:
                log.info(
                    "home assistant: there is no state directory, so it cannot acknowledge or mute: [state] directory"
                )
            prefix = prefix_of(table)
            roles.append(HomeAssistant(self._commands, prefix=prefix, discovery_prefix=table.home_assistant_prefix))
        if table.sparkplug is not None:
            from .sparkplug import Sparkplug

            roles.append(Sparkplug(self._commands, group=table.sparkplug.group, node=table.sparkplug.node))
        return roles

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
