"""The service in this process, with many sources: batches, overload, clocks, a device that was never there."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dasvdd_runtime import Scorer
from dasvdd_runtime.condition.health import State
from dasvdd_runtime.errors import DasvddError
from dasvdd_runtime.intake import Intake
from dasvdd_runtime.pipeline import DecisionRule, Pipeline
from dasvdd_runtime.running import capture
from dasvdd_runtime.running.capture import Capture
from dasvdd_runtime.running.channels import Channel
from dasvdd_runtime.running.clock_watch import ClockWatch
from dasvdd_runtime.running.message_queue import Missing, Samples
from dasvdd_runtime.running.scoring import score_waiting
from dasvdd_runtime.running.service import Service
from dasvdd_runtime.scorer import Scores
from dasvdd_runtime.sources.base import Block, SourceLost
from dasvdd_runtime.sources.file import FileSource
from dasvdd_runtime.windows import Waiting
from judging import judge
from monitor_child import Events
from white_noise import RATE_HZ, noise

THRESHOLD = 0.02


def of_kind(events: Events, kind: str) -> Events:
    return [event for event in events if event["event"] == kind]


class ListSink:
    """Keeps events as they were written."""

    def __init__(self) -> None:
        self.events: Events = []

    def write(self, line: str, *, durable: bool) -> None:
        self.events.append(json.loads(line))

    def close(self) -> None:
        pass


class LiveNoise:
    """A live source: noise by the clock, in blocks of 0.1 s; `away` makes opening fail while it is set."""

    live = True
    sample_rate_hz = float(RATE_HZ)

    def __init__(self) -> None:
        self.away = threading.Event()
        self.opened = 0
        self._due_seconds = 0.0
        self._block = noise(0.1)

    def open(self) -> None:
        self.opened += 1
        if self.away.is_set():
            raise SourceLost("not plugged in")
        self._due_seconds = time.monotonic()

    def read(self) -> Block:
        if self.away.is_set():
            raise SourceLost("unplugged")
        self._due_seconds += 0.1
        time.sleep(max(0.0, self._due_seconds - time.monotonic()))
        return Block(self._block)

    def close(self) -> None:
        pass


class CountingScorer:
    """A scorer that counts its batches."""

    def __init__(self, scorer: Scorer) -> None:
        self.metadata = scorer.metadata
        self.batches: list[int] = []
        self._scorer = scorer

    @property
    def batch_windows(self) -> int:
        return self._scorer.batch_windows

    def score(self, waiting: Sequence[Waiting]) -> Scores:
        self.batches.append(len(waiting))
        return self._scorer.score(waiting)


@pytest.fixture
def counting(tiny_model: Any) -> Callable[..., CountingScorer]:
    """A maker of scorers of a tiny model, with 0.1 s windows every 0.05 s."""

    def make() -> CountingScorer:
        return CountingScorer(Scorer(tiny_model(threshold=THRESHOLD), provider="cpu"))

    return make


def make_pipeline(name: str, scorer: CountingScorer) -> Pipeline:
    rule = DecisionRule(THRESHOLD, scorer.metadata.decision, usual_score=0.0)
    return Pipeline(name=name, metadata=scorer.metadata, scorer=scorer, rule=rule, report_scores=True)


def test_sources_that_share_a_model_are_scored_in_one_batch(counting: Callable[..., CountingScorer]) -> None:
    """Four sources make one batch, and each gets the scores that it gets alone."""
    shared, alone = counting(), counting()
    lines = [make_pipeline(f"s{i}", shared) for i in range(4)]
    emitted: Events = []
    for i, line in enumerate(lines):
        line.cut(noise(0.3, seed=i))
    score_waiting(lines, emitted.extend)
    assert shared.batches == [20]
    for i in range(4):
        expected = of_kind(judge(make_pipeline(f"s{i}", alone), noise(0.3, seed=i)), "score")
        found = [event for event in of_kind(emitted, "score") if event["source"] == f"s{i}"]
        assert [event["stream_seconds"] for event in found] == [event["stream_seconds"] for event in expected]
        np.testing.assert_allclose([e["score"] for e in found], [e["score"] for e in expected], rtol=1e-6)


def test_a_batch_is_bounded_whatever_waits(counting: Callable[..., CountingScorer]) -> None:
    """A minute that waits is scored in pieces, so that memory does not grow with it."""
    scorer = counting()
    line = make_pipeline("s", scorer)
    line.cut(noise(60))
    score_waiting([line], lambda events: None)
    assert sum(scorer.batches) == 1199
    assert max(scorer.batches) <= 64


def test_events_keep_their_order_around_a_gap_that_waits(counting: Callable[..., CountingScorer]) -> None:
    """What was cut before a gap is decided before it: smoothing restarts exactly where the stream broke."""
    one, other = make_pipeline("a", counting()), make_pipeline("b", counting())
    expected = judge(one, noise(1))
    one.gap(lost=800)
    expected += judge(one, noise(1, seed=3))
    other.cut(noise(1))
    other.gap(lost=800)
    other.cut(noise(1, seed=3))
    found: Events = []
    score_waiting([other], found.extend)
    assert [dict(event, source="a") for event in found] == expected


def test_a_device_that_was_never_there_is_tried_for_ever(
    counting: Callable[..., CountingScorer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is MISSING with the reason, the pauses double up to their cap, and once it is there it is heard."""
    monkeypatch.setattr(capture, "FIRST_RETRY_SECONDS", 0.02)
    monkeypatch.setattr(capture, "LAST_RETRY_SECONDS", 0.16)
    source = LiveNoise()
    source.away.set()
    wake, sink = threading.Event(), ListSink()
    channel = Channel(Capture(source, name="s", stall_seconds=5, wake=wake), make_pipeline("s", counting()))
    service = Service([channel], [sink], wake=wake)
    runner = threading.Thread(target=service.run, args=({"event": "started"},))
    runner.start()
    time.sleep(1.5)
    assert 8 <= source.opened <= 14  # 20 + 40 + 80 ms, then every 160 ms
    (before,) = service.snapshot()
    assert (before.state, before.score, before.level_dbfs) == (State.MISSING, None, None)
    source.away.clear()
    time.sleep(1.5)
    (after,) = service.snapshot()
    service.request_stop("test")
    runner.join()
    assert after.state is State.OK
    assert after.score is not None and after.counts.windows_scored > 5
    assert after.counts.lost_seconds == 0
    changes = of_kind(sink.events, "source_state")
    assert [change["state"] for change in changes] == ["MISSING", "OK"]
    assert "not plugged in" in changes[0]["reason"]


def test_data_that_cannot_be_used_are_told_from_a_device_that_is_away(
    counting: Callable[..., CountingScorer], tmp_path: Path
) -> None:
    """A table without the model's column is MISSING for a reason of its own; one that is not there says just that."""
    (tmp_path / "a.csv").write_text("y\n" + "1\n2\n" * 9)
    reasons = {}
    for name in ("a.csv", "b.csv"):
        source = FileSource(tmp_path / name, sample_rate_hz=10.0, channel_names=["x"])
        wake, sink = threading.Event(), ListSink()
        channel = Channel(Capture(source, name="s", stall_seconds=5, wake=wake), make_pipeline("s", counting()))
        with pytest.raises(DasvddError) as raised:
            Service([channel], [sink], wake=wake).run({"event": "started"})
        (change,) = of_kind(sink.events, "source_state")
        assert change["state"] == "MISSING"
        reasons[name] = change["reason"].removesuffix(str(raised.value))
    assert reasons == {"a.csv": "it is there, but what it gives cannot be used: ", "b.csv": ""}


def test_the_last_samples_before_a_stall_are_no_recovery(counting: Callable[..., CountingScorer]) -> None:
    """What a device gave last, too little for a turn of its own, is not taken for its return once it is given up."""

    class Ending(LiveNoise):
        def __init__(self) -> None:
            super().__init__()
            self.parts = [noise(1), noise(0.03)]

        def read(self) -> Block:
            time.sleep(0.05)
            return Block(self.parts.pop(0) if self.parts else noise(0))

    wake, sink = threading.Event(), ListSink()
    scorer = counting()
    rule = DecisionRule(THRESHOLD, scorer.metadata.decision, usual_score=0.0)
    intake = Intake(stall_seconds=0.8)
    pipeline = Pipeline(name="s", metadata=scorer.metadata, scorer=scorer, rule=rule, report_scores=True, intake=intake)
    channel = Channel(Capture(Ending(), name="s", stall_seconds=0.8, wake=wake), pipeline)
    Service([channel], [sink], wake=wake).run({"event": "started"}, max_seconds=3)
    assert [event["state"] for event in of_kind(sink.events, "source_state")] == ["OK", "STALLED", "MISSING"]
    assert of_kind(sink.events, "summary")[0]["stream_seconds"] == pytest.approx(1.03)


def test_a_flapping_device_is_retried_ever_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loose plug that gives a moment of sound at every try cannot fill a disk with its changes of state."""
    monkeypatch.setattr(capture, "FIRST_RETRY_SECONDS", 0.02)
    monkeypatch.setattr(capture, "LAST_RETRY_SECONDS", 0.32)

    class Flapping(LiveNoise):
        def open(self) -> None:
            self.opened += 1
            self.fresh = True

        def read(self) -> Block:
            if not self.fresh:
                raise SourceLost("loose")
            self.fresh = False
            return Block(noise(0.01))

    taken = Capture(Flapping(), name="s", stall_seconds=5, wake=threading.Event())
    taken.start()
    time.sleep(2)
    taken.request_stop()
    messages = taken.take_all()
    assert taken.join()
    assert len([message for message in messages if isinstance(message, Missing)]) <= 11
    assert any(isinstance(message, Samples) for message in messages)


def test_the_heartbeat_stops_with_a_driver_that_hangs(
    counting: Callable[..., CountingScorer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A capture thread that does not come back is no progress, so the watchdog is not fed; before, it was."""
    monkeypatch.setattr(capture, "ALIVE_SECONDS", 0.5)
    hang = threading.Event()

    class Hanging(LiveNoise):
        def read(self) -> Block:
            if hang.is_set():
                time.sleep(6)
            return super().read()

    wake, beats = threading.Event(), list[float]()
    channel = Channel(Capture(Hanging(), name="s", stall_seconds=5, wake=wake), make_pipeline("s", counting()))
    service = Service([channel], [ListSink()], wake=wake, heartbeat=lambda: beats.append(time.monotonic()))
    runner = threading.Thread(target=service.run, args=({"event": "started"},), kwargs={"max_seconds": 2.5})
    runner.start()
    time.sleep(1)
    assert len(beats) >= 3
    hung_seconds = time.monotonic()
    hang.set()
    runner.join()
    assert beats[-1] < hung_seconds + 1.0


def test_a_wall_clock_that_is_set_is_told_and_changes_no_duration(counting: Callable[..., CountingScorer]) -> None:
    """An hour forwards and back again: two events with the jump, one stream without a gap."""
    begin = time.monotonic()

    def now() -> datetime:
        elapsed = time.monotonic() - begin
        return datetime.now(UTC) + timedelta(hours=1 if 0.6 < elapsed < 1.2 else 0)

    wake, sink = threading.Event(), ListSink()
    channel = Channel(Capture(LiveNoise(), name="s", stall_seconds=5, wake=wake), make_pipeline("s", counting()))
    Service([channel], [sink], wake=wake, now=now).run({"event": "started"}, max_seconds=2)
    jumps = [event["seconds"] for event in of_kind(sink.events, "clock_jump")]
    assert jumps == [pytest.approx(3600, abs=0.5), pytest.approx(-3600, abs=0.5)]
    (summary,) = of_kind(sink.events, "summary")
    assert (summary["gaps"], summary["lost_seconds"]) == (0, 0)


def test_slewing_is_no_jump() -> None:
    """A time service that moves the clock by 500 ppm is not told of; a second is."""
    watch = ClockWatch()
    assert [watch.look(1e9 + 1.0005 * t, t) for t in range(0, 100, 1)] == [None] * 100
    assert watch.look(1e9 + 200, 100.0) == pytest.approx(100, abs=0.1)
