"""Metrics and probes of a real monitor, read by a real Prometheus."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from dasvdd_runtime import cli
from dasvdd_runtime.condition.health import State
from dasvdd_runtime.configuration.config import load_config
from monitor_child import MonitorChild
from mosquitto_broker import free_port
from scraping import Samples, fetch, wait_until

TOKEN = "very-secret-token"
RATE_HZ = 16000
THRESHOLD = 0.02
PUMP = 'pump "7"'
"""A source whose name has to be escaped."""


@pytest.fixture
def monitor(tiny_model: Any, tmp_path: Path) -> Iterator[Callable[..., tuple[MonitorChild, int]]]:
    """Starts monitors of a recording in real time with [http], and `more` below; gives each with its port."""
    children: list[MonitorChild] = []

    def start(
        *, address: str = "127.0.0.1", http: str = "", more: str = "", environment: dict[str, str] | None = None
    ) -> tuple[MonitorChild, int]:
        tiny_model(threshold=THRESHOLD)
        samples = np.random.default_rng(0).uniform(-0.1, 0.1, 60 * RATE_HZ).astype(np.float32)
        samples[RATE_HZ:] *= 8  # an alarm after a second
        soundfile.write(tmp_path / "a.wav", samples, RATE_HZ)
        port = free_port()
        (tmp_path / "monitor.toml").write_text(
            '[model]\npath = "model.onnx"\n'
            '[[source]]\nname = "pump \\"7\\""\nkind = "file"\npath = "a.wav"\npace = "real-time"\n'
            f'[http]\nlisten = "{address}:{port}"\n{http}\n{more}'
        )
        child = MonitorChild(tmp_path / "monitor.toml", environment)
        children.append(child)
        return child, port

    yield start
    for child in children:
        child.kill()


def test_metrics_tell_what_the_events_tell(monitor: Callable[..., tuple[MonitorChild, int]]) -> None:
    """State, score, threshold, alarm, windows and event counts of a monitor are those of its events."""
    child, port = monitor()
    child.wait_for("alarm_raised")
    samples, pump = Samples(fetch(port, "/metrics")[1]), {"source": PUMP}
    states = {state: samples.value("source_state", state=state, **pump) for state in State}
    assert states == {state: float(state is State.OK) for state in State}
    assert samples.value("alarm_open", **pump) == samples.value("alarms_total", **pump) == 1
    assert samples.value("threshold", **pump) == THRESHOLD < samples.value("smoothed_score", **pump)
    scored = samples.value("windows_total", outcome="scored", **pump)
    assert samples.value("running_seconds_total", **pump) == pytest.approx(0.05 * scored)
    assert 0 < samples.value("scoring_seconds_count", model="model") <= scored
    assert samples.value("scoring_seconds_bucket", model="model", le="+Inf") <= scored
    assert samples.value("events_total", kind="alarm_raised") == samples.value("events_total", kind="started") == 1
    fingerprint = child.of_kind("started")[0]["models"]["model"]["model_fingerprint"]
    assert samples.value("model_info", model="model", fingerprint=fingerprint, **pump) == 1
    assert samples.value("build_info", **child.of_kind("started")[0]["versions"]) == 1
    assert samples.value("heartbeat_age_seconds") < 5
    assert fetch(port, "/healthz") == (200, '{"healthy": true, "reasons": []}\n')
    assert fetch(port, "/readyz")[0] == 200
    assert child.stop() == 0


def test_promtool_finds_nothing_to_say(
    monitor: Callable[..., tuple[MonitorChild, int]], require_program: Callable[[str], str]
) -> None:
    """`promtool check metrics` has no complaint about names, units, types or texts, with an outbox too."""
    promtool = require_program("promtool")
    more = f'[webhook]\nurl = "http://127.0.0.1:{free_port()}/x"\n'
    child, port = monitor(more=more)
    child.wait_for("alarm_raised")
    text = fetch(port, "/metrics")[1]
    checked = subprocess.run(
        [promtool, "check", "metrics"], input=text, capture_output=True, text=True, timeout=30, check=False
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")
    waiting = Samples(text).value("outbox_waiting_events", receiver="webhook 'webhook'")
    assert waiting == len(child.events), "nothing listens there, so every event waits"


@pytest.mark.slow
def test_a_real_prometheus_scrapes_it(
    monitor: Callable[..., tuple[MonitorChild, int]], tmp_path: Path, require_program: Callable[[str], str]
) -> None:
    """Prometheus, with the token in its own configuration, has the alarm in its database."""
    prometheus = require_program("prometheus")
    child, port = monitor(http='token_env = "MONITOR_TOKEN"', environment={"MONITOR_TOKEN": TOKEN})
    child.wait_for("alarm_raised")
    web = free_port()
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "prometheus.yml").write_text(
        "global:\n  scrape_interval: 1s\nscrape_configs:\n- job_name: dasvdd\n"
        f"  authorization:\n    credentials_file: {tmp_path}/token\n"
        f"  static_configs:\n  - targets: ['127.0.0.1:{port}']\n"
    )
    command = [
        prometheus,
        f"--config.file={tmp_path}/prometheus.yml",
        f"--storage.tsdb.path={tmp_path}/tsdb",
        f"--web.listen-address=127.0.0.1:{web}",
    ]

    def answered(query: str) -> list[Any]:
        try:
            status, body = fetch(web, f"/api/v1/query?query={query}")
        except OSError:
            return []
        return list(json.loads(body)["data"]["result"]) if status == 200 else []

    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        (found,) = wait_until(lambda: answered("dasvdd_alarm_open"), seconds=40)
        assert found["value"][1] == "1" and found["metric"]["source"] == PUMP
        assert answered("up")[0]["value"][1] == "1"
        (latency,) = wait_until(lambda: answered("histogram_quantile(0.9,dasvdd_scoring_seconds_bucket)"))
        assert 0 < float(latency["value"][1]) < 10
    finally:
        process.kill()
        process.wait()


def test_the_token_opens_the_door(monitor: Callable[..., tuple[MonitorChild, int]], tmp_path: Path) -> None:
    """Metrics need the token that the file holds now; a probe tells others no more than yes or no; no log has it."""
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    child, port = monitor(http='token_file = "token"')
    wait_until(lambda: b"metrics and probes" in b"".join(child.errors))
    child.wait_for("source_state")
    for wrong in ("", "wrong", TOKEN[:-1], f"{TOKEN}x", "é"):
        assert fetch(port, "/metrics", token=wrong)[0] == 401
    assert fetch(port, "/metrics", token=TOKEN)[0] == 200
    assert fetch(port, "/healthz") == (200, '{"healthy": true}\n')
    assert json.loads(fetch(port, "/readyz", token=TOKEN)[1])["sources"] == {PUMP: "OK"}
    (tmp_path / "token").write_text("another")
    assert fetch(port, "/metrics", token=TOKEN)[0] == 401
    assert fetch(port, "/metrics", token="another")[0] == 200
    (tmp_path / "token").unlink()
    assert fetch(port, "/metrics", token="another")[0] == 401
    assert child.stop() == 0
    log = b"".join(child.errors).decode()
    assert "nobody is let in" in log
    assert TOKEN not in log and "another" not in log


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ('listen = "0.0.0.0:9464"', "other machines"),
        ('listen = "[::]:9464"', "other machines"),
        ('listen = "192.0.2.1:9464"', "other machines"),
        ('listen = "monitor.example:9464"', "no IP address"),
        ('listen = "127.0.0.1"', "no IP address"),
        ('listen = "127.0.0.1:70000"', "no IP address"),
        ('token_env = "A"\ntoken_file = "b"', "keep one"),
        ('tokenfile = "b"', "token_file"),
    ],
)
def test_what_cannot_be_served_is_refused(tiny_model: Any, tmp_path: Path, lines: str, words: str) -> None:
    """An address that others reach without a token, and one that is none, are faults of the configuration: 78."""
    tiny_model()
    path = tmp_path / "monitor.toml"
    path.write_text(
        f'[model]\npath = "model.onnx"\n[[source]]\nname = "m"\nkind = "stdin"\nformat = "s16le"\n[http]\n{lines}\n'
    )
    result = CliRunner().invoke(cli.main, ["run", str(path)])
    assert result.exit_code == 78 and words in result.output, result.output


def test_a_token_that_is_not_there_and_a_port_in_use_are_told_at_the_start(
    monitor: Callable[..., tuple[MonitorChild, int]],
) -> None:
    """Without the token's variable it exits with 78; where another program has the port, with 69, to be tried again."""
    child, _ = monitor(http='token_env = "NO_SUCH_VARIABLE"')
    assert child.process.wait(20) == 78
    running, port = monitor()
    running.wait_for("started")
    config = Path(running.process.args[-1])  # type: ignore[index,arg-type]
    second = MonitorChild(config)
    assert second.process.wait(20) == 69
    wait_until(lambda: str(port).encode() in b"".join(second.errors))


def test_without_the_table_nothing_listens(tiny_model: Any, tmp_path: Path) -> None:
    """No socket is opened and prometheus_client is not loaded unless the configuration has [http]."""
    tiny_model()
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(0).uniform(-0.1, 0.1, RATE_HZ), RATE_HZ)
    path = tmp_path / "monitor.toml"
    path.write_text('[model]\npath = "model.onnx"\n[[source]]\nname = "m"\nkind = "file"\npath = "a.wav"\n')
    script = (
        "import sys\nfrom dasvdd_runtime.cli import main\n"
        "main(['run', sys.argv[1]], standalone_mode=False)\n"
        "print([name for name in ('prometheus_client', 'http.server') if name in sys.modules])\n"
    )
    command = [sys.executable, "-c", script, str(path)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert run.stdout.splitlines()[-1] == "[]"
    assert load_config(path).http is None


def test_ipv6_is_served_too(monitor: Callable[..., tuple[MonitorChild, int]]) -> None:
    """`[::1]` is loopback as well, and needs no token."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::1", 0))
        child, port = monitor(address="[::1]")
        child.wait_for("started")
        assert fetch(port, "/healthz", host="[::1]")[0] == 200
        return
    pytest.skip("no IPv6 loopback here")


def test_check_tells_of_what_serves_metrics(tiny_model: Any, tmp_path: Path) -> None:
    """`dasvdd-monitor check` names the address, and fails with 78 where the token is not there."""
    tiny_model()
    path = tmp_path / "monitor.toml"
    source = '[[source]]\nname = "m"\nkind = "stdin"\nformat = "s16le"\n'
    path.write_text(f'[model]\npath = "model.onnx"\n{source}[http]\n')
    result = CliRunner().invoke(cli.main, ["check", str(path)])
    assert result.exit_code == 0 and "127.0.0.1:9464" in result.output
    path.write_text(path.read_text() + 'token_file = "nowhere"\n')
    result = CliRunner().invoke(cli.main, ["check", str(path)])
    assert result.exit_code == 78 and "nowhere" in result.output


def test_check_tells_the_monitor_that_runs_from_another_program(page_monitor: Any, tmp_path: Path) -> None:
    """Beside a running monitor nothing is wrong; where something else has the port, that is a warning."""
    _, url = page_monitor(np.zeros(16000 * 30, np.float32), "")
    config = tmp_path / "monitor.toml"
    assert (
        "ok       http: a monitor that runs serves page" in CliRunner().invoke(cli.main, ["check", str(config)]).output
    )
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        config.write_text(config.read_text().replace(url.split(":")[-1].strip("/"), str(port)))
        result = CliRunner().invoke(cli.main, ["check", str(config)])
    assert f"warning  http: another program listens on 127.0.0.1:{port}" in result.output
