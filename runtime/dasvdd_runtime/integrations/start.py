"""`[mqtt]` -> the links that it asks for, running."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable

from ..sinks.mqtt import prefix_of
from ..sinks.tables import MqttTable
from .commands import Commands
from .home_assistant import HomeAssistant
from .link import STOP_SECONDS, Link, Role, Sources

log = logging.getLogger(__name__)


def start_links(table: MqttTable, sources: Sources, commands: Commands) -> list[Link]:
    """Links that tell of `sources`, started. Raises as Link does, and Unavailable without protobuf for Sparkplug."""
    roles: list[Role] = []
    if table.home_assistant:
        prefix = prefix_of(table)
        if not commands.possible:
            log.info("home assistant: there is no state directory, so it cannot acknowledge or mute: [state] directory")
        roles.append(HomeAssistant(commands, prefix=prefix, discovery_prefix=table.home_assistant_prefix))
    if table.sparkplug is not None:
        from .sparkplug import Sparkplug

        roles.append(Sparkplug(commands, group=table.sparkplug.group, node=table.sparkplug.node))
    links = [Link(table, role, sources) for role in roles]
    for link in links:
        link.start()
    return links


def stop_links(links: Iterable[Link]) -> None:
    """Have all take leave, for STOP_SECONDS at most."""
    running = list(links)
    for link in running:
        link.request_stop()
    end_seconds = time.monotonic() + STOP_SECONDS
    for link in running:
        link.join(max(0.0, end_seconds - time.monotonic()))
