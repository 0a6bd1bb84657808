"""Home Assistant's MQTT discovery and its commands, with the real program and a real broker."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jinja2
import pytest
from dasvdd_runtime.condition.health import State
from dasvdd_runtime.configuration.config import load_config
from dasvdd_runtime.errors import ConfigError, DataError
from dasvdd_runtime.integrations.commands import Acknowledge, MuteFor, parse
from monitor_child import MonitorChild
from mosquitto_broker import Broker, free_port
from mqtt_monitor import write_config
from scraping import Samples, fetch, wait_until

MQTT = 'prefix = "site"\nhome_assistant = true'
EVERY = {
    "name", "unique_id", "availability_topic", "device", "origin", "qos", "icon", "entity_category",
}  # fmt: skip
READS = {"state_topic", "value_template", "json_attributes_topic", "device_class"}
FIELDS = {
    "binary_sensor": EVERY | READS,
    "sensor": EVERY | READS | {"state_class", "unit_of_measurement"},
    "button": EVERY | {"command_topic", "payload_press", "device_class"},
    "number": EVERY | {"command_topic", "min", "max", "step", "mode", "unit_of_measurement"},
}
"""What Home Assistant's documentation lets stand in the announcement of each kind of entity, as far as we use it."""
NEEDED = {"binary_sensor": "state_topic", "sensor": "state_topic", "button": "command_topic", "number": "command_topic"}


class Listener:
    """The newest message of each topic of a broker, and a way to send some."""

    def __init__(self, port: int) -> None:
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion

        self.newest: dict[str, bytes] = {}
        self._client = Client(CallbackAPIVersion.VERSION2)
        self._client.on_connect = lambda client, *_: client.subscribe("#", qos=1)
        self._client.on_message = lambda _c, _d, m: self.newest.__setitem__(m.topic, m.payload)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def send(self, topic: str, payload: str | bytes, *, retain: bool = False) -> None:
        self._client.publish(topic, payload, qos=1, retain=retain).wait_for_publish(5)

    def configs(self) -> dict[str, dict[str, Any]]:
        """The announcements, by kind and the last word of their ids: ("sensor", "score"), say."""
        found = {topic: payload for topic, payload in self.newest.items() if topic.endswith("/config") and payload}
        return {topic: json.loads(payload) for topic, payload in found.items()}

    def now(self, source: str) -> dict[str, Any]:
        payload = self.newest.get(f"site/{source}/now")
        return json.loads(payload) if payload else {}

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def listener(broker: Broker) -> Iterator[Listener]:
    """Listens to everything that the broker gets."""
    made = Listener(broker.port)
    yield made
    made.close()


@pytest.fixture
def monitor(alarmed_monitor: Callable[..., MonitorChild]) -> Callable[..., MonitorChild]:
    """Starts monitors that Home Assistant is told of."""
    return partial(alarmed_monitor, mqtt=MQTT)


STATE = '[state]\ndirectory = "state"\n[alarm]\nlatch = true\n'


def test_each_source_is_announced_as_home_assistant_documents_it(
    monitor: Callable[..., MonitorChild], listener: Listener
) -> None:
    """Topics, fields and ids are those of the discovery's documentation; templates give what the messages say."""
    child = monitor("pump 7/a", more=STATE)
    child.wait_for("alarm_raised")
    configs = wait_until(lambda: len(listener.configs()) == 8 and listener.configs())
    for topic, config in configs.items():
        found = re.fullmatch(r"homeassistant/(\w+)/([a-zA-Z0-9_-]+)/([a-zA-Z0-9_-]+)/config", topic)
        assert found, topic
        assert set(config) <= FIELDS[found[1]] and NEEDED[found[1]] in config
        assert config["device"]["identifiers"] and config["device"]["name"] == "pump 7/a"
        assert config["availability_topic"] == "site/home_assistant" and config["origin"]["name"] == "dasvdd"
    assert len({config["unique_id"] for config in configs.values()}) == 8
    (alarm,) = [config for config in configs.values() if config.get("device_class") == "problem"]
    wait_until(lambda: rendered(alarm, listener) == "ON")
    assert listener.newest["site/home_assistant"] == b"online"
    assert json.loads(listener.newest[alarm["json_attributes_topic"]])["event"] == "alarm_raised"
    by_key = {config["unique_id"].split("_", 2)[2]: config for config in configs.values()}
    assert rendered(by_key["state"], listener) in [state.value for state in State]
    assert float(rendered(by_key["score"], listener)) > 0
    assert rendered(by_key["muted"], listener) == "OFF"


def rendered(config: dict[str, Any], listener: Listener) -> str:
    """What Home Assistant makes of the newest message of an entity."""
    value = json.loads(listener.newest[config["state_topic"]])
    return jinja2.Template(config["value_template"]).render(value_json=value)


def test_entities_stay_the_same_over_a_restart_and_a_kill_makes_them_unavailable(
    monitor: Callable[..., MonitorChild], listener: Listener
) -> None:
    """Unique ids are those of the run before; after a kill the last will says offline, after a stop the monitor."""
    child = monitor("pump")
    first = wait_until(lambda: len(listener.configs()) == 4 and listener.configs())
    wait_until(lambda: listener.newest.get("site/home_assistant") == b"online")
    child.kill()
    wait_until(lambda: listener.newest["site/home_assistant"] == b"offline")
    listener.newest.clear()
    child = monitor("pump")
    wait_until(lambda: listener.newest.get("site/home_assistant") == b"online")
    assert listener.configs() == first
    assert child.stop_seconds() < 4
    wait_until(lambda: listener.newest["site/home_assistant"] == b"offline")


def test_acknowledging_and_muting_do_what_the_command_line_does(
    monitor: Callable[..., MonitorChild], listener: Listener
) -> None:
    """A verdict is kept, a mute begins and ends; each is told as an event and is seen in what is told as now."""
    child = monitor("pump", more=STATE)
    alarm = child.wait_for("alarm_raised")["alarm"]
    wait_until(lambda: listener.now("pump").get("alarm") == "ON")
    listener.send("site/pump/acknowledge", json.dumps({"verdict": "real", "alarm": alarm[:8], "note": "Lager"}))
    told = child.wait_for("alarm_acknowledged")
    assert (told["alarm"], told["verdict"], told["note"]) == (alarm, "real", "Lager")
    listener.send("site/pump/mute", "30")
    assert child.wait_for("muted")["seconds"] == pytest.approx(1800, abs=5)
    wait_until(lambda: listener.now("pump")["muted"] == "ON")
    listener.send("site/pump/mute", "0")
    assert child.wait_for("unmuted")["alarms"] == [alarm]
    wait_until(lambda: listener.now("pump")["muted"] == "OFF")


def test_what_is_no_command_is_counted_and_changes_nothing(
    monitor: Callable[..., MonitorChild], listener: Listener
) -> None:
    """Malformed, retained and misdirected commands are refused, however many; the log stays short, the monitor runs."""
    port = free_port()
    listener.send("site/pump/mute", "60", retain=True)
    child = monitor("pump", more=f'{STATE}[http]\nlisten = "127.0.0.1:{port}"\n')
    child.wait_for("alarm_raised")
    wait_until(lambda: listener.newest.get("site/home_assistant") == b"online")
    for _ in range(10):
        for payload in (b"maybe", b"\xff\xfe", b'{"verdict": "real", "alarm": "zz"}', b"x" * 50_000, b""):
            listener.send("site/pump/acknowledge", payload)
        listener.send("site/fan/acknowledge", "real")
        listener.send("site/pump/mute", "-3")

    def refused() -> float:
        return Samples(fetch(port, "/metrics")[1]).value("commands_total", outcome="refused")

    wait_until(lambda: refused() == 71)
    listener.send("site/pump/acknowledge", "false")
    assert child.wait_for("alarm_acknowledged")["verdict"] == "false"
    assert not child.of_kind("muted")
    assert b"".join(child.errors).count(b"command refused") <= 10
    assert child.stop() == 0


def test_without_a_state_directory_nothing_is_offered_and_nothing_obeyed(
    monitor: Callable[..., MonitorChild], listener: Listener
) -> None:
    """There are no buttons, and a command that comes all the same is refused with the reason."""
    child = monitor("pump")
    child.wait_for("alarm_raised")
    assert len(wait_until(lambda: listener.newest.get("site/home_assistant") and listener.configs())) == 4
    listener.send("site/pump/acknowledge", "real")
    wait_until(lambda: b"no state directory" in b"".join(child.errors))


def test_a_source_that_is_removed_is_taken_back(
    monitor: Callable[..., MonitorChild], listener: Listener, tmp_path: Path, broker: Broker
) -> None:
    """By a reload, and by a start with another configuration; announcements of other devices stay."""
    other = "homeassistant/sensor/another_device/x/config"
    listener.send(other, "{}", retain=True)
    child = monitor("pump", "fan", "press")
    wait_until(lambda: len(listener.configs()) == 13 and listener.now("fan") and listener.now("press"))
    write_config(tmp_path / "monitor.toml", broker.port, "pump", "press", mqtt=MQTT)
    child.reload()
    wait_until(lambda: len(listener.configs()) == 9)
    child.kill()
    monitor("pump")
    wait_until(lambda: len(listener.configs()) == 5)
    late = Listener(broker.port)
    wait_until(lambda: late.now("pump"))
    time.sleep(0.3)
    late.close()
    assert sorted(topic for topic in late.newest if topic.endswith("/now")) == ["site/pump/now"]
    assert len(late.configs()) == 5 and other in late.configs()


@pytest.mark.slow
def test_a_broker_that_never_answers_holds_up_nothing(monitor: Callable[..., MonitorChild], broker: Broker) -> None:
    """Connections are taken and nothing comes: alarms rise all the same, and a stop takes no more than 5 s."""
    broker.stop()
    with socket.create_server(("127.0.0.1", broker.port)):
        child = monitor("pump")
        child.wait_for("alarm_raised")
        assert child.stop_seconds() < 5


@pytest.mark.parametrize(
    ("verb", "payload", "command"),
    [
        ("acknowledge", b"false", Acknowledge(verdict="false")),
        ("acknowledge", b'{"verdict": "real", "note": "x"}', Acknowledge(verdict="real", note="x")),
        ("mute", b" 30\n", MuteFor(minutes=30)),
        ("mute", b'{"minutes": 0.5}', MuteFor(minutes=0.5)),
        ("mute", b"10081", None),
        ("mute", b"nan", None),
        ("mute", b'{"minutes": 1e999}', None),
        ("mute", b'{"minutes": true}', None),
        ("mute", b'{"minutes": 5, "hours": 2}', None),
        ("mute", b'{"a":' * 300, None),
        ("mute", b"[1]", None),
        ("acknowledge", b"", None),
        ("acknowledge", b"\xff", None),
        ("acknowledge", b'{"verdict": "real", "note": "\\ud800"}', None),
    ],
)
def test_a_command_is_taken_whole_or_refused(verb: Any, payload: bytes, command: Acknowledge | MuteFor | None) -> None:
    """One word, a number or a JSON object with known fields; everything else says what is wrong with it."""
    if command is not None:
        assert parse(verb, payload) == command
        return
    with pytest.raises(DataError):
        parse(verb, payload)


@pytest.mark.parametrize("line", ['home_assistant_prefix = "a/#"', 'home_assistant_prefix = "x"'])
def test_a_discovery_prefix_that_cannot_work_is_refused(tmp_path: Path, line: str) -> None:
    """Wildcards, and a prefix that nothing uses, are faults of the configuration."""
    write_config(tmp_path / "monitor.toml", 1883, "pump", mqtt=MQTT)
    text = (tmp_path / "monitor.toml").read_text()
    flag = "false" if "#" not in line else "true"
    (tmp_path / "monitor.toml").write_text(text.replace("home_assistant = true", f"home_assistant = {flag}\n{line}"))
    with pytest.raises(ConfigError, match="home_assistant_prefix"):
        load_config(tmp_path / "monitor.toml")
