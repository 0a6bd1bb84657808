"""What happened while no Sparkplug host could be told is told later, as the past."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from dasvdd_runtime.integrations.backlog import BATCH, SURE_MILLISECONDS
from dasvdd_runtime.integrations.link import Arrived
from dasvdd_runtime.integrations.sparkplug import Sparkplug
from dasvdd_runtime.sinks.outbox_store import Row
from monitor_child import MonitorChild
from scraping import wait_until
from sparkplug_host import REBIRTH, Host, Seen, edge_node, in_order, read, source, state

BORN = 1_800_000_000_000
"""Milliseconds since 1970."""


@pytest.fixture
def monitor(alarmed_monitor: Callable[..., MonitorChild]) -> Callable[..., MonitorChild]:
    """Starts monitors that are edge nodes of a primary host."""
    return partial(alarmed_monitor, mqtt='sparkplug = {group = "Plant 1", node = "box", primary_host = "scada"}')


def milliseconds(event: dict[str, Any]) -> int:
    return round(1000 * datetime.fromisoformat(event["time"]).timestamp())


def test_an_alarm_that_rose_while_the_host_was_away_is_told_with_its_time_once(
    monitor: Callable[..., MonitorChild], host: Host
) -> None:
    """After the births, as historical; a rebirth does not tell it again, and a restart of the monitor forgets none."""
    child = monitor("pump")
    raised = milliseconds(child.wait_for("alarm_raised"))
    child.kill()
    child = monitor("pump")
    again = milliseconds(child.wait_for("alarm_raised"))
    host.tell_state(state(True))
    wait_until(lambda: alarms_of(host))
    host.command(REBIRTH)
    wait_until(lambda: len(host.of_kind("DBIRTH")) == 2)
    wait_until(lambda: host.seen[-1].kind == "DDATA")
    assert alarms_of(host) == [raised, again]
    assert [m.kind for m in host.seen[:4]] == ["NDEATH", "NBIRTH", "DBIRTH", "DDATA"]
    assert in_order(host.seen)


def alarms_of(host: Host) -> list[int]:
    """When the alarms were that are told as past ones."""
    return [at for m in host.of_kind("DDATA") for name, at in m.every_past if name == "Alarm"]


def row(id: int, kind: str, at: int, **fields: Any) -> Row:
    stamp = datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds")
    return Row(id, True, json.dumps({"event": kind, "time": stamp, "source": "pump", **fields}))


class Node:
    """An edge node whose outbox holds `rows`, and whose clock stands."""

    def __init__(self, folder: Path, rows: list[Row]) -> None:
        self.rows, self.now = rows, BORN
        self.role: Sparkplug = edge_node(folder, rows=rows, now_milliseconds=lambda: self.now)

    def connect(self) -> None:
        self.role.will()
        self.role.born([source()])

    def turn(self) -> list[Seen]:
        """What is told in one turn."""
        return [read(m.topic, m.payload) for m in self.role.changed([source()])]


def test_each_kind_of_event_is_the_metric_that_it_changed(tmp_path: Path) -> None:
    """With the event's own time and no other metric; what changes none, is damaged or of no device is passed over."""
    rows = [
        row(1, "source_state", BORN - 9000, state="SILENT"),
        row(2, "alarm_raised", BORN - 8000),
        row(3, "alarm_cleared", BORN - 7000, latched=True),
        Row(4, True, '{"event": "alarm_cl'),
        row(5, "muted", BORN - 6000, source=None),
        row(6, "summary", BORN - 5000),
        row(7, "alarm_raised", BORN - 4000, source="a pump that is no more"),
        row(8, "alarm_cleared", BORN - 3000, latched=False),
    ]
    node = Node(tmp_path, rows)
    node.connect()
    (told,) = node.turn()
    assert told.every_past == [
        ("State", BORN - 9000),
        ("Alarm", BORN - 8000),
        ("Muted", BORN - 6000),
        ("Alarm", BORN - 3000),
    ]
    assert (told.values, told.types["Alarm"]) == ({"State": "SILENT", "Alarm": False, "Muted": True}, None)
    assert node.turn() == [] and node.rows == []


def test_what_was_told_on_a_connection_that_broke_at_once_is_told_again(tmp_path: Path) -> None:
    """It is let go of a turn later, so that nothing is lost between the two."""
    node = Node(tmp_path, [row(1, "alarm_raised", BORN - 1000)])
    for _ in range(2):
        node.connect()
        assert len(node.turn()) == 1
    assert node.turn() == [] and node.rows == []


def test_events_after_the_birth_are_kept_until_the_connection_outlived_them(tmp_path: Path) -> None:
    """They are told as they happen; where the end of the connection shows late, they are told again as the past."""
    node = Node(tmp_path, [row(1, "alarm_raised", BORN + 1000)])
    node.connect()
    node.now = BORN + SURE_MILLISECONDS
    node.role.received(Arrived("spBv1.0/Plant 1/NCMD/box", REBIRTH, retained=False))
    assert [m.kind for m in node.turn()] == ["NBIRTH", "DBIRTH"]
    assert node.turn() == [] and len(node.rows) == 1
    node.connect()
    assert [m.every_past for m in node.turn()] == [[("Alarm", BORN + 1000)]]


def test_after_a_long_time_events_are_told_in_parts(tmp_path: Path) -> None:
    """Batch by batch, none twice, and an old live one is let go of."""
    node = Node(tmp_path, [row(i, "alarm_raised", BORN - 10_000 + i) for i in range(2 * BATCH + 1)])
    node.connect()
    assert [len(m.every_past) for _ in range(4) for m in node.turn()] == [BATCH, BATCH, 1]
    node.rows.append(row(9999, "alarm_raised", BORN + 5))
    node.now = BORN + 6 + SURE_MILLISECONDS
    assert node.turn() == [] and node.rows == []
