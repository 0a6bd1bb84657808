"""Does the machine run? The gate, the level it looks at, and what a pipeline makes of both."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from dasvdd_runtime import Scorer
from dasvdd_runtime.condition.levels import level_dbfs
from dasvdd_runtime.condition.running_gate import GateSettings, LevelMeter, RunningGate
from dasvdd_runtime.errors import ConfigError
from dasvdd_runtime.intake import Intake
from dasvdd_runtime.pipeline import DecisionRule, Pipeline
from dasvdd_runtime.running.channels import open_intake
from dasvdd_runtime.sources.tables import StdinTable
from judging import judge
from white_noise import RATE_HZ, noise

SETTINGS = GateSettings(stop_level=-40, start_level=-35, hold_seconds=2, settle_seconds=3)


def judged(gate: RunningGate, levels: list[float]) -> str:
    """What the gate says of each second: j judged, w withheld, I withheld and idle."""
    letters = ""
    for level in levels:
        may = gate.update(level, 1.0)
        letters += "j" if may else "I" if gate.idle else "w"
    return letters


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        ([-20] * 5, "jjjjj"),
        ([-20, -50, -20], "jwj"),
        ([-20, -50, -50, -50, -50], "jwwII"),
        ([-50] * 3 + [-20] * 4, "wwIIIjj"),
        ([-50] * 3 + [-37] * 3, "wwIIII"),
        ([-20, -37, -37], "jjj"),
        ([-50] * 3 + [-20, -20, -37, -37], "wwIIIjj"),
        ([-50] * 3 + [-20, -20, -50, -20, -20, -20], "wwIIIIIIj"),
        ([float("nan")] * 3 + [float("-inf")], "wwII"),
    ],
    ids=["runs", "a pause", "stops", "starts and settles", "not loud enough", "between", "settles between",
         "stops while it settles", "no number"],
)  # fmt: skip
def test_the_gate_has_hysteresis_a_hold_and_a_settling_time(levels: list[float], expected: str) -> None:
    """Quiet seconds are never judged, IDLE comes after the hold, and judging again after the settling time."""
    assert judged(RunningGate(SETTINGS), levels) == expected


@pytest.mark.parametrize("values", [{"start_level": -41}, {"hold_seconds": -1}, {"settle_seconds": float("nan")}])
def test_settings_that_cannot_work_are_refused(values: dict[str, float]) -> None:
    """A start below the stop would make the gate flutter."""
    with pytest.raises(ValueError, match=r"swap|0 or more"):
        GateSettings(**({"stop_level": -40.0, "start_level": -35.0} | values))


@pytest.mark.parametrize(
    ("rate_hz", "running"),
    [(1.0, {}), (1 / 60, {"stop_level": -20.0}), (1.0, {"stop_level": 5.0, "signal_channel": "b"})],
)
def test_slow_rows_are_gated_by_a_signal_and_never_by_level(
    tiny_model: Any, rate_hz: float, running: dict[str, Any]
) -> None:
    """A second of one row has no level, so that the source would be IDLE for ever; the fault names signal_channel."""
    metadata = tiny_model.metadata(kind="sensor", sample_rate_hz=rate_hz, window_samples=60, channel_names=["a"])
    table = StdinTable.model_validate({"name": "s", "kind": "stdin", "format": "csv", "running": running})
    if "signal_channel" in running:
        assert open_intake(table, metadata)[1].gate == GateSettings(stop_level=5.0, start_level=5.0)
    else:
        with pytest.raises(ConfigError, match=rf"source 's'.*{rate_hz:.3g} Hz.*signal_channel"):
            open_intake(table, metadata)


def test_the_meter_agrees_with_level_dbfs_whatever_the_blocks() -> None:
    """The level of the newest second, with its mean removed, is that of the training's baseline."""
    samples = np.concatenate([noise(2, amplitude=0.9), noise(1, amplitude=0.01) + 0.3])
    meter = LevelMeter(RATE_HZ)
    for block in np.array_split(samples, 30):
        meter.add(block)
    assert meter.level_dbfs == pytest.approx(level_dbfs(samples[-RATE_HZ:]), abs=0.01)
    meter.restart()
    assert meter.level_dbfs is None


@pytest.mark.parametrize("part_samples", [1, 7, 99, 100, 101, 1000, 2750])
def test_the_level_of_a_rising_sound_is_the_same_whatever_the_blocks(part_samples: int) -> None:
    """Of 2.75 s that grow louder all the while, the newest second and no more than a tenth of one is counted."""
    rate_hz = 1000
    samples = noise(2.75)[: round(2.75 * rate_hz)] * np.linspace(0, 1, round(2.75 * rate_hz), dtype=np.float32)[:, None]
    meter = LevelMeter(rate_hz)
    for start in range(0, len(samples), part_samples):
        meter.add(samples[start : start + part_samples])
    assert meter.level_dbfs == pytest.approx(level_dbfs(samples[-1050:]), rel=1e-9)


@pytest.fixture
def line(tiny_model: Any) -> Any:
    """A maker of pipelines with a gate; the tiny model's windows are 0.1 s every 0.05 s."""

    def make(intake: Intake, *, threshold: float = 0.02) -> Pipeline:
        scorer = Scorer(tiny_model(threshold=threshold), provider="cpu")
        rule = DecisionRule(threshold, scorer.metadata.decision, usual_score=0.0)
        return Pipeline(name="p", metadata=scorer.metadata, scorer=scorer, rule=rule, report_scores=True, intake=intake)

    return make


def states(events: list[dict[str, Any]]) -> list[str]:
    return [event["state"] for event in events if event["event"] == "source_state"]


def test_a_machine_that_stands_still_is_idle_and_not_judged(line: Any) -> None:
    """Between two runs nothing is scored once the level has fallen; hours are counted apart, to the last window."""
    pipeline = line(Intake(gate=SETTINGS))
    samples = np.concatenate([noise(5), noise(10, amplitude=0.001, seed=1), noise(10, seed=2)])
    events = [event for block in np.array_split(samples, 41) for event in judge(pipeline, block)]
    assert states(events) == ["OK", "IDLE", "OK"]
    idle = next(event for event in events if event.get("state") == "IDLE")
    assert "level" in idle["reason"]
    assert 7 < idle["stream_seconds"] < 9
    times = [event["stream_seconds"] for event in events if event["event"] == "score"]
    assert not [time for time in times if 6.01 < time <= 18.0]
    assert [time for time in times if time > 18.3]
    counts = pipeline.counts
    assert counts.windows_scored + counts.windows_idle == 499
    assert counts.windows_withheld == 0
    assert counts.running_seconds == pytest.approx(0.05 * counts.windows_scored)
    assert counts.idle_seconds == pytest.approx(0.05 * counts.windows_idle)


def test_a_loud_start_is_no_alarm_before_it_has_settled(line: Any) -> None:
    """The inrush of a starting machine is far above the threshold, and stays unjudged for the settling time."""
    pipeline = line(Intake(gate=SETTINGS))
    start = np.concatenate([noise(5, amplitude=0.001), noise(2, amplitude=0.9, seed=1), noise(10, seed=2)])
    events = [event for block in np.array_split(start, 23) for event in judge(pipeline, block)]
    assert "alarm_raised" not in {event["event"] for event in events}
    assert pipeline.counts.windows_scored > 0


def test_a_loud_start_without_a_gate_does_alarm(line: Any) -> None:
    """The test above can fail."""
    pipeline = line(Intake())
    start = np.concatenate([noise(5, amplitude=0.001), noise(2, amplitude=0.9, seed=1)])
    assert "alarm_raised" in {event["event"] for event in judge(pipeline, start)}


def test_an_external_signal_gates_whatever_the_level(line: Any) -> None:
    """A relay on channel 1 decides; the model hears channel 0 alone, which is loud all the time."""
    gate = GateSettings(stop_level=0.5, start_level=0.5, hold_seconds=1, settle_seconds=1)
    pipeline = line(Intake(channels=(0,), gate=gate, gate_channel=1))
    relay = np.repeat(np.array([1, 0, 1], np.float32), 5 * RATE_HZ)[:, None]
    events = [
        event
        for block in np.array_split(np.concatenate([noise(15), relay], axis=1), 29)
        for event in judge(pipeline, block)
    ]
    assert states(events) == ["OK", "IDLE", "OK"]
    times = [event["stream_seconds"] for event in events if event["event"] == "score"]
    assert not [time for time in times if 5.01 < time <= 11.0]
    assert max(times) == pytest.approx(15)
    assert pipeline.snapshot(waiting_seconds=0, drift_ppm=None, live=True, ended=False).level_dbfs == pytest.approx(
        level_dbfs(noise(15)[-RATE_HZ:]), abs=0.1
    )
