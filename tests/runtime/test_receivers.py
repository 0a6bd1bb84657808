"""Whatever table of monitor.toml names a receiver: a reload changes it, and nothing but its table says that it is."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import pytest
from dasvdd_runtime.configuration.config import MonitorConfig
from dasvdd_runtime.events import overload, stopped, to_json, with_id
from dasvdd_runtime.running.changes import prepared
from dasvdd_runtime.running.outlets import Outlets
from dasvdd_runtime.running.reload import changed_sections
from dasvdd_runtime.sinks.receivers import PUBLISHERS
from dasvdd_runtime.sinks.tables import EmailTable, MqttTable, ReceiverTable, WebhookTable
from mosquitto_broker import Broker
from scraping import wait_until
from smtp_server import MailServer
from webhook_server import Server

HEAD = {"model": {"path": "m"}, "source": [{"name": "a", "kind": "file", "path": "a.wav"}]}

Heard = Callable[[], list[str]]
"""The events, by their ids, that a receiver has got."""


class ConfigOfTomorrow(MonitorConfig):
    """With a receiver that nothing else of the program knows."""

    pager: WebhookTable | None = None


def classes_of(annotation: Any) -> list[Any]:
    """The classes that stand in a type."""
    parts = get_args(annotation)
    return [found for part in parts for found in classes_of(part)] if parts else [annotation]


def receiver_fields() -> dict[str, type[ReceiverTable]]:
    """The fields that name receivers, with their tables."""
    fields = ((name, classes_of(field.annotation)) for name, field in ConfigOfTomorrow.model_fields.items())
    return {n: c for n, found in fields for c in found if isinstance(c, type) and issubclass(c, ReceiverTable)}


@contextmanager
def a_webhook(name: str, make_broker: Callable[[], Broker]) -> Iterator[tuple[dict[str, Any], Heard]]:
    server = Server(lambda number, body: 200)
    yield {"url": server.url, "name": "tested"}, lambda: [str(event["id"]) for event in server.events()]
    server.close()


@contextmanager
def a_broker(name: str, make_broker: Callable[[], Broker]) -> Iterator[tuple[dict[str, Any], Heard]]:
    from paho.mqtt.client import Client
    from paho.mqtt.enums import CallbackAPIVersion

    broker, heard = make_broker(), list[str]()
    broker.start()
    subscribed = threading.Event()
    client = Client(CallbackAPIVersion.VERSION2)
    client.on_message = lambda _client, _data, message: heard.append(json.loads(message.payload)["id"])
    client.on_connect = lambda client, *_: client.subscribe(f"{name}/event", qos=1)
    client.on_subscribe = lambda *_: subscribed.set()
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    assert subscribed.wait(5)
    yield {"host": "127.0.0.1", "port": broker.port, "prefix": name}, heard.copy
    client.disconnect()
    client.loop_stop()


@contextmanager
def a_mail_server(name: str, make_broker: Callable[[], Broker]) -> Iterator[tuple[dict[str, Any], Heard]]:
    server = MailServer().start()
    table = {"host": "127.0.0.1", "port": server.port, "security": "none", "from": "a@b.c", "to": ["d@e.f"]}
    yield table | {"name": "tested"}, lambda: re.findall(r"Event (\S+)", "".join(server.texts()))
    server.stop()


EXAMPLES = {MqttTable: a_broker, WebhookTable: a_webhook, EmailTable: a_mail_server}


def test_each_kind_of_receiver_has_a_publisher_and_is_tried_here() -> None:
    """No table is forgotten, neither by the program nor by the test below."""
    assert set(receiver_fields().values()) == set(PUBLISHERS) == set(EXAMPLES)


@pytest.mark.parametrize("field", receiver_fields())
def test_a_reload_changes_each_receiver(field: str, tmp_path: Path, make_broker: Callable[[], Broker]) -> None:
    """It is told in `changed`, the old one gets what came before, and the new one what comes after."""
    example = EXAMPLES[receiver_fields()[field]]
    outbox = {"folder": tmp_path}
    with example("old", make_broker) as (old, by_old), example("new", make_broker) as (new, by_new):
        before, after = (
            ConfigOfTomorrow.model_validate(HEAD | {"outbox": outbox, field: table}) for table in (old, new)
        )
        assert changed_sections(before, after) == [f"[{field}]"]
        outlets = Outlets(before)
        first = with_id(overload({"a": 1.0}, bursts=[]))
        second = with_id(stopped(reason="end", alarms_open=[], failed={"a": "gone"}))
        outlets.write(to_json(first, now=datetime.now(UTC)), durable=True)
        wait_until(lambda: by_old() == [first["id"]])
        for change in prepared(outlets.preparations(after)):
            change.apply()
        outlets.write(to_json(second, now=datetime.now(UTC)), durable=True)
        wait_until(lambda: by_new() == [second["id"]])
        outlets.close()
        assert by_old() == [first["id"]]
