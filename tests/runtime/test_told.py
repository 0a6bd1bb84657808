"""What changes is told three times: as an event, in the log for people, and in the metrics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from monitor_child import MonitorChild
from mosquitto_broker import free_port
from numpy.typing import NDArray
from scraping import Samples, fetch, wait_until

RATE_HZ = 16000
CONFIG = """
[model]
path = "model.onnx"
[[source]]
name = "m"
kind = "stdin"
format = "f32le"
silent_seconds = 2
[source.running]
stop_level = -60
start_level = -50
hold_seconds = 1
settle_seconds = 1
[decision]
smoothing_seconds = 0.0
k = 1
n = 1
[http]
listen = "127.0.0.1:{port}"
"""
LINES = {
    "IDLE": "-> IDLE",
    "OK": "-> OK",
    "CLIPPED": "-> CLIPPED",
    "FAULT": "-> FAULT",
    "alarm_raised": "ALARM",
    "alarm_cleared": "scores cleared the alarm",
    "reloaded": "new configuration",
    "reload_refused": "not taken",
}


def sound(seconds: float, amplitude: float) -> NDArray[np.float32]:
    return (amplitude * np.random.default_rng(0).uniform(-1, 1, round(seconds * RATE_HZ))).astype(np.float32)


def test_every_change_reaches_events_log_and_metrics(tiny_model: Any, tmp_path: Path) -> None:
    """IDLE, alarm, clipping, NaN and reloads: each has an event, a line, and a metric that agrees with the events."""
    tiny_model(threshold=0.02)
    port = free_port()
    config = tmp_path / "monitor.toml"
    config.write_text(CONFIG.format(port=port))
    child = MonitorChild(config)
    child.wait_for("started")

    def feed(samples: NDArray[np.float32]) -> None:
        assert child.process.stdin is not None
        child.process.stdin.write(samples.tobytes())
        child.process.stdin.flush()

    def metrics() -> Samples:
        return Samples(fetch(port, "/metrics")[1])

    def state() -> str:
        found = metrics().all
        return next(s.labels["state"] for s in found if s.name == "dasvdd_source_state" and s.value == 1)

    for samples, expected in (
        (sound(3, 0.1), "OK"),
        (sound(3, 0.5), "OK"),
        (sound(3, 0.1), "OK"),
        (sound(4, 1e-4), "IDLE"),
        (np.clip(sound(4, 2.0), -1, 1), "CLIPPED"),
        (np.full(RATE_HZ, np.nan, np.float32), "FAULT"),
    ):
        feed(samples)
        wait_until(lambda expected=expected: state() == expected)
    child.reload()
    child.wait_for("reloaded")
    config.write_text("[nonsense]")
    child.reload()
    child.wait_for("reload_refused")
    counted = {
        sample.labels["kind"]: int(sample.value) for sample in metrics().all if sample.name == "dasvdd_events_total"
    }
    assert {kind: len(child.of_kind(kind)) for kind in counted} == counted
    assert metrics().value("alarms_total", source="m") == len(child.of_kind("alarm_raised")) > 0
    assert child.stop() == 0
    log = b"".join(child.errors).decode()
    kinds = {event["event"] for event in child.events} | {event["state"] for event in child.of_kind("source_state")}
    for kind, line in LINES.items():
        assert kind in kinds and line in log, kind


def test_a_log_has_every_source_however_many_change_at_once(tmp_path: Path, tiny_model: Any) -> None:
    """Twelve sources are missing from the start, more than one place in the code may say in a minute: each is named."""
    tiny_model(kind="sensor")
    names = [f"s{number}" for number in range(12)]
    tables = "".join(f'[[source]]\nname = "{name}"\nkind = "csv_tail"\npath = "{name}.csv"\n' for name in names)
    (tmp_path / "monitor.toml").write_text(f'[model]\npath = "model.onnx"\n{tables}')
    child = MonitorChild(tmp_path / "monitor.toml")
    child.wait_for("source_state", count=len(names))
    assert child.stop() == 0
    log = b"".join(child.errors).decode()
    assert [name for name in names if f"'{name}': STARTING -> MISSING" in log] == names
