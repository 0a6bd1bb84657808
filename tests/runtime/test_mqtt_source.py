"""Rows from a real broker: what is read, what is refused, and what happens when the broker goes."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from dasvdd_runtime import cli
from dasvdd_runtime.configuration.config import load_config
from dasvdd_runtime.errors import ConfigError
from dasvdd_runtime.logs import LINES, log_to_stderr
from dasvdd_runtime.sources import source_at
from dasvdd_runtime.sources.base import Source, SourceLost
from dasvdd_runtime.sources.payloads import PayloadError, read_json
from dasvdd_runtime.sources.row_tables import MqttTopicsTable
from hypothesis import given
from hypothesis import strategies as st
from mosquitto_broker import Broker, free_port, make_certificates

Capturing = Callable[..., Any]


class Publisher:
    """Publishes to a broker, and waits until it has it."""

    def __init__(self, port: int) -> None:
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion

        self._client = Client(CallbackAPIVersion.VERSION2)
        self._client.max_queued_messages_set(0)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def __call__(self, payload: str | bytes, topic: str = "site/fan", *, retain: bool = False) -> None:
        self._client.publish(topic, payload, qos=1, retain=retain).wait_for_publish(10)

    def flood(self, payload: bytes, times: int) -> None:
        """Publish without waiting for each."""
        for _ in range(times):
            last = self._client.publish("site/fan", payload, qos=1)
        last.wait_for_publish(30)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def publish(broker: Broker) -> Iterator[Publisher]:
    publisher = Publisher(broker.port)
    yield publisher
    publisher.close()


def subscription(port: int, *, names: list[str] | None = None, **settings: Any) -> Source:
    """A source of ten rows a second, of the one channel x unless `names` says otherwise."""
    keys = {"name": "fan", "kind": "mqtt", "host": "127.0.0.1", "port": port, "topics": ["site/fan"]}
    table = MqttTopicsTable.model_validate(keys | settings)
    return source_at(table, sample_rate_hz=10.0, channel_names=names or ["x"])


def test_objects_are_read_by_their_keys_and_times(broker: Broker, publish: Publisher, captured: Capturing) -> None:
    """Deeper keys have dots; a message may hold a part of the channels, or many rows; what was retained is no row."""
    publish(json.dumps({"t": 1e9, "motor": {"x": 99}, "y": 99}), retain=True)
    source = captured(subscription(broker.port, names=["motor.x", "y"], time_key="t"))
    source.pause(0.5)
    stamp = 1_764_000_000.0
    publish(json.dumps({"t": stamp, "motor": {"x": 1}, "y": "1.5"}))
    publish(json.dumps({"t": stamp + 0.1, "motor": {"x": 2}}))
    publish(json.dumps({"t": stamp + 0.1, "y": 2.5}))
    publish(json.dumps([{"t": stamp + i / 10, "motor": {"x": i + 1}, "y": i + 1.5} for i in (2, 3, 4)]))
    publish(json.dumps({"t": stamp + 2.0, "motor": {"x": 21}, "y": 21.5}))
    publish(json.dumps({"t": stamp + 2.1, "motor": {"x": 22}, "y": 22.5}))
    source.wait(lambda: source.lost > 0)
    np.testing.assert_array_equal(source.rows[:5], [[i + 1, i + 1.5] for i in range(5)])
    np.testing.assert_array_equal(source.rows[-1], [21, 21.5])
    assert len(source.rows) + source.lost == 21


@pytest.mark.parametrize(
    ("settings", "messages"),
    [
        ({"format": "csv"}, [("site/fan", "1.5;-2")]),
        ({"format": "csv", "topics": ["site/+"]}, [("site/fan", " 1.5\t-2 \n")]),
        ({"format": "number", "topics": ["a", "b"]}, [("a", "1.5"), ("b", "-2")]),
        ({"format": "json", "topics": ["a", "b"]}, [("a", '{"x": 1.5}'), ("b", '{"y": -2, "z": null}')]),
    ],
    ids=["csv", "tabs", "number", "json"],
)
def test_rows_without_a_time_count_when_they_arrive(
    broker: Broker, publish: Publisher, captured: Capturing, settings: dict[str, Any], messages: list[tuple[str, str]]
) -> None:
    """A row of CSV, a number on a topic a channel, or parts of an object on several."""
    source = captured(subscription(broker.port, names=["x", "y"], max_gap_seconds=1.0, **settings))
    source.pause(0.4)
    begin = time.monotonic()
    while time.monotonic() - begin < 1.0:
        for topic, payload in messages:
            publish(payload, topic)
        source.pause(0.05)
    source.wait(lambda: len(source.samples) > 0)
    assert 7 <= len(source.rows) <= 20
    assert (source.rows == [1.5, -2]).all()


GARBAGE = [
    b"",
    b"\xff\xfe\x00",
    b"online",
    b"{",
    b"[1, 2]",
    b"7",
    b'{"z": 1}',
    b"[" * 50_000,
    b'{"x": 1, "t": "noon"}',
    b'{"x": 1, "t": 1e300}',
    b'{"x": 1, "t": "1e999999"}',
    b'{"x": 1, "t": {"a": 1}}',
    b'{"x": 1}',
    b'{"x": ' + b"1" * 5000 + b', "t": 1}',
    b'{"x": 1, "t": 1, "more": "' + b"a" * 200_000 + b'"}',
]


def test_messages_without_the_models_keys_say_why_the_source_is_missing(
    broker: Broker, publish: Publisher, captured: Capturing
) -> None:
    """None has a time, so that no row of NaN stands for it: MISSING names the keys that are wanted and those there."""
    source = captured(subscription(broker.port, time_key="t", stall_seconds=0.3))
    source.pause(0.3)

    def sends() -> bool:
        publish(b'{"speed": 1, "when": 0.1}')
        return source.missing != []

    source.wait(sends, seconds=5)
    assert "none of x is among its keys: 'speed', 'when'" in source.missing[0]


@pytest.mark.parametrize("garbage", GARBAGE, ids=range(len(GARBAGE)))
def test_a_message_that_holds_no_row_is_a_fault_and_no_end(
    broker: Broker, publish: Publisher, captured: Capturing, caplog: pytest.LogCaptureFixture, garbage: bytes
) -> None:
    """It is logged, NaN stands in its place, and the rows after it are read over the same connection."""
    source = captured(subscription(broker.port, time_key="t"))
    source.pause(0.3)
    for i in range(3):
        publish(json.dumps({"x": i, "t": i / 10}))
    publish(garbage)
    for i in range(3, 8):
        publish(json.dumps({"x": i, "t": i / 10}))
    source.wait(lambda: len(source.first_channel) >= 7)
    assert np.flatnonzero(np.isnan(source.first_channel)).tolist() == [3]
    assert "that holds no row" in caplog.text
    assert max(len(message) for message in caplog.messages) < 500
    assert source.missing == []


@given(
    st.binary(max_size=200)
    | st.recursive(st.none() | st.floats() | st.text(), st.lists).map(json.dumps).map(str.encode)
)
def test_no_payload_does_more_than_be_refused(payload: bytes) -> None:
    """Any bytes and any JSON: rows, or one kind of error."""
    try:
        readings = read_json(payload, ["x", "0.1"], time_key="t")
    except PayloadError as error:
        assert len(str(error)) < 400
    else:
        assert all(isinstance(value, float) for reading in readings for value in reading.values)


def test_a_flood_of_garbage_is_survived(
    broker: Broker, publish: Publisher, captured: Capturing, capfd: pytest.CaptureFixture[str]
) -> None:
    """Ten thousand messages: no row of that time is a number, the log has its ten lines a minute, good rows follow."""
    log_to_stderr()
    source = captured(subscription(broker.port, max_gap_seconds=0.5))
    source.pause(0.3)
    publish('{"x": 1}')
    publish.flood(b"garbage " * 20, 10_000)
    begin = time.monotonic()
    while time.monotonic() - begin < 1.0:
        publish('{"x": 2}')
        source.pause(0.05)
    source.wait(lambda: source.first_channel[-5:] == [2.0] * 5)
    assert np.isnan(source.first_channel).any()
    assert source.missing == []
    assert capfd.readouterr().err.count("holds no row") == LINES == 10


def test_a_broker_that_goes_and_comes_back(broker: Broker, captured: Capturing) -> None:
    """MISSING with the reason, then rows again; those of the outage are lost."""
    source = captured(subscription(broker.port))

    def stream(seconds: float) -> None:
        publisher = Publisher(broker.port)
        begin = time.monotonic()
        while time.monotonic() - begin < seconds:
            publisher('{"x": 1}')
            source.pause(0.1)
        publisher.close()

    stream(0.5)
    source.wait(lambda: len(source.samples) > 0)
    outage_begin = time.monotonic()
    broker.stop()
    source.wait(lambda: source.missing != [])
    assert f"127.0.0.1:{broker.port} was lost" in source.missing[0]
    broker.start()
    outage_end = time.monotonic() + 5
    while source.lost == 0 and time.monotonic() < outage_end:
        stream(0.3)
    assert 5 <= source.lost <= 10 * (time.monotonic() - outage_begin) + 10


@pytest.mark.parametrize("deaf", ["answers nothing", "is not there"])
def test_a_stop_does_not_wait_for_a_broker(captured: Capturing, deaf: str) -> None:
    """Neither one that takes the connection and says nothing, nor none at all; the fixture's stop is in time."""
    import socket

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if deaf == "answers nothing":
            listener.listen()
        source = captured(subscription(listener.getsockname()[1], tls=deaf == "answers nothing"))
        time.sleep(0.2)
        begin = time.monotonic()
        assert source.stop()
        assert time.monotonic() - begin < 3.0


def test_what_the_broker_refuses_is_told(
    make_broker: Callable[..., Broker], tmp_path: Path, require_program: Callable[[str], str]
) -> None:
    """A wrong password, without showing it; with the right one in the file, it is let in."""
    passwords = tmp_path / "passwords"
    subprocess.run([require_program("mosquitto_passwd"), "-c", "-b", passwords, "fan", "right-one"], check=True)
    passwords.chmod(0o644)
    broker = make_broker(more=f"allow_anonymous false\npassword_file {passwords}\n")
    broker.start()
    secret = tmp_path / "secret"
    for password, says in (("wrong-one", "refuses the connection"), ("right-one", "")):
        secret.write_text(password)
        source = subscription(broker.port, username="fan", password_file=secret)
        if says:
            with pytest.raises(SourceLost, match=says) as caught:
                source.open()
            assert password not in str(caught.value)
        else:
            source.open()
        source.close()


def test_tls_trusts_the_named_authority_and_no_other(
    make_broker: Callable[..., Broker], tmp_path: Path, require_program: Callable[[str], str]
) -> None:
    """The keys are those of [mqtt]."""
    make_certificates(tmp_path, require_program("openssl"))
    files = f"certfile {tmp_path}/broker.crt\nkeyfile {tmp_path}/broker.key\n"
    broker = make_broker(more=f"allow_anonymous true\n{files}")
    broker.start()
    source = subscription(broker.port, ca_file=tmp_path / "ca.crt")
    source.open()
    source.close()
    source = subscription(broker.port, ca_file=tmp_path / "other.crt")
    with pytest.raises(SourceLost, match="verify failed"):
        source.open()


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ('format = "csv"\ntime_key = "t"', "time_key"),
        ('format = "number"\ntopics = ["a/+"]', "without"),
        ('topics = ["a", "a"]', "twice"),
        ('password_file = "secret"', "username"),
        ("host = ''", "host"),
    ],
)
def test_keys_that_cannot_work_are_refused(tmp_path: Path, keys: str, says: str) -> None:
    """Each is a ConfigError that says what."""
    defaults = "".join(line + "\n" for line in ('host = "h"', 'topics = ["a"]') if line.split()[0] not in keys)
    source = f'[[source]]\nname = "fan"\nkind = "mqtt"\n{defaults}{keys}\n'
    (tmp_path / "monitor.toml").write_text(f'[model]\npath = "m"\n{source}')
    with pytest.raises(ConfigError, match=says):
        load_config(tmp_path / "monitor.toml")


def test_numbers_need_a_topic_for_each_channel() -> None:
    """The error says how many, and which channels."""
    with pytest.raises(ConfigError, match=r"2 channels \(x, y\).*1 topics"):
        subscription(free_port(), names=["x", "y"], format="number")


@pytest.mark.parametrize(("step_seconds", "says"), [(0.05, "ok "), (0.4, "rows missing in between")])
def test_check_listens_to_a_broker(
    broker: Broker, publish: Publisher, tiny_model: Any, tmp_path: Path, step_seconds: float, says: str
) -> None:
    """While rows arrive, it says how much was heard and from where; and that they come too far apart, where they do."""
    tiny_model(kind="sensor", channels=1, channel_names=["x"], sample_rate_hz=20.0, window_samples=20)
    source = (
        f'[[source]]\nname = "fan"\nkind = "mqtt"\nhost = "127.0.0.1"\nport = {broker.port}\ntopics = ["site/fan"]\n'
    )
    (tmp_path / "monitor.toml").write_text(f'[model]\npath = "model.onnx"\n{source}')
    ended = threading.Event()

    def write() -> None:
        random = np.random.default_rng(0)
        while not ended.wait(step_seconds):
            publish(json.dumps({"x": random.standard_normal()}))

    writer = threading.Thread(target=write)
    writer.start()
    result = CliRunner().invoke(cli.main, ["check", str(tmp_path / "monitor.toml"), "--seconds", "3"])
    ended.set()
    writer.join()
    heard = next(line for line in result.output.splitlines() if "at 20 Hz from" in line)
    assert f"from site/fan at 127.0.0.1:{broker.port}" in heard
    assert says in heard
