"""SIGHUP with other receivers, topics and addresses, while samples come and alarms rise."""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import time
from collections.abc import Callable, Iterable
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
from monitor_child import MonitorChild
from mosquitto_broker import Broker, free_port
from reloading import reload, stopped_without_a_gap, write
from scraping import fetch, wait_until
from webhook_server import Server


class Listener:
    """Everything that a broker gets, in order, and what it retains by topic."""

    def __init__(self, port: int, **credentials: str) -> None:
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion

        self.heard: list[tuple[str, str]] = []
        self.retained: dict[str, str] = {}
        self._client = Client(CallbackAPIVersion.VERSION2)
        if credentials:
            self._client.username_pw_set(**credentials)
        self._client.on_connect = lambda client, *_: client.subscribe("#", qos=1)
        self._client.on_message = lambda _c, _d, m: self._keep(m.topic, m.payload.decode(errors="replace"), m.retain)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def _keep(self, topic: str, text: str, retained: bool) -> None:
        self.heard.append((topic, text))
        if retained:
            self.retained[topic] = text

    def topics(self) -> set[str]:
        return {topic for topic, _ in list(self.heard)}

    def newest(self) -> dict[str, str]:
        """The last message of each topic."""
        return dict(self.heard)

    def ids(self) -> list[str]:
        """Of the events, in the order of their first arrival."""
        events = [text for topic, text in list(self.heard) if topic.endswith("/event")]
        return list(dict.fromkeys(json.loads(text)["id"] for text in events))

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def retained(port: int, **credentials: str) -> dict[str, str]:
    """What a broker tells somebody who comes late."""
    late = Listener(port, **credentials)
    time.sleep(0.5)
    late.close()
    return late.retained


def test_other_topics_broker_and_credentials_lose_no_event_and_no_sample(
    paced_monitor: Callable[..., Any], make_broker: Callable[..., Broker], tmp_path: Path, require_program: Any
) -> None:
    """Prefix, then broker with a password, while alarms flow: all arrive in order, old topics die."""
    passwords, secret = tmp_path / "passwords", tmp_path / "secret"
    subprocess.run([require_program("mosquitto_passwd"), "-c", "-b", passwords, "monitor", "right"], check=True)
    passwords.chmod(0o644)
    secret.write_text("right\n")
    first = make_broker()
    first.start()
    second = make_broker(more=f"allow_anonymous false\npassword_file {passwords}\n")
    second.start()
    login = {"username": "monitor", "password": "right"}
    one, two = Listener(first.port), Listener(second.port, **login)
    mqtt = '[mqtt]\nhost = "127.0.0.1"\nport = {port}\nprefix = "{prefix}"\n'
    child = paced_monitor(mqtt.format(port=first.port, prefix="old"), seconds=8)
    child.wait_for("alarm_cleared")
    wait_until(lambda: "old/m/alarm" in one.newest())

    write(tmp_path, mqtt.format(port=first.port, prefix="new"), seconds=8)
    assert reload(child)["changed"] == ["[mqtt]"]
    child.wait_for("alarm_raised", count=len(child.of_kind("alarm_raised")) + 1)
    wait_until(lambda: one.newest().get("new/m/alarm"))
    assert retained(first.port).keys() == {"old/status", "new/status", "new/m/state", "new/m/alarm"}
    assert (one.newest()["old/status"], one.newest()["new/status"]) == ("offline", "online")
    assert json.loads(one.newest()["new/m/state"])["state"] == "OK"

    secure = mqtt.format(port=second.port, prefix="new") + 'username = "monitor"\npassword_file = "secret"\n'
    write(tmp_path, secure, seconds=8)
    reload(child)
    child.wait_for("alarm_raised", count=len(child.of_kind("alarm_raised")) + 1)
    wait_until(lambda: two.newest().get("new/m/alarm"))
    assert retained(first.port) == {"old/status": "offline", "new/status": "offline"}
    assert retained(second.port, **login).keys() == {"new/status", "new/m/state", "new/m/alarm"}

    events = stopped_without_a_gap(child, 8)
    wait_until(lambda: two.newest()["new/status"] == "offline")
    assert one.ids() + two.ids() == [event["id"] for event in events]
    one.close()
    two.close()
    assert "right" not in b"".join(child.errors).decode()


def test_what_waits_for_a_broker_that_is_away_goes_to_the_next(
    paced_monitor: Callable[..., Any], make_broker: Callable[..., Broker], tmp_path: Path
) -> None:
    """Events of the time without a broker arrive at the new one from the first on, and the log tells of the old."""
    broker = make_broker()
    broker.start()
    listener = Listener(broker.port)
    mqtt = '[mqtt]\nhost = "127.0.0.1"\nport = {port}\nprefix = "site"\n'
    child = paced_monitor(mqtt.format(port=free_port()), seconds=4)
    child.wait_for("alarm_cleared")
    write(tmp_path, mqtt.format(port=broker.port), seconds=4)
    reload(child)
    events = stopped_without_a_gap(child, 4)
    assert listener.ids() == [event["id"] for event in events]
    listener.close()


REFUSALS = {
    "a port in use": '[http]\nlisten = "127.0.0.1:{taken}"\n',
    "a token that is not there": '[[webhook]]\nname = "two"\nurl = "http://127.0.0.1:1/"\ntoken_file = "nowhere"\n',
    "a folder that cannot be made": '[evidence]\ndirectory = "model.onnx/clips"\n',
    "a password that is not there": '[mqtt]\nhost = "127.0.0.1"\nusername = "a"\npassword_file = "nowhere"\n',
    "an event file that cannot be": "path = 'model.onnx/events.jsonl'\n",
    "a model that is damaged": "",
}


@pytest.mark.parametrize("fault", REFUSALS)
def test_a_fault_in_one_part_changes_nothing(paced_monitor: Callable[..., Any], tmp_path: Path, fault: str) -> None:
    """Old endpoint, receivers and files stay, nothing listens or connects anew, and the reason is told."""
    port, new_port = free_port(), free_port()
    old = f'[http]\nlisten = "127.0.0.1:{port}"\n'
    child = paced_monitor(old, seconds=3)
    child.wait_for("score")
    descriptors = descriptors_of(child)
    with socket.create_server(("127.0.0.1", 0)) as receiver, socket.create_server(("127.0.0.1", 0)) as taken:
        broken = REFUSALS[fault].format(taken=taken.getsockname()[1])
        new = f'[[webhook]]\nurl = "http://127.0.0.1:{receiver.getsockname()[1]}/"\n'
        if "[http]" not in broken:
            new += f'[http]\nlisten = "127.0.0.1:{new_port}"\n'
        if broken.startswith("path"):
            new, broken = broken + new, ""
        elif "[events]" not in broken:
            new = 'path = "other.jsonl"\n' + new
        if fault == "a model that is damaged":
            (tmp_path / "model.onnx").write_bytes(b"no model")
        write(tmp_path, new + broken, seconds=3)
        refused = reload(child)
        assert refused["event"] == "reload_refused" and len(refused["reason"]) > 20
        assert fetch(port, "/healthz")[0] == 200
        with pytest.raises(OSError):
            fetch(new_port, "/healthz")
        receiver.settimeout(0.5)
        with pytest.raises(TimeoutError):
            receiver.accept()
        assert descriptors_of(child) == descriptors
    stopped_without_a_gap(child, 3)


def descriptors_of(child: MonitorChild) -> int:
    return len(os.listdir(f"/proc/{child.process.pid}/fd"))  # noqa: PTH208 - not files


def threads_of(child: MonitorChild) -> int:
    return len(os.listdir(f"/proc/{child.process.pid}/task"))  # noqa: PTH208 - not files


def test_the_endpoint_moves(paced_monitor: Callable[..., Any], tmp_path: Path) -> None:
    """Another token at the same address, all addresses of the same port, another port, none, and back."""
    (tmp_path / "one").write_text("token-one")
    (tmp_path / "two").write_text("token-two")
    port, other = free_port(), free_port()
    table = '[http]\nlisten = "{}:{}"\ntoken_file = "{}"\n'
    child = paced_monitor(table.format("127.0.0.1", port, "one"), seconds=4)
    child.wait_for("started")
    wait_until(lambda: json.loads(fetch(port, "/api/history", token="token-one")[1])["steps"])
    for host, at, token in (
        ("127.0.0.1", port, "two"),
        ("0.0.0.0", port, "two"),
        ("127.0.0.1", port, "one"),
        ("127.0.0.1", other, "one"),
    ):
        write(tmp_path, table.format(host, at, token), seconds=4)
        assert reload(child)["changed"] == ["[http]"]
        for name in ("one", "two"):
            status, text = fetch(at, "/metrics", token=f"token-{name}")
            assert status == (200 if name == token else 401)
            assert ('kind="reloaded"' in text) == (name == token)
        curves = json.loads(fetch(at, "/api/history", token=f"token-{token}")[1])
        assert curves["steps"]
    with pytest.raises(OSError):
        fetch(port, "/healthz")
    write(tmp_path, "", seconds=4)
    reload(child)
    with pytest.raises(OSError):
        fetch(other, "/healthz")
    write(tmp_path, table.format("127.0.0.1", port, "one"), seconds=4)
    reload(child)
    assert fetch(port, "/metrics", token="token-one")[0] == 200
    stopped_without_a_gap(child, 4)


def test_a_webhook_comes_and_goes(paced_monitor: Callable[..., Any], tmp_path: Path) -> None:
    """A new one gets what comes from `reloaded` on; after its removal it gets nothing."""
    server = Server(lambda number, body: 200)
    child = paced_monitor("", seconds=4)
    child.wait_for("alarm_raised")
    write(tmp_path, f'[webhook]\nurl = "{server.url}"\n', seconds=4)
    came = reload(child)
    child.wait_for("alarm_raised", count=len(child.of_kind("alarm_raised")) + 1)
    write(tmp_path, "", seconds=4)
    went = reload(child)
    events = stopped_without_a_gap(child, 4)
    ids = [event["id"] for event in events]
    server.close()
    assert [event["id"] for event in server.events()] == ids[ids.index(came["id"]) : ids.index(went["id"])]


def test_home_assistant_forgets_the_old_prefix(
    paced_monitor: Callable[..., Any], make_broker: Callable[..., Broker], tmp_path: Path
) -> None:
    """No entity of the old prefix stays behind, and as many as before are announced below the new one."""
    broker = make_broker()
    broker.start()
    mqtt = f'[mqtt]\nhost = "127.0.0.1"\nport = {broker.port}\nhome_assistant = true\nprefix = '
    child = paced_monitor(mqtt + '"old"\n', seconds=5)
    wait_until(lambda: len([t for t in retained(broker.port) if t.startswith("homeassistant/")]) == 4)
    write(tmp_path, mqtt + '"new"\n', seconds=5)
    reload(child)
    wait_until(lambda: retained(broker.port).get("new/home_assistant") == "online")
    kept = retained(broker.port)
    assert {topic for topic in kept if topic.startswith("old/")} == {"old/status"}
    configs = [json.loads(text) for topic, text in kept.items() if topic.startswith("homeassistant/")]
    assert len(configs) == 4 and all(config["availability_topic"] == "new/home_assistant" for config in configs)
    stopped_without_a_gap(child, 5)


def test_what_is_now_is_told_from_a_reload_on_and_until_another(
    paced_monitor: Callable[..., Any], make_broker: Callable[..., Broker], tmp_path: Path
) -> None:
    """[mqtt] with both integrations comes and goes: a node is born and dies, entities are announced and taken back."""
    broker = make_broker()
    broker.start()
    listener = Listener(broker.port)
    child = paced_monitor("", seconds=5)
    child.wait_for("score")
    mqtt = f'[mqtt]\nhost = "127.0.0.1"\nport = {broker.port}\nprefix = "site"\nhome_assistant = true\n'
    write(tmp_path, mqtt + 'sparkplug = { group = "g", node = "n" }\n', seconds=5)
    reload(child)
    wait_until(lambda: {"site/home_assistant", "site/m/now"} < retained(broker.port).keys())
    wait_until(lambda: "spBv1.0/g/DBIRTH/n/m" in listener.topics())
    write(tmp_path, "", seconds=5)
    reload(child)
    wait_until(lambda: "spBv1.0/g/NDEATH/n" in listener.topics())
    assert [topic for topic in retained(broker.port) if "homeassistant" in topic or topic.endswith("/now")] == []
    assert listener.newest()["site/status"] == "offline"
    stopped_without_a_gap(child, 5)
    listener.close()


def test_what_takes_a_restart_is_named_and_the_rest_taken(paced_monitor: Callable[..., Any], tmp_path: Path) -> None:
    """Another state directory and `latch` stay as they were, in every reload; the event file moves."""
    child = paced_monitor('path = "a.jsonl"\n[state]\ndirectory = "one"\n', seconds=3)
    child.wait_for("score")
    write(tmp_path, 'path = "b.jsonl"\n[state]\ndirectory = "two"\n[alarm]\nlatch = true\n', seconds=3)
    for _ in range(2):
        reloaded = reload(child)
        assert reloaded["restart_needed"] == ["[alarm] latch", "[state] directory"]
    assert reloaded["changed"] == []
    assert child.of_kind("reloaded")[0]["changed"] == ["[events]"]
    events = stopped_without_a_gap(child, 3)
    assert not (tmp_path / "two").exists() and (tmp_path / "one" / "evidence").exists()
    lines = [json.loads(line) for name in ("a", "b") for line in (tmp_path / f"{name}.jsonl").read_text().splitlines()]
    assert [line["id"] for line in lines if line["event"] != "score"] == [event["id"] for event in events]
    assert json.loads((tmp_path / "b.jsonl").read_text().splitlines()[0])["event"] == "reloaded"
    assert "only a restart" in b"".join(child.errors).decode()


@pytest.mark.slow
def test_a_hundred_reloads_leave_no_gap_and_nothing_open(
    paced_monitor: Callable[..., Any], make_broker: Callable[..., Broker], tmp_path: Path
) -> None:
    """SIGHUP at random moments with alternating configurations: every sample and event, as many files and threads."""
    broker, hook, ports = make_broker(), Server(lambda number, body: 200), (free_port(), free_port())
    broker.start()
    listener, seeded, seconds = Listener(broker.port), random.Random(0), 20

    def tables(number: int) -> str:
        letter = "ab"[number % 2]
        mqtt = f'[mqtt]\nhost = "127.0.0.1"\nport = {broker.port}\nprefix = "{letter}"\n'
        webhook = f'[webhook]\nname = "{letter}"\nurl = "{hook.url}"\n'
        http = f'[http]\nlisten = "127.0.0.1:{ports[number % 2]}"\n'
        mode = ("audio", "spectrogram", "none")[number % 3]
        evidence = f'[evidence]\nmode = "{mode}"\ndirectory = "clips-{letter}"\n'
        return f'path = "{letter}.jsonl"\n[state]\ndirectory = "state"\n{evidence}{mqtt}{webhook}{http}'

    child = paced_monitor(tables(0), seconds=seconds)
    child.wait_for("score")

    def go(numbers: Iterable[int]) -> None:
        for number in numbers:
            write(tmp_path, tables(number) if number % 10 else tables(number) + "[nonsense]\n", seconds=seconds)
            child.reload()
            time.sleep(seeded.uniform(0.02, 0.3))

    def at_rest() -> tuple[int, int]:
        write(tmp_path, tables(0), seconds=seconds)
        # The first answer may be to the signal before.
        wait_until(lambda: reload(child)["event"] == "reloaded")
        time.sleep(1)
        return descriptors_of(child), threads_of(child)

    go(range(1, 21))
    early_files, early_threads = at_rest()
    go(range(21, 101))
    # Signals that come while it reloads are one: on a busy machine more are needed.
    go(takewhile(lambda _: len(child.of_kind("reloaded")) <= 50, range(101, 1000)))
    late_files, late_threads = at_rest()
    assert child.of_kind("reload_refused")
    events = stopped_without_a_gap(child, seconds)
    ids = [event["id"] for event in events]
    wait_until(lambda: listener.newest()["a/status"] == "offline")
    assert listener.ids() == ids
    posted = [event["id"] for event in hook.events()]
    assert set(posted) <= set(ids) and ids[-1] in posted
    listener.close()
    hook.close()
    assert late_files <= early_files + 1 and late_threads <= early_threads
    assert len(child.of_kind("reloaded")) > 50
    files = [(tmp_path / f"{letter}.jsonl").read_text().splitlines() for letter in "ab"]
    assert sorted(json.loads(line)["id"] for part in files for line in part if "score" not in line[:60]) == sorted(ids)
