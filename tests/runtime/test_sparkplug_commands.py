"""What Sparkplug hosts ask of the monitor: births for a primary host, and commands to devices. With a real broker."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from dasvdd_runtime.errors import DataError
from dasvdd_runtime.integrations.commands import Commands
from dasvdd_runtime.integrations.link import Arrived
from dasvdd_runtime.integrations.sparkplug import Sparkplug
from dasvdd_runtime.integrations.sparkplug_host import PrimaryHost
from dasvdd_runtime.state.state_store import StateStore
from monitor_child import MonitorChild
from mosquitto_broker import Broker
from scraping import wait_until
from sparkplug_host import REBIRTH, Host, command, edge_node, in_order, read, source, state

SPARKPLUG = 'sparkplug = {group = "Plant 1", node = "box"}'
WAITING = 'sparkplug = {group = "Plant 1", node = "box", primary_host = "scada"}'
STATE_DIRECTORY = '[state]\ndirectory = "state"\n[alarm]\nlatch = true\n'
ACKNOWLEDGE, MUTE, RESULT = "Device Control/Acknowledge", "Device Control/Mute Minutes", "Device Control/Result"


@pytest.fixture
def monitor(alarmed_monitor: Callable[..., MonitorChild]) -> Callable[..., MonitorChild]:
    """Starts monitors that are edge nodes, with a state directory."""
    return partial(alarmed_monitor, mqtt=SPARKPLUG, more=STATE_DIRECTORY)


@pytest.fixture
def role(tmp_path: Path) -> Sparkplug:
    """An edge node with one device, born, on a state directory."""
    store, _ = StateStore.open_or_renew(tmp_path)
    store.close()
    made = edge_node(tmp_path, commands=Commands(tmp_path))
    made.born([source()])
    return made


@pytest.fixture
def told(role: Sparkplug) -> Callable[[], str]:
    """The result that the next data of the device hold; empty where they hold none."""

    def next_result() -> str:
        seen = [read(message.topic, message.payload) for message in role.changed([source()])]
        return "".join(message.values[RESULT] for message in seen)

    return next_result


def test_births_wait_for_the_primary_host_and_follow_it(
    monitor: Callable[..., MonitorChild], host: Host, broker: Broker
) -> None:
    """None before it is online; a death when it goes, and births with the next number when it is back."""
    host.tell_state(state(False))
    child = monitor("pump", mqtt=WAITING)
    wait_until(lambda: b"waiting for the primary host" in b"".join(child.errors))
    child.wait_for("alarm_raised")
    host.command(REBIRTH)
    wait_until(lambda: b"command refused" in b"".join(child.errors))
    assert not host.seen
    host.tell_state(state(True))
    wait_until(lambda: host.of_kind("DBIRTH"))
    host.tell_state(state(False))
    wait_until(lambda: host.of_kind("NDEATH"))
    wait_until(lambda: b"".join(child.errors).count(b"waiting for the primary host") == 2)
    assert host.seen[-1].kind == "NDEATH"
    host.tell_state(state(True))
    wait_until(lambda: len(host.of_kind("DBIRTH")) == 2)
    assert child.stop() == 0
    wait_until(lambda: len(host.of_kind("NDEATH")) == 2)
    assert [m.values["bdSeq"] for m in host.of_kind("NBIRTH")] == [0, 1]
    assert [m.values["bdSeq"] for m in host.of_kind("NDEATH")] == [0, 1]
    assert in_order(host.seen)


def test_a_state_that_is_old_or_malformed_changes_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The will of a connection that the host gave up is left out, as is what is no JSON of the specification."""
    role = edge_node(tmp_path, primary_host="scada")
    role.will()
    assert role.born([]) == [] and role.changed([]) == []

    def hear(payload: bytes) -> int:
        role.received(Arrived("spBv1.0/STATE/scada", payload, retained=True))
        return len(role.changed([]))

    wrong = (b"ONLINE", b'{"online": 1, "timestamp": 1}', b'{"online": true, "timestamp": -1}', b"\xff")
    assert [hear(payload) for payload in wrong] == [0] * 4
    assert hear(state(True, milliseconds=1000)) == 1
    assert hear(state(False, milliseconds=999)) == 0 and not role.over
    assert "timestamp 999 is before that of an earlier one, 1000" in caplog.text
    hear(state(False, milliseconds=1000))
    assert role.over


def test_a_new_connection_hears_again_whether_the_host_is_there() -> None:
    """What was online on one connection is unknown on the next, and what is older than it stays out."""
    host = PrimaryHost("scada")
    host.hear(state(True, milliseconds=5))
    host.forget()
    assert not host.online
    with pytest.raises(DataError, match="clock of the host"):
        host.hear(state(True, milliseconds=4))
    host.hear(state(True, milliseconds=5))
    assert host.online


def test_a_device_is_acknowledged_and_muted_as_on_the_command_line(
    monitor: Callable[..., MonitorChild], host: Host
) -> None:
    """Writing the metrics of its birth judges its alarms and mutes it; what came of each is told, with the change."""
    child = monitor("pump 7/a")
    alarm = child.wait_for("alarm_raised")["alarm"]
    (birth,) = wait_until(lambda: host.of_kind("DBIRTH"))
    assert (birth.types[ACKNOWLEDGE], birth.types[MUTE], birth.types[RESULT]) == (12, 10, 12)
    host.command(command(ACKNOWLEDGE, text="real"), device=birth.device)
    told = child.wait_for("alarm_acknowledged")
    assert (told["alarm"], told["verdict"]) == (alarm, "real")
    host.command(command(MUTE, double=30), device=birth.device)
    assert child.wait_for("muted")["seconds"] == pytest.approx(1800, abs=5)
    wait_until(lambda: any(m.values.get("Muted") for m in host.of_kind("DDATA")))
    host.command(command(MUTE, double=0), device=birth.device)
    child.wait_for("unmuted")
    results = wait_until(lambda: len(found := results_of(host)) == 3 and found)
    assert [result.split(" ", 1)[1] for result in results] == [
        "1 alarms judged as real",
        "muted for 30 min",
        "muted no longer",
    ]
    assert in_order(host.seen)


def results_of(host: Host) -> list[str]:
    return [m.values[RESULT] for m in host.of_kind("DDATA") if m.values.get(RESULT)]


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (command(ACKNOWLEDGE, text="maybe"), "Input should be 'real', 'false' or 'unknown'"),
        (command(ACKNOWLEDGE, boolean=True), "Input should be 'real', 'false' or 'unknown'"),
        (command(MUTE, double=-1), "a mute lasts at most 10080"),
        (command(MUTE, double=float("nan")), "a mute lasts at most 10080"),
        (command(MUTE, double=0), "not muted"),
        (command("Alarm", boolean=False), "'Alarm' is none of"),
        (b"\xff", "is no Sparkplug payload"),
        (b"", "it holds no metric"),
        (command(MUTE, text="Bü").replace(b"\xc3", b"\xff"), "text that is not UTF-8"),
        (REBIRTH[:7] + 30 * command("x", boolean=True)[7:], "it holds 30 metrics"),
    ],
)
def test_a_write_that_is_refused_is_told_to_the_host(
    role: Sparkplug, told: Callable[[], str], payload: bytes, reason: str
) -> None:
    """With the reason, as the device's next data; it is counted and changes nothing."""
    role.received(Arrived("spBv1.0/Plant 1/DCMD/box/pump", payload, retained=False))
    assert "refused: " in (result := told()) and reason in result


def test_a_write_that_the_broker_kept_or_that_has_no_device_is_refused(
    role: Sparkplug, told: Callable[[], str]
) -> None:
    """It may be of any age; and a device that was not born tells nothing."""
    mute = command(MUTE, double=5)
    role.received(Arrived("spBv1.0/Plant 1/DCMD/box/pump", mute, retained=True))
    assert "it may be of any age" in told()
    role.received(Arrived("spBv1.0/Plant 1/DCMD/box/fan", mute, retained=False))
    assert told() == ""


def test_any_bytes_are_refused_without_a_fault(role: Sparkplug, told: Callable[[], str]) -> None:
    """A command cut at every length, and with bytes changed at random, is obeyed or refused, never raised."""
    whole = command(MUTE, double=5)
    random.seed(1)
    for length in range(len(whole)):
        role.received(Arrived("spBv1.0/Plant 1/DCMD/box/pump", whole[:length], retained=False))
    for _ in range(500):
        broken = bytearray(whole)
        for _ in range(3):
            broken[random.randrange(len(broken))] = random.randrange(256)
        role.received(Arrived("spBv1.0/Plant 1/DCMD/box/pump", bytes(broken), retained=False))
        told()
