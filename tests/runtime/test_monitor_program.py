"""The running program: several models, new configurations and models, a clock that is set."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from dasvdd_runtime import Scorer
from monitor_child import Events, MonitorChild
from mosquitto_broker import free_port
from scraping import wait_until
from wall_clock import WallClock
from white_noise import RATE_HZ, noise

THRESHOLD = 0.02


def of_kind(events: Events, kind: str) -> Events:
    return [event for event in events if event["event"] == kind]


def write(folder: Path, text: str) -> Path:
    (folder / "monitor.toml").write_text(text)
    return folder / "monitor.toml"


@pytest.fixture
def program() -> Any:
    """A starter of programs that are killed at the end."""
    started: list[MonitorChild] = []

    def start(config: Path, environment: dict[str, str] | None = None) -> MonitorChild:
        started.append(MonitorChild(config, environment))
        return started[-1]

    yield start
    for each in started:
        each.kill()


REPLAY = '[[source]]\nname = "{name}"\nkind = "file"\npath = "a.wav"\npace = "real-time"\n'
SCORES = "[events]\nscores = true\n"


def test_two_models_judge_their_own_sources(tiny_model: Any, tmp_path: Path, program: Any) -> None:
    """Each source is judged by the model that it names, at that model's window and threshold, on its own channel."""
    tiny_model(tmp_path / "long.onnx", threshold=1.0, window_samples=3200, window_hop_samples=3200)
    tiny_model(tmp_path / "short.onnx", threshold=THRESHOLD)
    stereo = np.concatenate([noise(5), noise(5, amplitude=0.6, seed=1)], axis=1)
    soundfile.write(tmp_path / "a.wav", stereo, RATE_HZ)
    source = '[[source]]\nname = "{0}"\nmodel = "{0}"\nkind = "file"\npath = "a.wav"\nchannels = [{1}]\n'
    models = '[[model]]\nname = "short"\npath = "short.onnx"\n[[model]]\nname = "long"\npath = "long.onnx"\n'
    child = program(write(tmp_path, models + source.format("short", 1) + source.format("long", 0)))
    child.wait_for("stopped")
    assert child.events[0]["sources"] == {"short": "short", "long": "long"}
    assert {name: model["threshold"] for name, model in child.events[0]["models"].items()} == {
        "short": THRESHOLD,
        "long": 1.0,
    }
    counts = {event["source"]: event["windows_scored"] for event in of_kind(child.events, "summary")}
    assert counts == {"short": 99, "long": 25}
    assert [event["source"] for event in of_kind(child.events, "alarm_raised")] == ["short"]


def test_a_new_model_is_taken_without_a_gap(tiny_model: Any, tmp_path: Path, program: Any) -> None:
    """After SIGHUP the new threshold holds, the stream goes on, and no sample is missing."""
    tiny_model(threshold=THRESHOLD)
    soundfile.write(tmp_path / "a.wav", noise(60, amplitude=0.5), RATE_HZ)
    child = program(write(tmp_path, '[model]\npath = "model.onnx"\n' + REPLAY.format(name="pump7") + SCORES))
    child.wait_for("alarm_raised")
    tiny_model(threshold=5.0, model_fingerprint="e" * 64)
    child.reload()
    reloaded = child.wait_for("reloaded")
    assert reloaded["kept"] == ["pump7"]
    assert reloaded["models"]["model"]["threshold"] == 5.0
    child.wait_for("alarm_open")
    written = len(child.events)
    child.wait_for("score", count=len(of_kind(child.events, "score")) + 20)
    assert child.stop() == 0
    assert not [event for event in of_kind(child.events[written:], "score") if event["in_alarm"]]
    (summary,) = of_kind(child.events, "summary")
    assert summary["gaps"] == 0
    # The same noise, sample for sample: what was scored after the reload lies where the file says.
    last = of_kind(child.events, "score")[-1]
    begin = round(last["start_seconds"] * RATE_HZ)
    samples = soundfile.read(tmp_path / "a.wav", dtype="float32", always_2d=True)[0][begin : begin + 1600]
    assert last["score"] == pytest.approx(Scorer(tmp_path / "model.onnx").score_signal(samples).score[0], rel=1e-5)


def test_what_cannot_run_is_not_taken(tiny_model: Any, tmp_path: Path, program: Any) -> None:
    """A model whose golden windows fail, one of another rate, a broken file: each is refused, and scoring goes on."""
    model = tiny_model(threshold=THRESHOLD)
    good = model.read_bytes()
    soundfile.write(tmp_path / "a.wav", noise(60), RATE_HZ)
    config = write(tmp_path, '[model]\npath = "model.onnx"\n' + REPLAY.format(name="pump7") + SCORES)
    child = program(config)
    child.wait_for("score")
    golden = tiny_model.metadata().golden
    wrong = golden.model_copy(update={"scores": [1.1 * score for score in golden.scores]})
    text = config.read_text()
    faults: list[tuple[Callable[[], object], str]] = [
        (lambda: tiny_model(threshold=THRESHOLD, golden=wrong), "golden"),
        (lambda: tiny_model(threshold=THRESHOLD, sample_rate_hz=8000.0), "8000 Hz"),
        (lambda: tiny_model(threshold=THRESHOLD, channels=2), "2 channel"),
        (lambda: model.write_bytes(good[: len(good) // 2]), "damaged"),
        (model.unlink, "model.onnx"),
        (lambda: model.write_bytes(good) and config.write_text("[modell]"), "modell"),
    ]
    for number, (break_it, says) in enumerate(faults, start=1):
        break_it()
        child.reload()
        refused = child.wait_for("reload_refused", count=number)
        assert says in refused["reason"]
        child.wait_for("score", count=len(of_kind(child.events, "score")) + 3)
    config.write_text(text)
    child.reload()
    child.wait_for("reloaded")
    assert child.stop() == 0
    (summary,) = of_kind(child.events, "summary")
    assert summary["gaps"] == 0


def test_a_reload_adds_and_removes_sources(tiny_model: Any, tmp_path: Path, program: Any) -> None:
    """The removed one gets its summary, the new one starts, and the one that stays is not touched."""
    tiny_model(threshold=THRESHOLD)
    soundfile.write(tmp_path / "a.wav", noise(60), RATE_HZ)
    head = '[model]\npath = "model.onnx"\n'
    config = write(tmp_path, head + REPLAY.format(name="one") + REPLAY.format(name="two") + SCORES)
    child = program(config)
    child.wait_for("score", count=20)
    config.write_text(head + REPLAY.format(name="two") + REPLAY.format(name="three") + SCORES)
    child.reload()
    reloaded = child.wait_for("reloaded")
    assert (reloaded["added"], reloaded["removed"], reloaded["kept"]) == (["three"], ["one"], ["two"])
    before = len(of_kind(child.events, "score"))
    child.wait_for("score", count=before + 30)
    assert child.stop() == 0
    assert [event["source"] for event in of_kind(child.events, "summary")] == ["one", "two", "three"]
    three = next(e for e in of_kind(child.events, "score") if e["source"] == "three")
    assert three["start_seconds"] == 0
    assert of_kind(child.events, "summary")[1]["gaps"] == 0


def test_a_second_monitor_is_told_that_one_runs(tiny_model: Any, tmp_path: Path, program: Any) -> None:
    """On one configuration the state directory is what both want: it is named before the outbox."""
    tiny_model()
    soundfile.write(tmp_path / "a.wav", noise(5), RATE_HZ)
    more = f'[state]\ndirectory = "state"\n[webhook]\nurl = "http://127.0.0.1:{free_port()}/"\n'
    config = write(tmp_path, f'[model]\npath = "model.onnx"\n{REPLAY.format(name="pump7")}{more}')
    program(config).wait_for("started")
    second = program(config)
    wait_until(lambda: any(line.startswith(b"error: ") for line in second.errors))
    assert f"[state] directory: a monitor already runs on {tmp_path / 'state'}.".encode() in b"".join(second.errors)


@pytest.mark.parametrize("hours", [1, -1])
def test_a_clock_jump_under_libfaketime_is_survived(
    tiny_model: Any, tmp_path: Path, program: Any, wall_clock: WallClock, hours: int
) -> None:
    """The real program, its wall clock set by an hour while it runs, the monotonic clock left alone."""
    tiny_model(threshold=THRESHOLD)
    source = '[model]\npath = "model.onnx"\n[[source]]\nname = "pump7"\nkind = "stdin"\nformat = "s16le"\n'
    child = program(write(tmp_path, source + SCORES), wall_clock.environment)
    child.feed(noise(2))
    child.wait_for("score", count=10)
    wall_clock.set(hours)
    jump = child.wait_for("clock_jump")
    assert jump["seconds"] == pytest.approx(3600 * hours, abs=1)
    before = len(of_kind(child.events, "score"))
    child.feed(noise(2))
    child.wait_for("score", count=before + 20)
    last = of_kind(child.events, "score")[-1]["time"]
    assert abs((datetime.fromisoformat(last) - datetime.now(UTC)).total_seconds() - 3600 * hours) < 30
    assert child.stop() == 0
    (summary,) = of_kind(child.events, "summary")
    assert (summary["gaps"], summary["lost_seconds"], summary["state"]) == (0, 0, "OK")
