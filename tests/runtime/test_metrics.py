"""Metrics and probes of a real monitor, read by a real Prometheus."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from dasvdd_runtime import Scorer, cli
from dasvdd_runtime.capture import Capture
from dasvdd_runtime.config import load_config
from dasvdd_runtime.endpoint.guard import Guard
from dasvdd_runtime.endpoint.observed import Observed
from dasvdd_runtime.endpoint.pages import make_probes
from dasvdd_runtime.endpoint.probes import faults, undelivered
from dasvdd_runtime.endpoint.pulse import Pulse
from dasvdd_runtime.endpoint.server import Server
from dasvdd_runtime.endpoint.tables import HttpTable
from dasvdd_runtime.events import Counts
from dasvdd_runtime.health import State
from dasvdd_runtime.pipeline import DecisionRule, Pipeline
from dasvdd_runtime.running_gate import LevelMeter
from dasvdd_runtime.scorer import Scores
from dasvdd_runtime.scoring_times import BOUNDS_SECONDS, TimedScorer
from dasvdd_runtime.service import Channel, Service
from dasvdd_runtime.sinks.outbox import Outbox
from dasvdd_runtime.snapshot import SourceSnapshot, Standing
from dasvdd_runtime.sources.base import Block
from monitor_child import MonitorChild
from mosquitto_broker import free_port
from numpy.typing import NDArray
from prometheus_client.parser import text_string_to_metric_families

TOKEN = "very-secret-token"
RATE_HZ = 16000
THRESHOLD = 0.02
PUMP = 'pump "7"'
"""A source whose name has to be escaped."""


def fetch(port: int, path: str, *, token: str = "") -> tuple[int, str]:
    """Status and body of what the monitor answers."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


class Samples:
    """What Prometheus' own parser reads in a text."""

    def __init__(self, text: str) -> None:
        self.all = [sample for family in text_string_to_metric_families(text) for sample in family.samples]

    def value(self, name: str, **labels: str) -> float:
        """The one value of `name` with `labels`."""
        (found,) = [sample.value for sample in self.all if (sample.name, sample.labels) == (f"dasvdd_{name}", labels)]
        return float(found)


def wait_until(true: Callable[[], Any], *, seconds: float = 20.0) -> Any:
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.05)
    return found


@pytest.fixture
def monitor(tiny_model: Any, tmp_path: Path) -> Iterator[Callable[..., tuple[MonitorChild, int]]]:
    """Starts monitors of a recording in real time with [http], and `more` below; gives each with its port."""
    children: list[MonitorChild] = []

    def start(*, http: str = "", more: str = "", environment: dict[str, str] | None = None) -> tuple[MonitorChild, int]:
        tiny_model(threshold=THRESHOLD)
        samples = np.random.default_rng(0).uniform(-0.1, 0.1, 60 * RATE_HZ).astype(np.float32)
        samples[RATE_HZ:] *= 8  # an alarm after a second
        soundfile.write(tmp_path / "a.wav", samples, RATE_HZ)
        port = free_port()
        (tmp_path / "monitor.toml").write_text(
            '[model]\npath = "model.onnx"\n'
            '[[source]]\nname = "pump \\"7\\""\nkind = "file"\npath = "a.wav"\npace = "real-time"\n'
            f'[http]\nlisten = "127.0.0.1:{port}"\n{http}\n{more}'
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


SOURCE = SourceSnapshot(
    name="a",
    model="model",
    model_fingerprint="f",
    state=State.OK,
    score=None,
    smoothed_score=None,
    threshold=1.0,
    in_alarm=False,
    counts=Counts(),
    drift_ppm=None,
    level_dbfs=None,
    waiting_seconds=0.0,
    live=True,
    ended=False,
)


@pytest.mark.parametrize(
    ("state", "changes", "delivers"),
    [
        (State.OK, {}, True),
        (State.IDLE, {}, True),
        (State.CLIPPED, {}, True),
        (State.STARTING, {}, False),
        (State.STALLED, {}, False),
        (State.MISSING, {}, False),
        (State.SILENT, {}, False),
        (State.FAULT, {}, False),
        (State.OK, {"ended": True}, True),
        (State.STALLED, {"ended": True}, True),
        (State.MISSING, {"ended": True, "failed": True}, False),
    ],
)
def test_a_source_delivers_in_these_states(state: State, changes: dict[str, bool], delivers: bool) -> None:
    """Judged, or of a machine that stands still, or a recording that came to its end."""
    missing = undelivered([replace(SOURCE, state=state, **changes), SOURCE])
    assert missing == ({} if delivers else {"a": state.value})


def test_who_hangs_is_named() -> None:
    """A monitor without a heartbeat is not well; the driver that holds it is named, else scoring is."""
    sources = [SOURCE, replace(SOURCE, name="b", alive=False)]
    assert faults(sources, since_beat_seconds=29, hung_seconds=30) == []
    assert faults(sources, since_beat_seconds=31, hung_seconds=30) == ["source 'b': its driver does not come back"]
    assert "scoring" in faults([SOURCE], since_beat_seconds=31, hung_seconds=30)[0]


class HangingScorer:
    """A scorer that does not come back while `held` is set."""

    def __init__(self, scorer: Scorer) -> None:
        self.held = threading.Event()
        self._scorer = scorer

    def score_windows(self, windows: NDArray[np.float32]) -> Scores:
        while self.held.is_set():
            time.sleep(0.02)
        return self._scorer.score_windows(windows)


class LiveNoise:
    """A live source: noise by the clock, in blocks of 0.05 s."""

    live, sample_rate_hz = True, float(RATE_HZ)

    def open(self) -> None:
        pass

    def read(self) -> Block:
        time.sleep(0.05)
        return Block(np.random.default_rng(0).uniform(-0.1, 0.1, (RATE_HZ // 20, 1)).astype(np.float32))

    def close(self) -> None:
        pass


def test_health_falls_while_the_scorer_hangs(tiny_model: Any) -> None:
    """`/healthz` and `/readyz` answer 503 and say why while scoring does not come back, and 200 after that."""
    scorer = Scorer(tiny_model(), provider="cpu")
    hanging, wake, pulse = HangingScorer(scorer), threading.Event(), Pulse()
    rule = DecisionRule(10.0, scorer.metadata.decision, 0.0)
    pipeline = Pipeline(name="m", metadata=scorer.metadata, scorer=hanging, rule=rule, report_scores=False)
    channel = Channel(Capture(LiveNoise(), name="m", stall_seconds=5, wake=wake), pipeline)
    service = Service([channel], [], wake=wake, heartbeat=pulse.beat)
    observed = Observed(service.snapshot, service.event_counts.copy, dict, dict, pulse.since_beat_seconds, {"v": "1"})
    token = HttpTable(listen="127.0.0.1:9464").token
    server = Server(("127.0.0.1", 0), make_probes(observed, Guard(token), hung_seconds=1.0))
    server.start()
    running = threading.Thread(target=service.run, args=({"event": "started"},))
    running.start()
    try:
        wait_until(lambda: fetch(server.server_port, "/readyz")[0] == 200)
        hanging.held.set()
        wait_until(lambda: fetch(server.server_port, "/healthz")[0] == 503, seconds=10)
        said = json.loads(fetch(server.server_port, "/healthz")[1])
        assert not said["healthy"] and "scoring" in said["reasons"][0]
        assert fetch(server.server_port, "/readyz")[0] == 503
        assert Samples(fetch(server.server_port, "/metrics")[1]).value("heartbeat_age_seconds") >= 1
        hanging.held.clear()
        wait_until(lambda: fetch(server.server_port, "/healthz")[0] == 200)
    finally:
        hanging.held.clear()
        service.request_stop("the test is over")
        running.join(10)
        server.close()


def test_scoring_times_fall_into_their_classes(tiny_model: Any) -> None:
    """A batch that takes just a bound's time counts to that bound, as Prometheus has it; the sum is that of all."""
    scorer = Scorer(tiny_model(), provider="cpu")
    times = iter([0.0, BOUNDS_SECONDS[0], 0.0, 0.002, 0.0, 99.0])
    timed = TimedScorer(scorer, clock=lambda: next(times))
    windows = scorer.metadata.golden.windows().swapaxes(1, 2)
    for _ in range(3):
        timed.score_windows(windows)
    assert timed.batches() == [1, 1, *[0] * (len(BOUNDS_SECONDS) - 2), 1]
    assert timed.total_seconds == pytest.approx(BOUNDS_SECONDS[0] + 0.002 + 99.0)


def test_what_is_dropped_stays_counted_after_it_was_told(tmp_path: Path) -> None:
    """The outbox's losses only ever grow, also when the event that tells of them has been written."""
    now = [0.0]
    outbox = Outbox(tmp_path, {"a": False}, max_events=100, max_bytes=1_000_000, clock=lambda: now[0])
    for number in range(150):
        outbox.write(f'{{"event": "x", "number": {number}}}', durable=True)
    assert outbox.standings() == {"a": Standing(100, {"events": 50, "scores": 0, "refused": 0})}
    rows = outbox.read("a", most=100)
    outbox.acknowledge("a", rows[-1].id)
    now[0] += 100
    outbox.write('{"event": "x"}', durable=True)  # makes room
    now[0] += 100
    outbox.write('{"event": "x"}', durable=True)  # tells
    assert any("events_dropped" in row.line for row in outbox.read("a", most=100))
    assert outbox.standings() == {"a": Standing(3, {"events": 50, "scores": 0, "refused": 0})}
    outbox.close()


def test_the_level_may_be_read_while_samples_come() -> None:
    """A reader in another thread never sees the level of a half-changed second."""
    meter, stop = LevelMeter(1000.0), threading.Event()

    def feed() -> None:
        while not stop.is_set():
            meter.add(np.tile(np.float32([1, -1]), 5)[:, None])

    feeder = threading.Thread(target=feed)
    feeder.start()
    try:
        levels = {meter.level_dbfs for _ in range(20_000)} - {None}
    finally:
        stop.set()
        feeder.join()
    assert all(level == pytest.approx(3.01, abs=0.01) for level in levels)
