"""A connection to a broker beside that of the events: it tells what is now, and takes commands.

What is told here is the newest value, so nothing waits in an outbox: after every connection all is told anew.
"""

from __future__ import annotations

import logging
import queue
import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from ..configuration.broker import new_client
from ..errors import ConfigError
from ..running.snapshot import SourceSnapshot
from ..sinks.delivery import FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS, DeliveryFailed
from ..sinks.mqtt import CONNECT_SECONDS, LEAVE_SECONDS, client_id_of, cut_connection, open_connection
from ..sinks.tables import MqttTable

if TYPE_CHECKING:
    from paho.mqtt.client import Client, MQTTMessage, MQTTMessageInfo
    from paho.mqtt.reasoncodes import ReasonCode

log = logging.getLogger(__name__)

TURN_SECONDS = 0.5
"""How often it is looked whether there is something new to tell."""
STOP_SECONDS = 1.5
MOST_WAITING = 100
"""Messages that have arrived and were not looked at; more are dropped, so that a flood costs no memory."""

Sources = Callable[[], Sequence[SourceSnapshot]]


class Message(NamedTuple):
    """What is published."""

    topic: str
    payload: bytes
    retain: bool = False
    qos: int = 1


class Arrived(NamedTuple):
    """What a broker sent."""

    topic: str
    payload: bytes
    retained: bool
    """It was kept by the broker, and may be of any age."""


class Role(Protocol):
    """What is told and obeyed. Used by one thread."""

    name: str
    """What the log calls it; also the end of the client id."""
    over: bool
    """The connection is to be closed in good order, and another made."""

    def will(self) -> Message:
        """What the broker is to publish when the connection that is opened now breaks."""

    def topics(self) -> Sequence[str]:
        """What to subscribe to."""

    def born(self, sources: Sequence[SourceSnapshot]) -> Sequence[Message]:
        """What to tell after each connection."""

    def changed(self, sources: Sequence[SourceSnapshot]) -> Sequence[Message]:
        """What has changed since the last call. Called every TURN_SECONDS."""

    def received(self, message: Arrived) -> Sequence[Message]:
        """Obey `message`; what to tell in answer. Does not raise."""

    def leaving(self, *, for_good: bool) -> Sequence[Message]:
        """What to tell before the connection is closed. `for_good`: nobody will play this role there any more."""


class Link:
    """The thread that plays a role. A broker that is away is tried for ever, and nothing waits for it."""

    def __init__(self, table: MqttTable, role: Role, sources: Sources) -> None:
        """Raises Unavailable without paho-mqtt, ConfigError for a password or certificate that cannot be read."""
        self._table = table
        self._role = role
        self._sources = sources
        self._client_id = f"{client_id_of(table)}-{role.name.replace(' ', '-')}"
        self._arrived: queue.Queue[Arrived] = queue.Queue(MOST_WAITING)
        self._lost = threading.Event()
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._for_good = False
        self._fault = ""
        self._thread = threading.Thread(target=self._run, name=role.name, daemon=True)
        new_client(table, self._client_id)

    def start(self) -> None:
        """Begin to connect."""
        self._thread.start()

    def request_stop(self, *, for_good: bool = False) -> None:
        """Take leave. `for_good`: and take back what the broker keeps."""
        self._for_good = for_good
        self._stopping.set()
        self._wake.set()

    def join(self, timeout_seconds: float) -> None:
        """Wait for the leave; where it does not come, the broker publishes the will."""
        self._thread.join(timeout_seconds)

    def _run(self) -> None:
        retry_seconds = FIRST_RETRY_SECONDS
        while not self._stopping.is_set():
            begin_seconds = time.monotonic()
            try:
                self._play()
            except Exception as failure:  # what a library raises, too: nothing may end this thread
                self._tell(str(failure) if isinstance(failure, DeliveryFailed) else repr(failure))
            if time.monotonic() - begin_seconds > LONGEST_RETRY_SECONDS:
                retry_seconds = FIRST_RETRY_SECONDS
            self._stopping.wait(retry_seconds * random.uniform(0.8, 1.2))
            retry_seconds = min(2 * retry_seconds, LONGEST_RETRY_SECONDS)

    def _play(self) -> None:
        """Connect and play the role until a stop or its own end. Raises DeliveryFailed where the connection breaks."""
        client = self._connected()
        try:
            self._publish(client, self._role.born(self._sources()))
            while not (self._stopping.is_set() or self._role.over):
                if self._lost.is_set():
                    raise DeliveryFailed(f"the connection to {self._table.address} was lost")
                self._wake.wait(TURN_SECONDS)
                self._wake.clear()
                while not self._arrived.empty():
                    self._publish(client, self._role.received(self._arrived.get_nowait()))
                self._publish(client, self._role.changed(self._sources()))
            self._leave(client)
        finally:
            client.on_disconnect = None
            cut_connection(client)

    def _leave(self, client: Client) -> None:
        """Tell it and disconnect in good order: a connection that is cut would have the broker publish the will too."""
        for sent in self._publish(client, self._role.leaving(for_good=self._for_good)):
            sent.wait_for_publish(LEAVE_SECONDS)
        client.disconnect()
        client.loop_stop()

    def _connected(self) -> Client:
        try:
            client = new_client(self._table, self._client_id)
        except ConfigError as error:
            raise DeliveryFailed(str(error)) from error
        client.connect_timeout = CONNECT_SECONDS
        will = self._role.will()
        client.will_set(will.topic, will.payload, qos=will.qos, retain=will.retain)
        self._lost.clear()
        self._arrived = queue.Queue(MOST_WAITING)
        client.on_disconnect = lambda *_: self._lost.set()
        client.on_message = lambda _client, _data, message: self._keep(message)
        client.on_subscribe = lambda _client, _data, _id, codes, _properties: self._look_at(codes)
        try:
            open_connection(client, self._table, self._table.address)
        except BaseException:
            cut_connection(client)
            raise
        client.subscribe([(topic, 1) for topic in self._role.topics()])
        if self._fault:
            log.warning("%s: connected to %s again", self._role.name, self._table.address)
            self._fault = ""
        return client

    def _look_at(self, codes: Sequence[ReasonCode]) -> None:
        refused = [topic for topic, code in zip(self._role.topics(), codes, strict=False) if code.is_failure]
        if refused:
            log.error("%s: %s lets nobody subscribe to %s", self._role.name, self._table.address, ", ".join(refused))

    def _keep(self, message: MQTTMessage) -> None:
        try:
            self._arrived.put_nowait(Arrived(message.topic, bytes(message.payload), message.retain))
        except queue.Full:
            log.warning("%s: messages arrive faster than they can be obeyed; some are dropped", self._role.name)
        except UnicodeDecodeError:
            log.warning("%s: a message whose topic is no text is left out", self._role.name)
        self._wake.set()

    def _publish(self, client: Client, messages: Sequence[Message]) -> list[MQTTMessageInfo]:
        return [client.publish(m.topic, m.payload, qos=m.qos, retain=m.retain) for m in messages]

    def _tell(self, fault: str) -> None:
        if fault != self._fault:
            self._fault = fault
            log.error("%s: %s. Tried again until it works", self._role.name, fault)
