"""Events to an MQTT broker, with QoS 1."""

from __future__ import annotations

import contextlib
import json
import logging
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ..configuration.broker import BrokerTable, new_client
from ..errors import ConfigError
from .delivery import DeliveryFailed, Publisher
from .outbox_store import Row
from .tables import MqttTable

if TYPE_CHECKING:
    from paho.mqtt.client import Client, MQTTMessageInfo

log = logging.getLogger(__name__)

BATCH = 256
"""Rows on their way at once."""
CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 10.0
"""How long the broker may take to answer before the connection is given up."""
LEAVE_SECONDS = 0.5
NOT_CLEARED = "%s: %s, so what the broker keeps below %s stays there"


def topics(line: str, *, prefix: str) -> list[tuple[str, bool]]:
    """Where the event `line` is published: topics, each with whether the broker retains it for those who come later.

    <prefix>/<source>/event for each event, <prefix>/<source>/score for a score, <prefix>/event where there is no
    source; retained, the last state and the last word on an alarm: <prefix>/<source>/state and <prefix>/<source>/alarm.
    """
    event: dict[str, Any] = json.loads(line)
    kind, source = str(event["event"]), event.get("source")
    if source is None:
        return [(f"{prefix}/event", False)]
    base = f"{prefix}/{topic_level(str(source))}"
    if kind == "score":
        return [(f"{base}/score", False)]
    found = [(f"{base}/event", False)]
    if kind == "source_state":
        found.append((f"{base}/state", True))
    elif kind in ("alarm_raised", "alarm_grew", "alarm_cleared", "alarm_open"):
        found.append((f"{base}/alarm", True))
    return found


def topic_level(name: str) -> str:
    """`name` as one level of a topic: what MQTT keeps for itself is percent-encoded."""
    return "".join(f"%{ord(c):02X}" if c in "/+#%" or not c.isprintable() else c for c in name)


def prefix_of(table: MqttTable) -> str:
    """What topics begin with: `prefix`, or dasvdd/ and the name of this machine."""
    return table.prefix or f"dasvdd/{_machine()}"


def client_id_of(table: MqttTable) -> str:
    """`client_id`, or one made of this machine's name and the prefix."""
    return table.client_id or f"dasvdd-{_machine()}-{prefix_of(table).replace('/', '-')}"


def _machine() -> str:
    return topic_level(socket.gethostname())


class MqttPublisher:
    """A connection to a broker, with a birth message, a last will, and a new client for every attempt."""

    batch = BATCH

    def __init__(self, table: MqttTable) -> None:
        """Raises Unavailable without paho-mqtt, ConfigError for a password or certificate that cannot be read."""
        self.name = table.receiver
        self._table = table
        self._prefix = prefix_of(table)
        self._client_id = client_id_of(table)
        self._client: Client | None = None
        self._lost = threading.Event()
        self._retained: dict[str, str] = {}  # by topic, without the prefix
        self._make_client(self._client_id)

    @property
    def address(self) -> str:
        """The broker, for people."""
        return self._table.address

    def connect(self) -> None:
        """Be connected, and have said so on <prefix>/status; a broker that forgot states and alarms gets them again."""
        if self._client is not None and not self._lost.is_set():
            return
        self._drop()
        try:
            client = self._make_client(self._client_id)
        except ConfigError as error:
            raise DeliveryFailed(str(error)) from error
        client.will_set(f"{self._prefix}/status", "offline", qos=1, retain=True)
        self._lost.clear()
        client.on_disconnect = lambda *_: self._lost.set()
        self._client = client
        try:
            open_connection(client, self._table, self.address)
            now = {"status": "online", **self._retained}
            self._await([self._retain(client, leaf, text) for leaf, text in now.items()])
        except BaseException:
            self._drop()
            raise

    def try_connection(self) -> tuple[bool, str]:
        """Connect under another client id and leave again, without a message. Raises DeliveryFailed or ConfigError."""
        client = self._make_client(f"{self._client_id}-check")
        try:
            open_connection(client, self._table, self.address)
        finally:
            client.disconnect()
            client.loop_stop()
        secured = "with TLS" if self._table.uses_tls else "without TLS"
        return True, f"{self.address} takes the connection, {secured}; nothing was published"

    def deliver(self, rows: Sequence[Row], *, delivered: Callable[[Row], None], refused: Callable[[Row], None]) -> None:
        """Publish `rows`; one is delivered when the broker has acknowledged all of its messages."""
        assert self._client is not None
        try:
            sent = []
            for row in rows:
                found = topics(row.line, prefix=self._prefix)
                sent.append((row, found, [self._client.publish(t, row.line, qos=1, retain=r) for t, r in found]))
            for row, found, messages in sent:
                self._await(messages)
                self._retained |= {t.removeprefix(f"{self._prefix}/"): row.line for t, retained in found if retained}
                delivered(row)
        except DeliveryFailed:
            self._drop()  # a new client sends nothing twice that the outbox would send again
            raise

    def hand_over(self, successor: Publisher) -> None:
        """Take leave; what was retained moves to the topics of `successor`, and is cleared here if those are others."""
        assert isinstance(successor, MqttPublisher)
        successor._retained = self._retained
        if (self.address, self._prefix) != (successor.address, successor._prefix):
            self._clear_retained()
        self.close()

    def close(self) -> None:
        """Say on <prefix>/status that the monitor ends, and disconnect."""
        if self._client is not None and not self._lost.is_set():
            message = self._client.publish(f"{self._prefix}/status", "offline", qos=1, retain=True)
            with contextlib.suppress(RuntimeError, ValueError):
                message.wait_for_publish(LEAVE_SECONDS)
            self._client.disconnect()
        self._drop()

    def _clear_retained(self) -> None:
        """Take back what was retained, but the status, which says that nothing more comes here."""
        if self._client is None or self._lost.is_set():
            log.warning(NOT_CLEARED, self.name, f"there is no connection to {self.address}", self._prefix)
            return
        try:
            self._await([self._retain(self._client, leaf, "") for leaf in self._retained])
        except DeliveryFailed as failure:
            log.warning(NOT_CLEARED, self.name, failure, self._prefix)

    def _retain(self, client: Client, leaf: str, text: str) -> MQTTMessageInfo:
        return client.publish(f"{self._prefix}/{leaf}", text, qos=1, retain=True)

    def _await(self, messages: Iterable[MQTTMessageInfo]) -> None:
        """Wait until the broker has acknowledged `messages`. Raises DeliveryFailed."""
        end_seconds = time.monotonic() + ANSWER_SECONDS
        for message in messages:
            while not _is_published(message, self.address):
                if self._lost.is_set():
                    raise DeliveryFailed(f"the connection to {self.address} was lost")
                if time.monotonic() >= end_seconds:
                    raise DeliveryFailed(f"{self.address} did not acknowledge an event in {ANSWER_SECONDS:g} s")

    def _drop(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.on_disconnect = None
            cut_connection(client)

    def _make_client(self, client_id: str) -> Client:
        client = new_client(self._table, client_id)
        client.connect_timeout = CONNECT_SECONDS
        client.max_inflight_messages_set(2 * BATCH)
        return client


def open_connection(client: Client, table: BrokerTable, address: str) -> None:
    """Connect `client` and wait for the broker's word. Raises DeliveryFailed."""
    answers: queue.SimpleQueue[tuple[bool, str]] = queue.SimpleQueue()
    client.on_connect = lambda _client, _data, _flags, code, _properties: answers.put((code.is_failure, str(code)))
    try:
        client.connect(table.host, table.port_in_force, table.keepalive_seconds)
    except (OSError, ValueError) as error:
        raise DeliveryFailed(f"no connection to {address}: {error}") from error
    client.loop_start()
    try:
        refused, reason = answers.get(timeout=CONNECT_SECONDS)
    except queue.Empty:
        raise DeliveryFailed(f"{address} does not answer like an MQTT broker") from None
    if refused:
        raise DeliveryFailed(f"{address} refuses the connection: {reason}. Are username and password right?")


def cut_connection(client: Client) -> None:
    """Close the connection without taking leave, so that the broker sends the last will."""
    connection: Any = client.socket()
    if connection is not None:
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
    client.loop_stop()


def _is_published(message: MQTTMessageInfo, address: str) -> bool:
    """Wait a moment for the acknowledgement of `message`; whether it has come."""
    try:
        message.wait_for_publish(0.2)
        return message.is_published()
    except (RuntimeError, ValueError) as error:
        raise DeliveryFailed(f"{address}: {error}") from error
