"""`[mqtt]` -> the links that it asks for, running."""

from __future__ import annotations

import logging

from ..sinks.mqtt import prefix_of
from ..sinks.tables import MqttTable
from .commands import Commands
from .home_assistant import HomeAssistant
from .link import Link, Role, Sources

log = logging.getLogger(__name__)


def start_links(table: MqttTable, sources: Sources, commands: Commands) -> list[Link]:
    """Links that tell of `sources`, started. Raises as Link does."""
    roles: list[Role] = []
    if table.home_assistant:
        prefix = prefix_of(table)
        if not commands.possible:
            log.info("home assistant: there is no state directory, so it cannot acknowledge or mute: [state] directory")
        roles.append(HomeAssistant(commands, prefix=prefix, discovery_prefix=table.home_assistant_prefix))
    links = [Link(table, role, sources) for role in roles]
    for link in links:
        link.start()
    return links
