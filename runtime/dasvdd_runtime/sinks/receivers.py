"""A configuration -> the outbox with its publishers, and what another configuration changes of it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from ..configuration.config import MonitorConfig
from ..running.changes import Change
from .delivery import DeliveredOutbox, Publisher
from .mqtt import MqttPublisher
from .outbox import Outbox
from .tables import EmailTable, MqttTable, ReceiverTable, WebhookTable
from .webhook import WebhookPublisher


def _webhook(table: WebhookTable) -> Publisher:
    if table.body == "event":
        return WebhookPublisher(table)
    from .chat import ChatPublisher

    return ChatPublisher(table)


def _email(table: EmailTable) -> Publisher:
    from .smtp import SmtpPublisher

    return SmtpPublisher(table)


PUBLISHERS: dict[type[ReceiverTable], Callable[[Any], Publisher]] = {
    MqttTable: MqttPublisher,
    WebhookTable: _webhook,
    EmailTable: _email,
}
"""What delivers to the receiver that a table names."""


def make_publisher(table: ReceiverTable) -> Publisher:
    """Not connected yet. Raises Unavailable for a missing package, ConfigError for a secret or a certificate."""
    return PUBLISHERS[type(table)](table)


def open_outbox(config: MonitorConfig) -> tuple[Outbox, list[Publisher]]:
    """The outbox for all receivers, and what delivers to them, not connected yet.

    Raises ConfigError for a folder that cannot be used, and as make_publisher does. A broker or a server that does not
    answer is no error: it is tried for ever.
    """
    publishers = [make_publisher(table) for table in config.receivers]
    table = config.outbox
    outbox = Outbox(table.folder, _readers(config), max_events=table.max_events, max_bytes=table.max_bytes)
    return outbox, publishers


def change_receivers(sink: DeliveredOutbox, before: MonitorConfig, config: MonitorConfig) -> Change:
    """What `config`, which has receivers as well, changes of `sink`. Raises as make_publisher does."""
    publishers = [make_publisher(table) for table in config.receivers if table not in before.receivers]
    limits = {"max_events": config.outbox.max_events, "max_bytes": config.outbox.max_bytes}
    return Change(partial(sink.use, _readers(config), publishers, **limits))


def _readers(config: MonitorConfig) -> dict[str, bool]:
    """Who reads from the outbox, by name, and whether scores too: the receivers, and what tells a Sparkplug host."""
    readers = {table.receiver: table.takes_scores for table in config.receivers}
    if config.mqtt is not None and config.mqtt.sparkplug is not None:
        from ..integrations import backlog

        readers[backlog.RECEIVER] = False
    return readers
