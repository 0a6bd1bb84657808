"""One source's samples -> events: silence, faults and gaps in the stream, and what an event says."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from dasvdd_runtime import Scorer
from dasvdd_runtime.detector import DecisionSettings
from dasvdd_runtime.events import carrying_bands, to_json
from dasvdd_runtime.intake import Intake
from dasvdd_runtime.pipeline import DecisionRule, Pipeline
from judging import judge
from white_noise import RATE_HZ, noise

THRESHOLD = 0.02

Events = list[dict[str, Any]]


def of_kind(events: Events, kind: str) -> Events:
    return [event for event in events if event["event"] == kind]


@pytest.fixture
def pipeline(tiny_model: Any) -> Callable[..., Pipeline]:
    """A maker of pipelines on a tiny model: window 0.1 s, hop 0.05 s; keywords go to the model's metadata."""

    def make(*, silent_seconds: float = 2.0, **settings: Any) -> Pipeline:
        scorer = Scorer(tiny_model(threshold=THRESHOLD, **settings), provider="cpu")
        rule = DecisionRule(THRESHOLD, scorer.metadata.decision, usual_score=0.0)
        return Pipeline(
            name="pump7",
            metadata=scorer.metadata,
            scorer=scorer,
            rule=rule,
            intake=Intake(silent_seconds=silent_seconds),
            report_scores=True,
        )

    return make


def test_silence_is_withheld_and_no_anomaly(pipeline: Callable[..., Pipeline]) -> None:
    """A microphone that goes silent and comes back is SILENT, its windows are counted, and no alarm rises."""
    line = pipeline(decision=DecisionSettings(smoothing_seconds=0))
    samples = np.concatenate([noise(3), np.zeros((4 * RATE_HZ, 1), np.float32), noise(3)])
    events = [event for block in np.array_split(samples, 37) for event in judge(line, block)]
    changes = [event["state"] for event in of_kind(events, "source_state")]
    assert changes == ["OK", "SILENT", "OK"]
    silent = [event for event in of_kind(events, "score") if 3.3 < event["stream_seconds"] <= 7.0]
    assert silent == []
    assert not of_kind(events, "alarm_raised")
    assert line.counts.windows_withheld >= 70
    assert line.counts.windows_scored + line.counts.windows_withheld == 199


@pytest.mark.parametrize("block_rows", [1, 60, 3000, 7200])
def test_a_sensor_stuck_for_an_hour_is_withheld_whatever_the_blocks(
    pipeline: Callable[..., Pipeline], block_rows: int
) -> None:
    """Two hours of rows of which the middle ones are all alike give the same states and scores in any blocks."""
    line = pipeline(kind="sensor", sample_rate_hz=1.0, window_samples=60, window_hop_samples=30, silent_seconds=10.0)
    rows = noise(7200 / RATE_HZ)
    rows[1800:5400] = rows[1800]
    events = [event for start in range(0, 7200, block_rows) for event in judge(line, rows[start : start + block_rows])]
    assert [event["state"] for event in of_kind(events, "source_state")] == ["OK", "SILENT", "OK"]
    ends = {event["stream_seconds"] for event in of_kind(events, "score")}
    assert ends == {end for end in range(60, 7201, 30) if end < 1810 or end > 5400}
    assert line.counts.windows_withheld == 120


@pytest.mark.parametrize("blocks", [1, 10])
def test_a_clipped_second_is_told_whatever_the_blocks(pipeline: Callable[..., Pipeline], blocks: int) -> None:
    """Two in a thousand samples of one second at full scale are CLIPPED, though they are two in ten thousand of all."""
    samples = noise(10)
    samples[:RATE_HZ:500] = 1.0
    line = pipeline()
    events = [event for block in np.array_split(samples, blocks) for event in judge(line, block)]
    assert [event["state"] for event in of_kind(events, "source_state")][-2:] == ["CLIPPED", "OK"]


@pytest.mark.parametrize("blocks", [1, 97])
def test_a_window_has_the_level_of_its_own_second_however_late_it_is_scored(
    pipeline: Callable[..., Pipeline], blocks: int
) -> None:
    """Noise that grows by 20 dB in ten seconds: each score tells the level up to the end of its window."""
    line = pipeline()
    samples = noise(10) * np.logspace(-1, 0, 10 * RATE_HZ, dtype=np.float32)[:, None]
    told = [event for part in np.array_split(samples, blocks) for event in judge(line, part)]
    for event in of_kind(told, "score")[20:]:
        end = round(event["stream_seconds"] * RATE_HZ)
        second = samples[end - RATE_HZ : end]
        assert event["level_dbfs"] == pytest.approx(10 * np.log10(2 * second.var()), abs=0.3)


@pytest.mark.parametrize(("used", "state"), [("0", "SILENT"), ("1", "OK"), ("all", "SILENT"), ("mean", "SILENT")])
def test_a_dead_channel_is_silence_where_the_model_uses_it(
    pipeline: Callable[..., Pipeline], used: str, state: str
) -> None:
    """Beside a live channel a dead one never raises an alarm: it is withheld if used, and no news if not."""
    line = pipeline(channels=2, front_end={"channel": used}, residual_names=["a", "b"], units=["full scale"] * 2)
    dead = np.concatenate([np.zeros((5 * RATE_HZ, 1), np.float32), noise(5)], axis=1)
    judge(line, dead)
    assert line.state == state
    assert line.counts.windows_scored == (0 if state == "SILENT" else 99)
    assert not line.in_alarm


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_a_fault_and_never_normal(pipeline: Callable[..., Pipeline], bad: float) -> None:
    """One NaN makes FAULT and withholds exactly the windows that hold it; an alarm that lasts is not cleared by it."""
    line = pipeline(decision=DecisionSettings(smoothing_seconds=0))
    judge(line, noise(1, amplitude=0.9))
    assert line.in_alarm
    broken = noise(1, amplitude=0.9)
    broken[8000] = bad
    events = judge(line, broken)
    assert [event["state"] for event in of_kind(events, "source_state")] == ["FAULT"]
    assert line.counts.windows_withheld == 2
    assert line.in_alarm
    judge(line, np.full((RATE_HZ, 1), bad, np.float32))
    assert line.in_alarm


def test_a_score_that_overflows_is_a_fault(pipeline: Callable[..., Pipeline]) -> None:
    """Finite samples whose score is not finite make FAULT as well."""
    line = pipeline()
    events = judge(line, np.full((RATE_HZ, 1), 3e38, np.float32) * noise(1, amplitude=1))
    assert "FAULT" in [event["state"] for event in of_kind(events, "source_state")]
    assert line.counts.windows_scored == 0


def test_windows_never_span_a_gap(pipeline: Callable[..., Pipeline]) -> None:
    """After a gap windows start anew at the first sample that followed, and time counts what is missing."""
    line = pipeline()
    judge(line, noise(0.12))
    line.gap(lost=RATE_HZ, dropped=RATE_HZ // 2)
    events = judge(line, noise(0.1, seed=5))
    (score,) = of_kind(events, "score")
    assert score["start_seconds"] == pytest.approx(1.62)
    expected = np.mean(noise(0.1, seed=5).astype(np.float64) ** 2)
    assert score["score"] == pytest.approx(expected, rel=1e-3)
    assert score["smoothed_score"] == score["score"]
    assert (line.counts.gaps, line.counts.lost_seconds, line.counts.dropped_seconds) == (1, 1.0, 0.5)


def test_the_bands_that_carry_an_alarm_are_those_furthest_from_usual() -> None:
    """Ratios to what is usual decide, not sizes; at most three, largest first; an unusual zero baseline comes last."""
    bands = carrying_bands([8.0, 3.0, 1.0, 9.0, 5.0], [8.0, 1.0, 0.1, 4.5, 0.0], ["a", "b", "c", "d", "e"])
    assert bands == [{"name": "c", "ratio": 10.0}, {"name": "b", "ratio": 3.0}, {"name": "d", "ratio": 2.0}]


def test_events_are_json_whatever_they_hold() -> None:
    """NaN and infinity, which JSON does not have, become null."""
    line = to_json(
        {"event": "x", "a": [float("nan"), 1.5], "b": {"c": float("inf")}}, now=datetime(2026, 1, 2, tzinfo=UTC)
    )
    assert json.loads(line, parse_constant=lambda name: pytest.fail(name)) == {
        "schema": "1.0", "event": "x", "time": "2026-01-02T00:00:00.000Z", "a": [None, 1.5], "b": {"c": None},
    }  # fmt: skip
