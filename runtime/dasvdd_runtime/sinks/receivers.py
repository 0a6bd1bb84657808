"""A configuration -> the outbox with its publishers, and what another configuration changes of it."""

from __future__ import annotations

from functools import partial

from ..changes import Change
from ..config import MonitorConfig
from .delivery import DeliveredOutbox, Publisher
from .mqtt import RECEIVER, MqttPublisher
from .outbox import Outbox
from .webhook import WebhookPublisher


def open_outbox(config: MonitorConfig) -> tuple[Outbox, list[Publisher]]:
    """The outbox for `[mqtt]` and every `[[webhook]]`, and what delivers to them, not connected yet.

    Raises Unavailable for a package that is missing, ConfigError for a folder, a secret or a certificate that cannot
    be used. A broker or a server that does not answer is no error: it is tried for ever.
    """
    publishers = make_publishers(config)
    table = config.outbox
    outbox = Outbox(table.folder, _receivers(config), max_events=table.max_events, max_bytes=table.max_bytes)
    return outbox, publishers


def make_publishers(config: MonitorConfig, before: MonitorConfig | None = None) -> list[Publisher]:
    """One for each receiver, not connected; where `before` is given, for those that are new or have changed.

    Raises Unavailable and ConfigError as open_outbox does.
    """
    known = [] if before is None else before.webhook
    publishers: list[Publisher] = [WebhookPublisher(table) for table in config.webhook if table not in known]
    if config.mqtt is not None and (before is None or config.mqtt != before.mqtt):
        publishers.append(MqttPublisher(config.mqtt))
    return publishers


def change_receivers(sink: DeliveredOutbox, before: MonitorConfig, config: MonitorConfig) -> Change:
    """What `config`, which has receivers as well, changes of `sink`. Raises as make_publishers does."""
    publishers, table = make_publishers(config, before), config.outbox
    receivers = _receivers(config)
    return Change(partial(sink.use, receivers, publishers, max_events=table.max_events, max_bytes=table.max_bytes))


def _receivers(config: MonitorConfig) -> dict[str, bool]:
    """By name, whether a receiver takes scores."""
    receivers = {webhook.receiver: False for webhook in config.webhook}
    if config.mqtt is not None:
        receivers[RECEIVER] = config.mqtt.telemetry
        if config.mqtt.sparkplug is not None:
            from ..integrations import backlog

            receivers[backlog.RECEIVER] = False
    return receivers
