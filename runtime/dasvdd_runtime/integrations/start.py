"""`[mqtt]` -> the links that it asks for, running."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from ..sinks.delivery import DeliveredOutbox
from ..sinks.mqtt import prefix_of
from ..sinks.tables import MqttTable
from .commands import Commands
from .home_assistant import HomeAssistant
from .link import STOP_SECONDS, Link, Role, Sources

log = logging.getLogger(__name__)


def start_links(
    table: MqttTable, sources: Sources, commands: Commands, *, outbox: DeliveredOutbox, folder: Path
) -> list[Link]:
    """Links that tell of `sources`, started. `folder`: for what Sparkplug must know again after a restart.

    Raises as Link does, and Unavailable without protobuf for Sparkplug.
    """
    roles: list[Role] = []
    if not commands.possible:
        log.info("mqtt: there is no state directory, so nothing can be acknowledged or muted: [state] directory")
    if table.home_assistant:
        prefix = prefix_of(table)
        roles.append(HomeAssistant(commands, prefix=prefix, discovery_prefix=table.home_assistant_prefix))
    if table.sparkplug is not None:
        from .backlog import BATCH, RECEIVER, Backlog
        from .birth_number import BirthNumber
        from .sparkplug import Sparkplug

        names = table.sparkplug
        number = BirthNumber(folder)
        backlog = Backlog(partial(outbox.read, RECEIVER, most=BATCH), partial(outbox.acknowledge, RECEIVER))
        roles.append(
            Sparkplug(commands, number, backlog, group=names.group, node=names.node, primary_host=names.primary_host)
        )
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
