"""Rows that arrive as messages from an MQTT broker."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from ..configuration.broker import new_client
from ..errors import ConfigError
from ..reading.time_stamps import unit_of_label
from .base import WAIT_SECONDS, Block, SourceLost
from .payloads import PayloadError, Reading, read_csv, read_json, read_number
from .row_feed import feed_of, stamp_seconds
from .row_tables import MqttTopicsTable

if TYPE_CHECKING:
    from paho.mqtt.client import Client, MQTTMessage
    from paho.mqtt.reasoncodes import ReasonCode

CONNECT_SECONDS = 1.2
"""For TCP, and again for TLS."""
ANSWER_SECONDS = 2.5
"""From the beginning of a connection to the end of the subscription; below capture.JOIN_SECONDS."""


class MqttSource:
    """Subscribes to topics. Messages are read in the thread of `read`, so that a flood fills no memory here."""

    live = True

    def __init__(self, table: MqttTopicsTable, *, sample_rate_hz: float, channel_names: list[str]) -> None:
        """Raises Unavailable and ConfigError as `new_client` does, and ConfigError for topics that fit no channels."""
        if table.format == "number" and len(table.topics) != len(channel_names):
            raise ConfigError(
                f'{table.label}: format = "number" needs one topic for each of the {len(channel_names)} channels '
                f"({', '.join(channel_names)}) in this order, but there are {len(table.topics)} topics."
            )
        self.sample_rate_hz = sample_rate_hz
        self._table = table
        self._channel_names = channel_names
        self._time_unit = unit_of_label(table.time_key)
        self._client: Client | None = None
        self._answer: str | None = None
        """How the broker answered the subscription: empty where it took it, None before."""
        self._messages = 0
        self._opened = False
        self._feed = feed_of(table, sample_rate_hz=sample_rate_hz, channel_names=channel_names)
        new_client(table, table.client_id)

    def open(self) -> None:
        """Connect and subscribe. Raises SourceLost where the broker does not answer or refuses, and as `new_client`."""
        self.close()
        if self._opened and self._feed.unheard():
            self._feed.tell(f"nothing has come yet of {self._feed.unheard()}: are topics and channels right?")
        self._opened = True
        end_seconds = time.monotonic() + ANSWER_SECONDS
        client = self._client = new_client(self._table, self._table.client_id)
        client.connect_timeout = CONNECT_SECONDS
        client.on_connect = self._connected
        client.on_subscribe = self._subscribed
        client.on_message = self._arrived
        self._answer = None
        try:
            client.connect(self._table.host, self._table.port_in_force, self._table.keepalive_seconds)
        except (OSError, ValueError) as error:
            raise SourceLost(f"no connection to {self._table.address}: {error}") from error
        while self._answer is None:
            if time.monotonic() >= end_seconds:
                raise SourceLost(f"{self._table.address} does not answer like an MQTT broker")
            code = client.loop(WAIT_SECONDS)
            if code and self._answer is None:
                self._answer = f"ends the connection: {_words(code)}"
        if self._answer:
            raise SourceLost(f"{self._table.address} {self._answer}")

    def read(self) -> Block:
        """What has arrived since, within WAIT_SECONDS. Raises SourceLost where the connection ends."""
        client = self._client
        assert client is not None, "open() comes first"
        end_seconds = time.monotonic() + WAIT_SECONDS
        wait_seconds, before = WAIT_SECONDS, -1
        while before < self._messages and time.monotonic() < end_seconds:  # as long as one follows the other
            before = self._messages
            code = client.loop(wait_seconds)
            if code:
                raise SourceLost(f"the connection to {self._table.address} was lost: {_words(code)}")
            wait_seconds = 0.0
        return self._feed.next()

    def close(self) -> None:
        """Take leave of the broker."""
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(OSError, ValueError):
                client.disconnect()
                client.loop(0.0)

    def _connected(self, client: Client, _data: object, _flags: object, code: ReasonCode, _more: object) -> None:
        if code.is_failure:
            self._answer = f"refuses the connection: {code}. Are username and password right?"
        else:
            client.subscribe([(topic, 0) for topic in self._table.topics])

    def _subscribed(self, _client: Client, _data: object, _id: int, codes: list[ReasonCode], _more: object) -> None:
        refused = [topic for topic, code in zip(self._table.topics, codes, strict=False) if code.is_failure]
        self._answer = f"refuses the subscription to {', '.join(refused)}: may this user read it?" if refused else ""

    def _arrived(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        self._messages += 1
        if message.retain:  # of whenever it was: no row of now
            return
        seconds = time.monotonic()
        try:
            for reading in self._read(message):
                self._feed.add(self._seconds(reading, seconds), reading.values, channels=reading.channels)
        except (PayloadError, ValueError) as error:
            own_times = bool(self._table.time_key)
            reason = f"a message on {message.topic[:100]} that holds no row, {error}"
            self._feed.refuse(reason, seconds=None if own_times else seconds)

    def _read(self, message: MQTTMessage) -> list[Reading]:
        payload = bytes(message.payload)
        if self._table.format == "json":
            return read_json(payload, self._channel_names, time_key=self._table.time_key)
        if self._table.format == "csv":
            return [read_csv(payload, len(self._channel_names), may_have_more=self._table.channels is not None)]
        return [read_number(payload, self._table.topics.index(message.topic))]

    def _seconds(self, reading: Reading, now_seconds: float) -> float:
        return stamp_seconds(reading.time, self._time_unit) if self._table.time_key else now_seconds


def _words(code: int) -> str:
    from paho.mqtt.client import error_string
    from paho.mqtt.enums import MQTTErrorCode

    return error_string(MQTTErrorCode(code)).rstrip(".")
