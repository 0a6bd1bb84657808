"""A host application of Sparkplug, which reads and writes payloads without protobuf."""

from __future__ import annotations

import json
import struct
import time
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from dasvdd_runtime.condition.health import State
from dasvdd_runtime.events import Counts
from dasvdd_runtime.integrations.backlog import BATCH, Backlog
from dasvdd_runtime.integrations.birth_number import BirthNumber
from dasvdd_runtime.integrations.commands import Commands
from dasvdd_runtime.integrations.sparkplug import Sparkplug
from dasvdd_runtime.running.snapshot import SourceSnapshot
from dasvdd_runtime.sinks.outbox_store import Row

Fields = list[tuple[int, Any]]


def wire(payload: bytes) -> Fields:
    """The fields of a protocol buffer by their numbers, as its encoding is documented: varints, 8 bytes, or lengths."""
    fields: Fields = []
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = payload[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(payload):
        key = varint()
        if key & 7 == 0:
            fields.append((key >> 3, varint()))
        elif key & 7 == 1:
            fields.append((key >> 3, struct.unpack_from("<d", payload, at)[0]))
            at += 8
        else:
            assert key & 7 == 2, f"wire type {key & 7}"
            length = varint()
            fields.append((key >> 3, payload[at : at + length]))
            at += length
    assert at == len(payload)
    return fields


class Seen(NamedTuple):
    """A message as a host application reads it; numbers are those of the specification's payload."""

    kind: str
    device: str
    seq: int | None
    values: dict[str, Any]
    types: dict[str, int | None]
    qos: int
    retained: bool
    every_past: list[tuple[str, int]]
    """The metrics that are historical, in order: when they were so, in milliseconds."""


def read(topic: str, payload: bytes, qos: int = 0, retained: bool = False) -> Seen:
    namespace, group, kind, node, *device = topic.split("/")
    assert (namespace, group, node) == ("spBv1.0", "Plant 1", "box")
    fields = wire(payload)
    assert next(value for number, value in fields if number == 1) > 1.6e12, "milliseconds since 1970"
    seq = dict(fields).get(3)
    values: dict[str, Any] = {}
    types: dict[str, int | None] = {}
    past: list[tuple[str, int]] = []
    for metric in (dict(wire(value)) for number, value in fields if number == 2):
        name = metric[1].decode()
        types[name] = metric.get(4)
        value = next((metric[number] for number in (10, 11, 13) if number in metric), None)
        value = bool(metric[14]) if 14 in metric else metric[15].decode() if 15 in metric else value
        assert (value is None) == bool(metric.get(7)) and metric[3] > 1.6e12
        values[name] = value
        if metric.get(5):
            past.append((name, metric[3]))
    return Seen(kind, "/".join(device), seq, values, types, qos, retained, past)


class Host:
    """A host application: reads everything of the group."""

    def __init__(self, port: int) -> None:
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion

        self.seen: list[Seen] = []
        self._client = Client(CallbackAPIVersion.VERSION2)
        self._client.on_connect = lambda client, *_: client.subscribe("spBv1.0/Plant 1/+/#", qos=1)
        self._client.on_message = lambda _c, _d, m: (
            None if "CMD/" in m.topic else self.seen.append(read(m.topic, m.payload, m.qos, m.retain))
        )
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def of_kind(self, kind: str) -> list[Seen]:
        return [message for message in list(self.seen) if message.kind == kind]

    def command(self, payload: bytes, *, device: str = "", retain: bool = False) -> None:
        topic = f"spBv1.0/Plant 1/DCMD/box/{device}" if device else "spBv1.0/Plant 1/NCMD/box"
        self._client.publish(topic, payload, qos=0, retain=retain).wait_for_publish(5)

    def tell_state(self, payload: bytes) -> None:
        """Have the broker keep `payload` as the state of the host "scada"."""
        self._client.publish("spBv1.0/STATE/scada", payload, qos=1, retain=True).wait_for_publish(5)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


REBIRTH = b"\x08\x80\xa0\x94\xa5\x8d\x06" + b"\x12\x1a\n\x14Node Control/Rebirth\x20\x0bp\x01"
"""What a host sends, written out by hand: a timestamp, and a metric with a name, the data type 11 and true."""


def command(name: str, *, text: str = "", double: float | None = None, boolean: bool | None = None) -> bytes:
    """What a host sends to write one metric: a name, its data type and a value."""
    value = bytes([0x20, 12, 0x7A, len(text.encode())]) + text.encode()
    if double is not None:
        value = bytes([0x20, 10, 0x69]) + struct.pack("<d", double)
    if boolean is not None:
        value = bytes([0x20, 11, 0x70, int(boolean)])
    metric = bytes([0x0A, len(name)]) + name.encode() + value
    assert len(metric) < 128
    return REBIRTH[:7] + bytes([0x12, len(metric)]) + metric


def state(online: bool, *, milliseconds: int | None = None) -> bytes:
    """STATE of a primary host, by default of now."""
    return json.dumps({"online": online, "timestamp": milliseconds or time.time_ns() // 1_000_000}).encode()


def in_order(messages: list[Seen]) -> bool:
    """Each has the number after the one before, modulo 256, or begins anew with a node's birth."""
    numbered = [message for message in messages if message.kind != "NDEATH"]
    pairs = pairwise(numbered)
    return all(b.seq == (0 if b.kind == "NBIRTH" else ((a.seq or 0) + 1) % 256) for a, b in pairs)


def edge_node(
    folder: Path, *, commands: Commands | None = None, rows: list[Row] | None = None, **more: Any
) -> Sparkplug:
    """The role on files in `folder`; `rows` wait in its outbox, and are removed as they are acknowledged."""
    waiting = [] if rows is None else rows

    def acknowledge(row_id: int) -> None:
        waiting[:] = [row for row in waiting if row.id > row_id]

    backlog = Backlog(lambda: waiting[:BATCH], acknowledge)
    return Sparkplug(commands or Commands(None), BirthNumber(folder), backlog, group="Plant 1", node="box", **more)


def source(**values: Any) -> SourceSnapshot:
    """A source that is fine, but for `values`."""
    base: dict[str, Any] = {"name": "pump", "model": "model", "model_fingerprint": "abc", "state": State.OK}
    base |= {"score": 0.1, "smoothed_score": 0.1, "threshold": 0.2, "in_alarm": False, "counts": Counts()}
    base |= {"drift_ppm": None, "level_dbfs": None, "waiting_seconds": 0.0, "live": True, "ended": False}
    return SourceSnapshot(**base | values)
