"""Sparkplug B with the real program and a real broker, read as a host application reads it, without protobuf."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from dasvdd_runtime.condition.health import State
from dasvdd_runtime.configuration.config import load_config
from dasvdd_runtime.errors import ConfigError, Unavailable
from dasvdd_runtime.integrations.birth_number import FILE_NAME, BirthNumber
from dasvdd_runtime.integrations.link import Arrived
from dasvdd_runtime.integrations.sparkplug import SLOW_SECONDS
from monitor_child import MonitorChild
from mosquitto_broker import Broker
from mqtt_monitor import write_config
from scraping import wait_until
from sparkplug_host import REBIRTH, Host, edge_node, in_order, read, source


@pytest.fixture
def monitor(alarmed_monitor: Callable[..., MonitorChild]) -> Callable[..., MonitorChild]:
    """Starts monitors that are edge nodes."""
    return partial(alarmed_monitor, mqtt=sparkplug())


def sparkplug(more: str = "", *, node: str = "box") -> str:
    """The key of `[mqtt]`."""
    return f'sparkplug = {{group = "Plant 1", node = "{node}"{more}}}'


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
    """The will has the number of its birth; the next connection has the next number, also of another monitor."""
    child = monitor("pump")
    wait_until(lambda: host.of_kind("DBIRTH"))
    broker.stop()
    broker.start()
    wait_until(lambda: len(host.of_kind("NBIRTH")) == 2, seconds=30)
    wait_until(lambda: len(host.of_kind("DBIRTH")) == 2)
    child.kill()
    wait_until(lambda: host.of_kind("NDEATH"))
    assert host.of_kind("NDEATH")[-1].values == {"bdSeq": 1}
    monitor("pump")
    wait_until(lambda: len(host.of_kind("NBIRTH")) == 3)
    assert [m.values["bdSeq"] for m in host.of_kind("NBIRTH")] == [0, 1, 2]


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
    write_config(tmp_path / "monitor.toml", broker.port, "pump", "press", mqtt=sparkplug())
    child.reload()
    wait_until(lambda: len(host.of_kind("DBIRTH")) == 4)
    assert [m.device for m in host.of_kind("DDEATH")] == ["fan"]
    assert [m.device for m in host.of_kind("DBIRTH")] == ["pump", "fan", "pump", "press"]
    assert in_order(host.seen)


def test_sequence_numbers_wrap_and_a_score_alone_waits(tmp_path: Path) -> None:
    """After 255 comes 0; a change of the score is told after SLOW_SECONDS, one of the alarm at once, and only it."""
    now = 0.0
    role = edge_node(tmp_path, clock=lambda: now)
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


def test_birth_numbers_wrap_and_count_only_connections(tmp_path: Path) -> None:
    """A connection that was never made uses no number; after 255 comes 0; a rebirth keeps it."""
    role = edge_node(tmp_path)
    numbers = []
    for _ in range(300):
        role.will()
        numbers.append(read(*role.will()[:2]).values["bdSeq"])
        role.born([])
        role.received(Arrived("spBv1.0/Plant 1/NCMD/box", REBIRTH, False))
        (node,) = role.changed([])
        assert read(node.topic, node.payload).values["bdSeq"] == numbers[-1]
    assert numbers == [turn % 256 for turn in range(300)]


@pytest.mark.parametrize(
    ("before", "expected"), [(None, 0), (b"7\n", 8), (b"255\n", 0), (b"256\n", 0), (b"\xff\x00", 0), (b"", 0)]
)
def test_birth_numbers_go_on_after_a_restart(tmp_path: Path, before: bytes | None, expected: int) -> None:
    """The next start takes the number after the one that was noted before it was used; a damaged file begins with 0."""
    if before is not None:
        (tmp_path / FILE_NAME).write_bytes(before)
    number = BirthNumber(tmp_path)
    number.keep()
    assert number.value == expected
    assert BirthNumber(tmp_path).value == expected + 1


def test_a_disk_that_takes_no_birth_number_stops_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is told of once, and the numbers go on."""
    number = BirthNumber(tmp_path / "file" / "below")
    (tmp_path / "file").write_bytes(b"")
    for _ in range(3):
        number.keep()
        number.advance()
    assert number.value == 3
    assert caplog.text.count("cannot be written") == 1


@pytest.mark.parametrize(("node", "more"), [("a/b", ""), ("box", ', primary_host = "+"')])
def test_names_that_are_no_level_of_a_topic_are_refused(tmp_path: Path, node: str, more: str) -> None:
    """A node called a/b and a host called + are faults of the configuration."""
    write_config(tmp_path / "monitor.toml", 1883, "pump", mqtt=sparkplug(more, node=node))
    with pytest.raises(ConfigError, match="one level of a topic"):
        load_config(tmp_path / "monitor.toml")


def test_without_protobuf_the_command_to_install_it_is_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One clear line, also where the whole package google is missing."""
    for name in ("google", "google.protobuf"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(Unavailable, match=r"dasvdd\[sparkplug\]"):
        edge_node(tmp_path)
