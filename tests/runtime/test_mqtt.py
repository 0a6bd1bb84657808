"""Events to a real broker that is down, restarts, refuses, or never answers."""

from __future__ import annotations

import json
import os
import queue
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from dasvdd_runtime.errors import ConfigError, Unavailable
from dasvdd_runtime.sinks.delivery import DeliveredOutbox
from dasvdd_runtime.sinks.mqtt import MqttPublisher, topic_level, topics
from dasvdd_runtime.sinks.outbox import Outbox
from dasvdd_runtime.sinks.tables import MqttTable
from mosquitto_broker import Broker, free_port, make_certificates

FLOOD = 10_000


class Subscriber:
    """Listens to every topic below `site/`; connects again when the broker was away."""

    def __init__(self, port: int) -> None:
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion

        self.messages: queue.Queue[tuple[str, bytes, bool]] = queue.Queue()
        subscribed: queue.Queue[None] = queue.Queue()
        self._client = Client(CallbackAPIVersion.VERSION2, client_id="subscriber", clean_session=False)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = lambda client, *_: client.subscribe("site/#", qos=1)
        self._client.on_subscribe = lambda *_: subscribed.put(None)
        self._client.on_message = lambda _c, _d, m: self.messages.put((m.topic, m.payload, m.retain))
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        subscribed.get(timeout=5)

    def next(self, topic: str, *, timeout: float = 10.0) -> bytes:
        """The next message on `topic`; others before it are left out."""
        end = time.monotonic() + timeout
        while True:
            found, payload, _ = self.messages.get(timeout=max(0.01, end - time.monotonic()))
            if found == topic:
                return payload

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def event_line(number: int, *, kind: str = "source_state", source: str | None = "pump7") -> str:
    event = {"schema": "1.0", "event": kind, "id": str(uuid.uuid4()), "number": number}
    return json.dumps(event if source is None else event | {"source": source})


def publishing(folder: Path, port: int, **settings: Any) -> DeliveredOutbox:
    """An outbox in `folder` that delivers to the broker at `port`."""
    telemetry = settings.get("telemetry", False)
    outbox = Outbox(folder / "box", {"mqtt": telemetry}, max_events=50_000, max_bytes=50_000_000)
    table = MqttTable.model_validate({"host": "127.0.0.1", "port": port, "prefix": "site"} | settings)
    return DeliveredOutbox(outbox, [MqttPublisher(table)])


def test_topics_say_the_source_and_retain_its_state() -> None:
    """Events, scores, and what is retained; a source's name cannot break out of its level."""
    assert topics(event_line(1, kind="summary"), prefix="a/b") == [("a/b/pump7/event", False)]
    assert topics(event_line(1, kind="score"), prefix="a") == [("a/pump7/score", False)]
    assert topics(event_line(1, kind="started", source=None), prefix="a") == [("a/event", False)]
    assert topics(event_line(1), prefix="a") == [("a/pump7/event", False), ("a/pump7/state", True)]
    for kind in ("alarm_raised", "alarm_grew", "alarm_cleared", "alarm_open"):
        assert topics(event_line(1, kind=kind), prefix="a")[1] == ("a/pump7/alarm", True)
    assert topic_level("Halle 3/Presse #1+\n%") == "Halle 3%2FPresse %231%2B%0A%25"


def test_an_event_arrives_with_birth_and_leave(broker: Broker, tmp_path: Path) -> None:
    """The payload is the line, status is online, then offline, and who comes later gets state and alarm retained."""
    subscriber = Subscriber(broker.port)
    sink = publishing(tmp_path, broker.port, telemetry=True)
    assert subscriber.next("site/status") == b"online"
    lines = [event_line(0), event_line(1, kind="alarm_raised"), event_line(2, kind="score")]
    for number, line in enumerate(lines):
        sink.write(line, durable=number < 2)
    assert subscriber.next("site/pump7/event").decode() == lines[0]
    assert subscriber.next("site/pump7/event").decode() == lines[1]
    assert subscriber.next("site/pump7/score").decode() == lines[2]
    begin = time.monotonic()
    sink.close()
    assert time.monotonic() - begin < 1.0
    assert subscriber.next("site/status") == b"offline"
    subscriber.close()
    late = Subscriber(broker.port)
    retained = {topic: payload.decode() for topic, payload, _ in (late.messages.get(timeout=5) for _ in range(3))}
    late.close()
    assert retained == {"site/status": "offline", "site/pump7/state": lines[0], "site/pump7/alarm": lines[1]}


WRITER = """
import sys, time
from pathlib import Path
sys.path[:0] = sys.argv[5:]
import test_mqtt
sink = test_mqtt.publishing(Path(sys.argv[1]), int(sys.argv[2]))
for number in range(int(sys.argv[3]), int(sys.argv[4])):
    sink.write(test_mqtt.event_line(number), durable=True)
print("written", flush=True)
time.sleep(60)
"""


def start_writer(folder: Path, port: int, first: int, end: int) -> subprocess.Popen[str]:
    """A process that writes the events from `first` to before `end`, says so, and goes on delivering."""
    words = [sys.executable, "-c", WRITER, folder, port, first, end, Path(__file__).parent, *sys.path]
    return subprocess.Popen(list(map(str, words)), stdout=subprocess.PIPE, text=True)


def numbers_until(subscriber: Subscriber, last: int) -> list[int]:
    """The numbers of the events up to that with the number `last`; a repeated id counts once."""
    seen: dict[str, int] = {}
    while last not in seen.values():
        event = json.loads(subscriber.next("site/pump7/event", timeout=30.0))
        seen.setdefault(event["id"], event["number"])
    return list(seen.values())


@pytest.mark.slow
def test_ten_thousand_events_survive_a_broker_that_is_down_and_a_kill(
    make_broker: Callable[..., Broker], tmp_path: Path
) -> None:
    """Written by a process that SIGKILL ends while the broker is down, all arrive, in order, once by id, and fast."""
    broker = make_broker()
    for first in (0, FLOOD // 2):
        writer = start_writer(tmp_path, broker.port, first, first + FLOOD // 2)
        assert writer.stdout is not None
        assert writer.stdout.readline() == "written\n"
        writer.kill()
        writer.wait()
        writer.stdout.close()
    broker.start()
    subscriber = Subscriber(broker.port)
    sink = publishing(tmp_path, broker.port)
    begin = time.monotonic()
    found = numbers_until(subscriber, FLOOD - 1)
    elapsed = time.monotonic() - begin
    sink.close()
    subscriber.close()
    assert found == list(range(FLOOD))
    assert elapsed < 20.0


@pytest.mark.slow
def test_kills_while_delivering_lose_nothing(broker: Broker, tmp_path: Path) -> None:
    """The publishing process is killed ten times in the middle of its work; ids tell the duplicates, order holds."""
    subscriber = Subscriber(broker.port)
    for turn in range(10):
        writer = start_writer(tmp_path, broker.port, 100 * turn, 100 * (turn + 1))
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(0.01 * turn)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
    sink = publishing(tmp_path, broker.port)
    assert numbers_until(subscriber, 999) == list(range(1000))
    sink.close()
    subscriber.close()


def test_a_broker_that_restarts_loses_nothing(make_broker: Callable[..., Broker], tmp_path: Path) -> None:
    """Killed and started again while events are written, it gets every one; the subscriber sees them in order."""
    broker = make_broker()
    broker.start()
    sink = publishing(tmp_path, broker.port)
    before = Subscriber(broker.port)
    for number in range(100):
        sink.write(event_line(number), durable=True)
    assert numbers_until(before, 99) == list(range(100))
    before.close()
    broker.stop()
    for number in range(100, 300):
        sink.write(event_line(number), durable=True)
    broker.start()
    after = Subscriber(broker.port)
    found = numbers_until(after, 299)
    assert [number for number in found if number >= 100] == list(range(100, 300))
    sink.close()
    after.close()


def test_a_killed_monitor_is_reported_by_its_last_will(broker: Broker, tmp_path: Path) -> None:
    """The broker publishes `offline` for a process that can no longer."""
    subscriber = Subscriber(broker.port)
    writer = start_writer(tmp_path, broker.port, 0, 1)
    assert subscriber.next("site/status") == b"online"
    writer.kill()
    writer.wait()
    assert subscriber.next("site/status") == b"offline"
    assert writer.stdout is not None
    writer.stdout.close()
    subscriber.close()


def test_a_wrong_password_is_told_without_it_and_a_new_one_is_used(
    make_broker: Callable[..., Broker], tmp_path: Path, caplog: pytest.LogCaptureFixture, require_program: Any
) -> None:
    """The log names broker and reason and no secret; once the file is right, delivery begins without a restart."""
    passwords, secret = tmp_path / "passwords", tmp_path / "secret"
    subprocess.run([require_program("mosquitto_passwd"), "-c", "-b", passwords, "monitor", "right-one"], check=True)
    passwords.chmod(0o644)
    broker = make_broker(more=f"allow_anonymous false\npassword_file {passwords}\n")
    broker.start()
    secret.write_text("wrong-one\n")
    sink = publishing(tmp_path, broker.port, username="monitor", password_file=secret)
    sink.write(event_line(1), durable=True)
    end = time.monotonic() + 10
    while "refuses the connection" not in caplog.text and time.monotonic() < end:
        time.sleep(0.05)
    assert "Not authorized" in caplog.text
    secret.write_text("right-one\n")
    while "delivering again" not in caplog.text and time.monotonic() < end:
        time.sleep(0.05)
    sink.close()
    assert "delivering again" in caplog.text
    assert "right-one" not in caplog.text
    assert "wrong-one" not in caplog.text


def test_tls_trusts_the_named_authority_and_no_other(
    make_broker: Callable[..., Broker], tmp_path: Path, require_program: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """With the CA's file the event arrives encrypted; with another CA nothing is sent, and the log says why."""
    make_certificates(tmp_path, require_program("openssl"))
    files = f"certfile {tmp_path}/broker.crt\nkeyfile {tmp_path}/broker.key\n"
    broker = make_broker(more=f"allow_anonymous true\n{files}")
    broker.start()
    sink = publishing(tmp_path, broker.port, ca_file=tmp_path / "other.crt")
    sink.write(event_line(1), durable=True)
    end = time.monotonic() + 10
    while "verify failed" not in caplog.text and time.monotonic() < end:
        time.sleep(0.05)
    assert "verify failed" in caplog.text
    sink.close()
    sink = publishing(tmp_path, broker.port, ca_file=tmp_path / "ca.crt")
    listener = [require_program("mosquitto_sub"), "-h", "127.0.0.1", "-p", str(broker.port), "--cafile"]
    heard = subprocess.run(
        [*listener, str(tmp_path / "ca.crt"), "-t", "site/pump7/state", "-C", "1", "-W", "10"], capture_output=True
    )
    sink.close()
    assert json.loads(heard.stdout)["number"] == 1


@pytest.mark.parametrize("answers", ["nothing", "refused"])
def test_a_stop_is_short_and_keeps_what_is_not_delivered(tmp_path: Path, answers: str) -> None:
    """Neither a broker that never answers nor one that is down holds up the end, and the event is there afterwards."""
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        sink = publishing(tmp_path, deaf.getsockname()[1] if answers == "nothing" else free_port())
        line = event_line(1)
        begin = time.monotonic()
        sink.write(line, durable=True)
        assert time.monotonic() - begin < 0.5
        time.sleep(0.2)
        begin = time.monotonic()
        sink.close()
        assert time.monotonic() - begin < 3.0
    outbox = Outbox(tmp_path / "box", {"mqtt": False}, max_events=1000, max_bytes=1_000_000)
    assert [row.line for row in outbox.read("mqtt", most=10)] == [line]
    outbox.close()


def test_a_missing_secret_or_certificate_is_a_configuration_error(tmp_path: Path) -> None:
    """At the start, with the name of the key and the file."""
    host = {"host": "localhost"}
    with pytest.raises(ConfigError, match=r"password_file: .*nowhere"):
        MqttPublisher(MqttTable.model_validate(host | {"username": "a", "password_file": tmp_path / "nowhere"}))
    with pytest.raises(ConfigError, match="NO_SUCH_VARIABLE"):
        MqttPublisher(MqttTable.model_validate(host | {"username": "a", "password_env": "NO_SUCH_VARIABLE"}))
    with pytest.raises(ConfigError, match="TLS"):
        MqttPublisher(MqttTable.model_validate(host | {"ca_file": tmp_path / "nowhere"}))


def test_without_the_extra_the_command_to_install_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """paho-mqtt is no part of the base."""
    monkeypatch.setitem(sys.modules, "paho", None)
    with pytest.raises(Unavailable, match=r"pip install 'dasvdd\[mqtt\]'"):
        MqttPublisher(MqttTable(host="localhost"))


def test_the_monitor_delivers_its_own_events(broker: Broker, tiny_model: Any, tmp_path: Path) -> None:
    """`dasvdd-monitor run` with [mqtt]: from started to stopped, what standard output got arrives in order."""
    import numpy as np
    import soundfile

    tiny_model(threshold=0.02)
    random = np.random.default_rng(0)
    loud = random.uniform(-1, 1, 16000 * 10) * np.repeat([0.1, 0.5], 80000)
    soundfile.write(tmp_path / "a.wav", loud, 16000, subtype="FLOAT")
    mqtt = f'[mqtt]\nhost = "127.0.0.1"\nport = {broker.port}\nprefix = "site"\n[outbox]\nfolder = "box"\n'
    source = '[[source]]\nname = "pump7"\nkind = "file"\npath = "a.wav"\n'
    (tmp_path / "monitor.toml").write_text(f'[model]\npath = "model.onnx"\n{source}{mqtt}')
    subscriber = Subscriber(broker.port)
    run = subprocess.run(
        [sys.executable, "-c", "from dasvdd_runtime.cli import main; main()", "run", str(tmp_path / "monitor.toml")],
        capture_output=True,
        text=True,
        env=os.environ,
    )
    assert run.returncode == 0, run.stderr
    expected = [json.loads(line)["id"] for line in run.stdout.splitlines()]
    assert len(expected) >= 5
    found: list[str] = []
    while len(found) < len(expected):
        topic, payload, _ = subscriber.messages.get(timeout=5)
        if topic.endswith("/event"):
            found.append(json.loads(payload)["id"])
    subscriber.close()
    assert found == expected
