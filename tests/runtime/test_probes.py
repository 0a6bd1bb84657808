"""Health and readiness, and the counts that metrics are made of."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from email.message import Message
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dasvdd_runtime import Scorer
from dasvdd_runtime.condition.drift import DriftReport
from dasvdd_runtime.condition.health import State
from dasvdd_runtime.condition.running_gate import LevelMeter
from dasvdd_runtime.endpoint.guard import Guard
from dasvdd_runtime.endpoint.metrics import Exposition
from dasvdd_runtime.endpoint.observed import Observed
from dasvdd_runtime.endpoint.pages import make_probes
from dasvdd_runtime.endpoint.probes import faults, undelivered
from dasvdd_runtime.endpoint.pulse import Pulse
from dasvdd_runtime.endpoint.server import Request, Server
from dasvdd_runtime.endpoint.tables import HttpTable
from dasvdd_runtime.events import Counts
from dasvdd_runtime.pipeline import DecisionRule, Pipeline
from dasvdd_runtime.running.capture import Capture
from dasvdd_runtime.running.channels import Channel
from dasvdd_runtime.running.scoring_times import BOUNDS_SECONDS, TimedScorer
from dasvdd_runtime.running.service import Service
from dasvdd_runtime.running.snapshot import SourceSnapshot, Standing
from dasvdd_runtime.scorer import Scores
from dasvdd_runtime.sinks.outbox import Outbox
from dasvdd_runtime.sources.base import Block
from dasvdd_runtime.windows import StreamMemory, Waiting, Window
from scraping import Samples, fetch, wait_until

RATE_HZ = 16000

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
    other = replace(SOURCE, state=state, **changes)
    assert undelivered([other, SOURCE]) == ([] if delivers else [other])


@pytest.mark.parametrize("state", sorted(set(State) - {State.OK, State.CLIPPED, State.IDLE}))
def test_what_is_not_ready_says_why(state: State) -> None:
    """Every state that makes `/readyz` answer 503 has a reason that names source and state, before any sample too."""
    for why in ("", "no samples for 7.0 s"):
        (reason,) = said_by_readyz(replace(SOURCE, state=state, state_reason=why))
        assert reason == f"source 'a' is {state.value}: {why or 'nothing has arrived yet'}"


def test_a_source_that_ended_with_a_fault_says_so() -> None:
    """Also where its last state was one of those that are judged."""
    (reason,) = said_by_readyz(replace(SOURCE, ended=True, failed=True, state_reason="samples arrive"))
    assert reason == "source 'a' ended with a fault and was OK: samples arrive"


def said_by_readyz(source: SourceSnapshot) -> list[str]:
    """The `reasons` that `/readyz` gives where this is the only source."""
    observed = Observed(lambda: (source,), dict, dict, dict, lambda: 0.0, {"v": "1"})
    page = make_probes(observed, Guard(HttpTable(listen="127.0.0.1:9464").token))["/readyz"]
    answer = page(Request(asked_as("127.0.0.1:9464")))
    assert answer.status == 503
    assert isinstance(answer.body, bytes)
    said = json.loads(answer.body)
    assert (said["ready"], said["undelivered"]) == (False, {"a": source.state.value})
    reasons: list[str] = said["reasons"]
    return reasons


@pytest.mark.parametrize("token", [None, "secret"])
def test_a_name_that_is_none_of_this_machine_learns_no_more_than_yes_or_no(tmp_path: Path, token: str | None) -> None:
    """Without a token, another site's page whose name was made to point here reads no metrics and no source's name."""
    file = tmp_path / "token"
    file.write_text(token or "")
    observed = Observed(lambda: (SOURCE,), dict, dict, dict, lambda: 0.0, {"v": "1"})
    table = HttpTable(listen="127.0.0.1:9464", token_file=None if token is None else file)
    pages = make_probes(observed, Guard(table.token))
    for host, may_read in (("127.0.0.1:9464", True), ("localhost:9464", True), ("attacker.example", token is not None)):
        headers = asked_as(host)
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        assert pages["/metrics"](Request(headers)).status == (200 if may_read else 403)
        for path, word in (("/healthz", "healthy"), ("/readyz", "ready")):
            answer = pages[path](Request(headers))
            assert isinstance(answer.body, bytes)
            assert answer.status == 200
            assert (json.loads(answer.body) == {word: True}) is not may_read


def asked_as(host: str) -> Message:
    """The headers of a client that asks `host`."""
    headers = Message()
    headers["Host"] = host
    return headers


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

    @property
    def batch_windows(self) -> int:
        return self._scorer.batch_windows

    def score(self, waiting: Sequence[Waiting]) -> Scores:
        while self.held.is_set():
            time.sleep(0.02)
        return self._scorer.score(waiting)


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
        status, answer = fetch(server.server_port, "/readyz")
        assert status == 503 and "scoring" in json.loads(answer)["reasons"][0]
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
    waiting = [Waiting(Window(0, samples.T), StreamMemory()) for samples in scorer.metadata.golden.windows()]
    for _ in range(3):
        timed.score(waiting)
    assert timed.batches() == [1, 1, *[0] * (len(BOUNDS_SECONDS) - 2), 1]
    assert timed.total_seconds == pytest.approx(BOUNDS_SECONDS[0] + 0.002 + 99.0)


def test_what_is_not_known_is_left_out() -> None:
    """No score before the first window and no drift before the first day; both are there once they are known."""
    drift = DriftReport(True, (), 86400.0, 1.0, 2.0, None, None, ())
    known = replace(SOURCE, name="b", score=0.5, drift=drift)
    observed = Observed(lambda: (SOURCE, known), dict, dict, dict, lambda: 0.0, {})
    samples = Samples(Exposition(observed).text().decode())
    for name, value in (("score", 0.5), ("drifting", 1.0)):
        assert samples.value(name, source="b") == value
        assert (f"dasvdd_{name}", {"source": "a"}) not in [(sample.name, sample.labels) for sample in samples.all]


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
