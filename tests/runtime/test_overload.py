"""More sound than can be scored, from devices that hand it over in blocks of different sizes."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dasvdd_runtime import Scorer
from dasvdd_runtime.pipeline import DecisionRule, Pipeline
from dasvdd_runtime.running.capture import Capture
from dasvdd_runtime.running.channels import Channel
from dasvdd_runtime.running.service import Service
from dasvdd_runtime.scorer import Scores
from dasvdd_runtime.sources.base import Block
from dasvdd_runtime.windows import Waiting
from monitor_child import MonitorChild
from white_noise import noise

RATE_HZ = 16000
BLOCK_SECONDS = (0.01, 0.1, 0.4, 0.01, 0.1, 0.4, 0.01, 0.1)
"""Of each source."""


class BlockNoise:
    """A live source of noise by the clock, in blocks of so many seconds."""

    live, sample_rate_hz = True, float(RATE_HZ)

    def __init__(self, block_seconds: float) -> None:
        self._block_seconds = block_seconds
        random = np.random.default_rng(0)
        self._block = random.uniform(-0.1, 0.1, (round(block_seconds * RATE_HZ), 1)).astype(np.float32)

    def open(self) -> None:
        self._due_seconds = time.monotonic()

    def read(self) -> Block:
        self._due_seconds += self._block_seconds
        time.sleep(max(0.0, self._due_seconds - time.monotonic()))
        return Block(self._block)

    def close(self) -> None:
        pass


class SlowScorer:
    """Takes 0.0375 s for each window of 0.1 s: eight sources are three times too many."""

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer

    @property
    def batch_windows(self) -> int:
        return self._scorer.batch_windows

    def score(self, waiting: Sequence[Waiting]) -> Scores:
        time.sleep(0.0375 * len(waiting))
        return self._scorer.score(waiting)


class ListSink:
    """Keeps events."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def write(self, line: str, *, durable: bool) -> None:
        self.events.append(json.loads(line))

    def close(self) -> None:
        pass


@pytest.mark.slow
def test_overload_is_shed_fairly_and_said(tiny_model: Any) -> None:
    """Whatever their blocks, sources lose about the same part of what they gave, all are judged, and `overload` tells.

    The heartbeat goes on.
    """
    scorer = Scorer(tiny_model(threshold=10.0, window_samples=1600, window_hop_samples=1600), provider="cpu")
    wake, sink, slow = threading.Event(), ListSink(), SlowScorer(scorer)
    rule = DecisionRule(10.0, scorer.metadata.decision, usual_score=0.0)
    channels = [
        Channel(
            Capture(BlockNoise(seconds), name=f"s{i}", stall_seconds=5, wake=wake, queue_seconds=1.2),
            Pipeline(name=f"s{i}", metadata=scorer.metadata, scorer=slow, rule=rule, report_scores=False),
        )
        for i, seconds in enumerate(BLOCK_SECONDS)
    ]
    beats: list[float] = []
    service = Service(channels, [sink], wake=wake, heartbeat=lambda: beats.append(time.monotonic()))
    service.run({"event": "started"}, max_seconds=12)
    summaries = [event for event in sink.events if event["event"] == "summary"]
    heard = np.array([summary["windows_scored"] * 0.1 for summary in summaries])
    dropped = np.array([summary["dropped_seconds"] for summary in summaries])
    share = dropped / (dropped + heard)
    assert share.min() > 0.4 and np.ptp(share) < 0.1, share
    assert heard.min() > 1
    told = [event["dropped_seconds"] for event in sink.events if event["event"] == "overload"]
    assert 1 <= len(told) <= 2
    assert all(event["bursts"] == [] for event in sink.events if event["event"] == "overload")
    for summary in summaries:
        by_events = sum(event.get(summary["source"], 0.0) for event in told)
        assert by_events == pytest.approx(summary["dropped_seconds"])
    assert max(np.diff(beats)) < 5


def test_a_burst_is_told_from_a_processor_that_is_too_slow(tiny_model: Any, tmp_path: Path) -> None:
    """Ten minutes of sound that a program gives at once: what has no room is dropped, and the reason is the burst."""
    tiny_model(threshold=10.0)
    (tmp_path / "held_back.raw").write_bytes(np.round(3000 * noise(600)).astype("<i2").tobytes())
    config = tmp_path / "monitor.toml"
    config.write_text(
        '[model]\npath = "model.onnx"\n[[source]]\nname = "late"\nkind = "command"\nformat = "s16le"\n'
        f'argv = ["sh", "-c", "cat {tmp_path}/held_back.raw; sleep 60"]\n'
    )
    child = MonitorChild(config)
    try:
        told = child.wait_for("overload")
        child.stop()
    finally:
        child.kill()
    assert (told["bursts"], told["dropped_seconds"].keys()) == (["late"], {"late"})
    assert b"more came at once than may wait: dropped" in b"".join(child.errors)
