"""A configuration -> the outbox with its publishers."""

from __future__ import annotations

from ..config import MonitorConfig
from .delivery import DeliveredOutbox, Publisher
from .mqtt import MqttPublisher
from .outbox import Outbox
from .webhook import WebhookPublisher


def make_outbox(config: MonitorConfig) -> DeliveredOutbox:
    """The sink that feeds `[mqtt]` and every `[[webhook]]`, delivering already.

    Raises Unavailable for a package that is missing, ConfigError for a folder, a secret or a certificate that cannot
    be used. A broker or a server that does not answer is no error: it is tried for ever.
    """
    publishers: list[Publisher] = [WebhookPublisher(table) for table in config.webhook]
    telemetry = {publisher.name: False for publisher in publishers}
    if config.mqtt is not None:
        mqtt = MqttPublisher(config.mqtt)
        publishers.append(mqtt)
        telemetry[mqtt.name] = config.mqtt.telemetry
        if config.mqtt.sparkplug is not None:
            from ..integrations.backlog import RECEIVER

            telemetry[RECEIVER] = False
    table = config.outbox
    outbox = Outbox(table.folder, telemetry, max_events=table.max_events, max_bytes=table.max_bytes)
    return DeliveredOutbox(outbox, publishers)
