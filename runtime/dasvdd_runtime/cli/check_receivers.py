"""The part of `dasvdd-monitor check` that tries the broker, the webhooks and what serves metrics."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ..errors import EXIT_CONFIG, EXIT_UNAVAILABLE, DasvddError

if TYPE_CHECKING:
    from ..config import MonitorConfig
    from ..endpoint.tables import HttpTable
    from ..sinks.tables import MqttTable, OutboxTable, WebhookTable
    from .check import Report


def check_receivers(config: MonitorConfig, report: Report) -> None:
    """Report on [http], the outbox, the broker and every webhook. Nothing is published and nothing posted."""
    if config.http is not None:
        check_http(config.http, report)
    if config.mqtt is None and not config.webhook:
        return
    check_outbox(config.outbox, report)
    if config.mqtt is not None:
        check_mqtt(config.mqtt, report)
    for table in config.webhook:
        check_webhook(table, report)


def check_http(table: HttpTable, report: Report) -> None:
    """Report on whether metrics can be made and the token can be read. It does not listen: a monitor may do so."""
    from ..endpoint.start import require_client

    try:
        require_client()
        table.token.read()
    except DasvddError as error:
        report.fail("http", error)
    else:
        report.add("ok", "http", f"metrics and probes on http://{table.listen}")


def check_outbox(table: OutboxTable, report: Report) -> None:
    """Report on whether events could be kept in the outbox's folder."""
    folder = table.folder.absolute()
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    if nearest.is_dir() and os.access(nearest, os.W_OK):
        report.add("ok", "outbox", f"{table.folder} can be written")
    else:
        text = f"{table.folder} cannot be written. Give this user the right to write {nearest}, or name another folder."
        report.add("FAIL", "outbox", text, exit_code=EXIT_CONFIG)


def check_mqtt(table: MqttTable, report: Report) -> None:
    """Report on whether the broker takes the connection."""
    from ..sinks.delivery import DeliveryFailed
    from ..sinks.mqtt import MqttPublisher

    try:
        if table.sparkplug is not None:
            from ..integrations.sparkplug_payload import Codec

            Codec()
        publisher = MqttPublisher(table)
        publisher.try_connection()
    except DasvddError as error:
        report.fail("mqtt", error)
    except DeliveryFailed as failure:
        report.add("FAIL", "mqtt", str(failure), exit_code=EXIT_UNAVAILABLE)
    else:
        secured = "with TLS" if table.uses_tls else "without TLS"
        report.add("ok", "mqtt", f"{publisher.address} takes the connection, {secured}; nothing was published")


def check_webhook(table: WebhookTable, report: Report) -> None:
    """Report on whether the server answers."""
    from ..sinks.delivery import DeliveryFailed
    from ..sinks.webhook import WebhookPublisher

    try:
        publisher = WebhookPublisher(table)
        status = publisher.try_connection()
    except DasvddError as error:
        report.fail(table.receiver, error)
    except DeliveryFailed as failure:
        report.add("FAIL", table.receiver, str(failure), exit_code=EXIT_UNAVAILABLE)
    else:
        said = f"{publisher.address} answers a HEAD request with {status}"
        if status in (401, 403):
            report.add("warning", table.receiver, f"{said}: is the token right?")
        elif status in (404, 410) or 300 <= status < 400 or status >= 500:
            report.add("warning", table.receiver, f"{said}: is the url right?")
        else:
            report.add("ok", table.receiver, f"{said}; nothing was posted")
