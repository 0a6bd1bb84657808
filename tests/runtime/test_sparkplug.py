"""Sparkplug B with the real program and a real broker, read as a host application reads it, without protobuf."""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import soundfile
from dasvdd_runtime.condition.health import State
from dasvdd_runtime.config import load_config
from dasvdd_runtime.errors import ConfigError, Unavailable
from dasvdd_runtime.events import Counts
from dasvdd_runtime.integrations.commands import Commands
from dasvdd_runtime.integrations.link import Arrived
from dasvdd_runtime.integrations.sparkplug import SLOW_SECONDS, Sparkplug
from dasvdd_runtime.snapshot import SourceSnapshot
from monitor_child import MonitorChild
from mosquitto_broker import Broker
from scraping import wait_until

RATE_HZ = 16000
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


def read(topic: str, payload: bytes, qos: int = 0, retained: bool = False) -> Seen:
    namespace, group, kind, node, *device = topic.split("/")
    assert (namespace, group, node) == ("spBv1.0", "Plant 1", "box")
    fields = wire(payload)
    assert next(value for number, value in fields if number == 1) > 1.6e12, "milliseconds since 1970"
    seq = dict(fields).get(3)
    values: dict[str, Any] = {}
    types: dict[str, int | None] = {}
    for metric in (dict(wire(value)) for number, value in fields if number == 2):
        name = metric[1].decode()
        types[name] = metric.get(4)
        value = next((metric[number] for number in (10, 11, 13) if number in metric), None)
        value = bool(metric[14]) if 14 in metric else metric[15].decode() if 15 in metric else value
        assert (value is None) == bool(metric.get(7)) and metric[3] > 1.6e12
        values[name] = value
    return Seen(kind, "/".join(device), seq, values, types, qos, retained)


class Host:
    """A host application: reads everything of the group."""

    def __init__(self, port: int) -> None:
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion

        self.seen: list[Seen] = []
        self._client = Client(CallbackAPIVersion.VERSION2)
        self._client.on_connect = lambda client, *_: client.subscribe("spBv1.0/Plant 1/+/#", qos=1)
        self._client.on_message = lambda _c, _d, m: (
            None if "/NCMD/" in m.topic else self.seen.append(read(m.topic, m.payload, m.qos, m.retain))
        )
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def of_kind(self, kind: str) -> list[Seen]:
        return [message for message in list(self.seen) if message.kind == kind]

    def command(self, payload: bytes, *, retain: bool = False) -> None:
        self._client.publish("spBv1.0/Plant 1/NCMD/box", payload, qos=0, retain=retain).wait_for_publish(5)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def host(broker: Broker) -> Iterator[Host]:
    made = Host(broker.port)
    yield made
    made.close()


@pytest.fixture
def monitor(tiny_model: Any, tmp_path: Path, broker: Broker) -> Iterator[Callable[..., MonitorChild]]:
    """Starts monitors of a recording, in alarm after a second, that are edge nodes."""
    tiny_model(threshold=0.02)
    samples = np.random.default_rng(0).uniform(-0.1, 0.1, 120 * RATE_HZ).astype(np.float32)
    samples[RATE_HZ:] *= 8
    soundfile.write(tmp_path / "a.wav", samples, RATE_HZ)
    children: list[MonitorChild] = []

    def start(*sources: str) -> MonitorChild:
        write_config(tmp_path / "monitor.toml", broker.port, *sources)
        children.append(MonitorChild(tmp_path / "monitor.toml"))
        return children[-1]

    yield start
    for child in children:
        child.kill()


def write_config(path: Path, port: int, *sources: str, node: str = "box") -> None:
    tables = "".join(f'[[source]]\nname = "{n}"\nkind = "file"\npath = "a.wav"\npace = "real-time"\n' for n in sources)
    path.write_text(
        f'[model]\npath = "model.onnx"\n{tables}'
        f'[mqtt]\nhost = "127.0.0.1"\nport = {port}\nsparkplug = {{group = "Plant 1", node = "{node}"}}\n'
    )


REBIRTH = b"\x08\x80\xa0\x94\xa5\x8d\x06" + b"\x12\x1a\n\x14Node Control/Rebirth\x20\x0bp\x01"
"""What a host sends, written out by hand: a timestamp, and a metric with a name, the data type 11 and true."""


def in_order(messages: list[Seen]) -> bool:
    """Each has the number after the one before, modulo 256, or begins anew with a node's birth."""
    numbered = [message for message in messages if message.kind != "NDEATH"]
    pairs = pairwise(numbered)
    return all(b.seq == (0 if b.kind == "NBIRTH" else ((a.seq or 0) + 1) % 256) for a, b in pairs)


def test_births_data_and_deaths_are_those_of_the_specification(
    monitor: Callable[..., MonitorChild], host: Host
) -> None:
    """NBIRTH with bdSeq and Rebirth, a DBIRTH each with types, DDATA of what changed, NDEATH at a stop."""
    child = monitor("pump 7/a", "fan")
    child.wait_for("alarm_raised", count=2)
    wait_until(lambda: any(m.values.get("Alarm") for m in host.of_kind("DDATA")))
    assert child.stop() == 0
    wait_until(lambda: host.of_kind("NDEATH"))
    node, *devices = host.seen[:3]
    assert (node.kind, node.seq, node.values["bdSeq"], node.values["Node Control/Rebirth"]) == ("NBIRTH", 0, 0, False)
    assert node.types["bdSeq"] == 4 and node.types["Node Control/Rebirth"] == 11
    assert [(m.kind, m.device, m.seq) for m in devices] == [("DBIRTH", "pump 7%2Fa", 1), ("DBIRTH", "fan", 2)]
    types = {"Alarm": 11, "Muted": 11, "State": 12, "Score": 10, "Threshold": 10, "Alarms Raised": 4}
    assert types.items() <= devices[0].types.items() and devices[0].values["Threshold"] == 0.02
    data = host.of_kind("DDATA")
    assert all(set(m.types.values()) == {None} and set(m.values) < set(devices[0].values) for m in data)
    raised = next(m for m in data if m.values.get("Alarm"))
    assert raised.values["Alarms Raised"] == 1
    assert in_order(host.seen)
    assert all((m.qos, m.retained) == (1 if m.kind == "NDEATH" else 0, False) for m in host.seen)
    (death,) = host.of_kind("NDEATH")
    assert death is host.seen[-1] and death.seq is None and death.values == {"bdSeq": 0}


def test_a_kill_and_a_broker_that_restarts(monitor: Callable[..., MonitorChild], host: Host, broker: Broker) -> None:
    """The will has the number of its birth; the next connection of the same monitor has the next number."""
    child = monitor("pump")
    wait_until(lambda: host.of_kind("DBIRTH"))
    broker.stop()
    broker.start()
    wait_until(lambda: len(host.of_kind("NBIRTH")) == 2, seconds=30)
    wait_until(lambda: len(host.of_kind("DBIRTH")) == 2)
    child.kill()
    wait_until(lambda: host.of_kind("NDEATH"))
    assert [m.values["bdSeq"] for m in host.of_kind("NBIRTH")] == [0, 1]
    assert host.of_kind("NDEATH")[-1].values == {"bdSeq": 1}


def test_a_rebirth_is_given_when_asked_for_and_nothing_else_is_obeyed(
    monitor: Callable[..., MonitorChild], host: Host
) -> None:
    """The command brings all births anew with the same bdSeq; what is malformed or retained is refused and logged."""
    host.command(REBIRTH, retain=True)
    child = monitor("pump")
    wait_until(lambda: host.of_kind("DBIRTH"))
    for payload in (b"\xff\xff", b"", REBIRTH[:-1] + b"\x00", b"x" * 10_000):
        host.command(payload)
    wait_until(lambda: b"".join(child.errors).count(b"command refused: Sparkplug NCMD") == 5)
    assert len(host.of_kind("NBIRTH")) == 1
    host.command(REBIRTH)
    wait_until(lambda: len(host.of_kind("DBIRTH")) == 2)
    assert [m.values["bdSeq"] for m in host.of_kind("NBIRTH")] == [0, 0]
    assert in_order(host.seen)
    assert child.stop() == 0


def test_a_reload_kills_the_device_that_went_and_bears_the_one_that_came(
    monitor: Callable[..., MonitorChild], host: Host, tmp_path: Path, broker: Broker
) -> None:
    """DDEATH for what is no more, then all births."""
    child = monitor("pump", "fan")
    wait_until(lambda: len(host.of_kind("DBIRTH")) == 2)
    write_config(tmp_path / "monitor.toml", broker.port, "pump", "press")
    child.reload()
    wait_until(lambda: len(host.of_kind("DBIRTH")) == 4)
    assert [m.device for m in host.of_kind("DDEATH")] == ["fan"]
    assert [m.device for m in host.of_kind("DBIRTH")] == ["pump", "fan", "pump", "press"]
    assert in_order(host.seen)


def source(**values: Any) -> SourceSnapshot:
    base: dict[str, Any] = {"name": "pump", "model": "model", "model_fingerprint": "abc", "state": State.OK}
    base |= {"score": 0.1, "smoothed_score": 0.1, "threshold": 0.2, "in_alarm": False, "counts": Counts()}
    base |= {"drift_ppm": None, "level_dbfs": None, "waiting_seconds": 0.0, "live": True, "ended": False}
    return SourceSnapshot(**base | values)


def test_sequence_numbers_wrap_and_a_score_alone_waits() -> None:
    """After 255 comes 0; a change of the score is told after SLOW_SECONDS, one of the alarm at once, and only it."""
    now = 0.0
    role = Sparkplug(Commands(None), group="Plant 1", node="box", clock=lambda: now)
    assert read(*role.will()[:2]).values == {"bdSeq": 0}
    messages = list(role.born([source()]))
    assert role.changed([source(smoothed_score=0.15)]) == []
    for turn in range(600):
        now += SLOW_SECONDS
        messages += role.changed([source(smoothed_score=(0.11, 0.12)[turn % 2])])
    seen = [read(m.topic, m.payload) for m in messages]
    assert len(seen) == 602 and in_order(seen) and {m.seq for m in seen} == set(range(256))
    (alarm,) = role.changed([source(smoothed_score=0.12, in_alarm=True)])
    assert read(alarm.topic, alarm.payload).values == {"Alarm": True}
    (gone,) = role.changed([source(smoothed_score=0.12, state=State.MISSING)])
    assert read(gone.topic, gone.payload).values == {"Alarm": None, "State": "MISSING", "Score": None}


def test_birth_numbers_wrap_and_count_only_connections() -> None:
    """A connection that was never made uses no number; after 255 comes 0; a rebirth keeps it."""
    role = Sparkplug(Commands(None), group="Plant 1", node="box")
    numbers = []
    for _ in range(300):
        role.will()
        numbers.append(read(*role.will()[:2]).values["bdSeq"])
        role.born([])
        role.received(Arrived("spBv1.0/Plant 1/NCMD/box", REBIRTH, False))
        (node,) = role.changed([])
        assert read(node.topic, node.payload).values["bdSeq"] == numbers[-1]
    assert numbers == [turn % 256 for turn in range(300)]


def test_names_that_are_no_level_of_a_topic_are_refused(tmp_path: Path) -> None:
    """A node called a/b is a fault of the configuration."""
    write_config(tmp_path / "monitor.toml", 1883, "pump", node="a/b")
    with pytest.raises(ConfigError, match="one level of a topic"):
        load_config(tmp_path / "monitor.toml")


def test_without_protobuf_the_command_to_install_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """One clear line, also where the whole package google is missing."""
    for name in ("google", "google.protobuf"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(Unavailable, match=r"dasvdd\[sparkplug\]"):
        Sparkplug(Commands(None), group="Plant 1", node="box")
