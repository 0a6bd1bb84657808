"""The part of `dasvdd-monitor check` that tries the receivers of events and what serves metrics."""

from __future__ import annotations

import json
import socket
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import EXIT_CONFIG, EXIT_UNAVAILABLE, DasvddError
from ..files import deepest_existing, fault_of_writing, is_full_disk

if TYPE_CHECKING:
    from ..configuration.config import MonitorConfig
    from ..endpoint.tables import HttpTable
    from ..sinks.tables import ReceiverTable
    from .check_report import Report


def check_receivers(config: MonitorConfig, report: Report) -> None:
    """Report on [state], [http], the outbox and its receivers. Nothing is published or posted."""
    if config.state.directory is not None:
        check_folder("state", config.state.directory, report)
    if config.http is not None:
        check_http(config.http, report)
    if config.receivers:
        check_folder("outbox", config.outbox.folder, report)
    for table in config.receivers:
        check_receiver(table, report)
    if not config.receivers and not config.only_replays:
        report.add("warning", "receivers", nobody_is_called(config))
    if config.mqtt is not None and config.mqtt.sparkplug is not None:
        check_sparkplug(report)


def nobody_is_called(config: MonitorConfig) -> str:
    """What to say of a configuration without receivers: who learns of an alarm, and what would call somebody."""
    told = ["standard output"]
    if config.events.path is not None:
        told.append(str(config.events.path))
    if config.http is not None:
        told.append("the page, with the metrics for Prometheus")
    return (
        f"nobody is called: alarms go to {', '.join(told)} and no further. [[email]], [mqtt] or [[webhook]] in "
        "monitor.toml names who is to be told."
    )


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
    fault = fault_of_writing(wanted)
    if fault is None:
        report.add("ok", subject, f"{wanted} can be written")
    else:
        text = f"{wanted} cannot be written: {cannot_write(wanted, fault)}, or name another folder."
        report.add("FAIL", subject, text, exit_code=EXIT_CONFIG)


def cannot_write(wanted: Path, fault: OSError) -> str:
    """Why nothing can be written below `wanted`, and what to do."""
    place = deepest_existing(wanted)
    remedy = "make room" if is_full_disk(fault) else f"give this user the right to write {place}"
    return f"{place}: {fault.strerror}. {remedy.capitalize()}"


def check_receiver(table: ReceiverTable, report: Report) -> None:
    """Report on whether the receiver answers."""
    from ..sinks.delivery import DeliveryFailed
    from ..sinks.receivers import make_publisher

    try:
        fits, text = make_publisher(table).try_connection()
    except DasvddError as error:
        report.fail(table.receiver, error)
    except DeliveryFailed as failure:
        report.add("FAIL", table.receiver, str(failure), exit_code=EXIT_UNAVAILABLE)
    else:
        report.add("ok" if fits else "warning", table.receiver, text)


def check_sparkplug(report: Report) -> None:
    """Report where the package is missing that makes its messages."""
    from ..integrations.sparkplug_payload import Codec

    try:
        Codec()
    except DasvddError as error:
        report.fail("sparkplug", error)
