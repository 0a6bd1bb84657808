"""The part of `dasvdd-monitor check` that tries the broker, the webhooks and what serves metrics."""

from __future__ import annotations

import json
import os
import socket
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import EXIT_CONFIG, EXIT_UNAVAILABLE, DasvddError

if TYPE_CHECKING:
    from ..config import MonitorConfig
    from ..endpoint.tables import HttpTable
    from ..sinks.tables import MqttTable, WebhookTable
    from .check_report import Report


def check_receivers(config: MonitorConfig, report: Report) -> None:
    """Report on [state], [http], the outbox, broker and webhooks. Nothing is published or posted."""
    if config.state.directory is not None:
        check_folder("state", config.state.directory, report)
    if config.http is not None:
        check_http(config.http, report)
    if config.mqtt is None and not config.webhook:
        return
    check_folder("outbox", config.outbox.folder, report)
    if config.mqtt is not None:
        check_mqtt(config.mqtt, report)
    for table in config.webhook:
        check_webhook(table, report)


def check_http(table: HttpTable, report: Report) -> None:
    """Report on whether metrics can be made, the token can be read, and nobody else listens there."""
    from ..endpoint.start import require_client

    try:
        require_client()
        table.token.read()
    except DasvddError as error:
        report.fail("http", error)
        return
    if monitor_listens(table.address):
        report.add("ok", "http", f"a monitor that runs serves page, metrics and probes on http://{table.listen}")
    elif listens(table.address):
        text = f"another program listens on {table.listen}, so the monitor cannot: end that, or take another port"
        report.add("warning", "http", text)
    else:
        report.add("ok", "http", f"page, metrics and probes on http://{table.listen}")


def monitor_listens(address: tuple[str, int]) -> bool:
    """Whether `/healthz` there answers as a monitor's does."""
    connection = HTTPConnection(*address, timeout=1)
    try:
        connection.request("GET", "/healthz")
        return "healthy" in json.loads(connection.getresponse().read(1000))
    except (OSError, HTTPException, ValueError, TypeError):
        return False
    finally:
        connection.close()


def listens(address: tuple[str, int]) -> bool:
    """Whether something takes a connection there."""
    try:
        socket.create_connection(address, timeout=1).close()
    except OSError:
        return False
    return True


def check_folder(subject: str, wanted: Path, report: Report) -> None:
    """Report on whether something could be kept in the folder `wanted`."""
    folder = wanted.absolute()
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    if nearest.is_dir() and os.access(nearest, os.W_OK):
        report.add("ok", subject, f"{wanted} can be written")
    else:
        text = f"{wanted} cannot be written. Give this user the right to write {nearest}, or name another folder."
        report.add("FAIL", subject, text, exit_code=EXIT_CONFIG)


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
