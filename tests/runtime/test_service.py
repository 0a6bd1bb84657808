"""`dasvdd-monitor run`: sources -> events, in one process and as a program."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from dasvdd_runtime import Scorer, cli
from dasvdd_runtime.detector import DecisionSettings, find_episodes
from numpy.typing import NDArray
from white_noise import RATE_HZ, noise

THRESHOLD = 0.02
MONITOR = [sys.executable, "-c", "from dasvdd_runtime.cli import main; main()"]

Events = list[dict[str, Any]]


def healthy_faulty_healthy() -> NDArray[np.float32]:
    """10 s of a quiet machine, 5 s of a loud one, 10 s of a quiet one."""
    return np.concatenate([noise(10), noise(5, amplitude=0.5, seed=1), noise(10, seed=2)])


def write_config(folder: Path, source: str, extra: str = "") -> Path:
    """A monitor.toml for the tiny model in `folder` with one source."""
    path = folder / "monitor.toml"
    path.write_text(f'[model]\npath = "model.onnx"\n[[source]]\nname = "pump7"\n{source}\n{extra}\n')
    return path


def write_replay(folder: Path, samples: NDArray[np.float32], extra: str = "") -> Path:
    """A monitor.toml that replays `samples`."""
    soundfile.write(folder / "a.wav", samples, RATE_HZ, subtype="FLOAT")
    return write_config(folder, 'kind = "file"\npath = "a.wav"', extra)


def run_program(config: Path, *arguments: str, **options: Any) -> tuple[Events, subprocess.CompletedProcess[str]]:
    """Run `dasvdd-monitor run` to its end; its events and the process."""
    process = subprocess.run(
        [*MONITOR, "run", str(config), *arguments], capture_output=True, text=True, timeout=60, check=False, **options
    )
    return parse(process.stdout), process


def parse(text: str) -> Events:
    return [json.loads(line) for line in text.splitlines()]


def of_kind(events: Events, kind: str) -> Events:
    return [event for event in events if event["event"] == kind]


def test_a_replay_scores_as_the_whole_file_does(tiny_model: Any, tmp_path: Path) -> None:
    """Scores of the stream equal score_signal window by window, and its episode is that of the scores as an array."""
    samples = healthy_faulty_healthy()
    model = tiny_model(threshold=THRESHOLD)
    events, process = run_program(write_replay(tmp_path, samples, "[events]\nscores = true"))
    assert process.returncode == 0, process.stderr
    expected = Scorer(model).score_signal(samples).score
    scores = of_kind(events, "score")
    np.testing.assert_allclose([event["score"] for event in scores], expected, rtol=1e-6)
    ends = 0.1 + 0.05 * np.arange(len(expected))
    np.testing.assert_allclose([event["stream_seconds"] for event in scores], ends)
    np.testing.assert_allclose([event["start_seconds"] for event in scores], ends - 0.1, atol=1e-9)
    (episode,) = find_episodes(
        ends, expected, threshold=THRESHOLD, settings=DecisionSettings(), window_hop_seconds=0.05
    )
    (raised,) = of_kind(events, "alarm_raised")
    (cleared,) = of_kind(events, "alarm_cleared")
    assert raised["stream_seconds"] == cleared["rise_seconds"] == pytest.approx(episode.rise_seconds)
    assert cleared["peak_seconds"] == pytest.approx(episode.peak_seconds)
    assert cleared["clear_seconds"] == cleared["stream_seconds"] == pytest.approx(episode.clear_seconds)
    assert 10 < raised["stream_seconds"] < 12
    assert 15 < cleared["stream_seconds"] < 22


def test_the_events_tell_the_whole_story(tiny_model: Any, tmp_path: Path) -> None:
    """From started to stopped, each event carries schema and time, and the file holds what standard output got."""
    tiny_model(threshold=THRESHOLD)
    config = write_replay(tmp_path, healthy_faulty_healthy(), '[events]\npath = "log/events.jsonl"')
    events, _ = run_program(config)
    kinds = ["started", "source_state", "alarm_raised", "alarm_cleared", "summary", "stopped"]
    assert [event["event"] for event in events] == kinds
    assert parse((tmp_path / "log" / "events.jsonl").read_text()) == events
    for event in events:
        assert event["schema"] == "1.0"
        assert event["time"].endswith("Z")
        assert len(event["time"]) == len("2026-01-01T00:00:00.000Z")
    started, _, raised, cleared, summary, stopped = events
    assert started["sources"] == {"pump7": "model"}
    model = started["models"]["model"]
    assert model["threshold"] == THRESHOLD
    assert model["model_fingerprint"] == "f" * 64
    assert model["provider"] == "CPUExecutionProvider"
    assert len({event["id"] for event in events}) == len(events)
    assert raised["episode"] == cleared["episode"] == 1
    assert cleared["bands"] == [{"name": "channel 0", "ratio": pytest.approx(0.25 / 3 / 0.01, rel=0.1)}]
    assert (summary["windows_scored"], summary["windows_withheld"], summary["episodes"]) == (499, 0, 1)
    assert (stopped["alarm_open"], stopped["failed"]) == ([], {})


def test_an_alarm_at_the_end_is_written_as_open(tiny_model: Any, tmp_path: Path) -> None:
    """A recording that ends in a fault leaves no alarm untold."""
    tiny_model(threshold=THRESHOLD)
    events, process = run_program(write_replay(tmp_path, healthy_faulty_healthy()[: 14 * RATE_HZ]))
    assert process.returncode == 0
    (still_open,) = of_kind(events, "alarm_open")
    (raised,) = of_kind(events, "alarm_raised")
    assert still_open["rise_seconds"] == raised["stream_seconds"]
    assert events[-1]["alarm_open"] == ["pump7"]
    assert not of_kind(events, "alarm_cleared")


def test_overrides_are_said_loudly(tiny_model: Any, tmp_path: Path) -> None:
    """A threshold from the configuration rules, is warned of, and the calibrated rate is no longer claimed."""
    tiny_model(threshold=THRESHOLD)
    config = write_replay(tmp_path, healthy_faulty_healthy(), "[decision]\nthreshold = 5.0")
    events, process = run_program(config)
    assert not of_kind(events, "alarm_raised")
    assert events[0]["models"]["model"]["overrides"] == {"threshold": 5.0}
    assert events[0]["models"]["model"]["false_alarms_per_day"] is None
    assert "threshold = 5" in process.stderr


def sensor_rows(seconds: float, *, amplitude: float = 0.1) -> str:
    """CSV rows at 100 Hz: time, x, y."""
    random = np.random.default_rng(4)
    rows = amplitude * random.uniform(-1, 1, (round(100 * seconds), 2))
    return "".join(f"{i / 100},{x:.6f},{y:.6f}\n" for i, (x, y) in enumerate(rows))


SENSOR = {
    "kind": "sensor",
    "channels": 2,
    "channel_names": ["x", "y"],
    "sample_rate_hz": 100.0,
    "window_samples": 50,
    "window_hop_samples": 25,
}


def test_sensor_rows_through_standard_input(tiny_model: Any, tmp_path: Path) -> None:
    """CSV rows are picked by name and scored; a bad row is a FAULT, and the shaking after it still raises the alarm."""
    tiny_model(threshold=THRESHOLD, **SENSOR)
    config = write_config(tmp_path, 'kind = "stdin"\nformat = "csv"')
    rows = "time,x,y\n" + sensor_rows(10) + "torn,\n" + sensor_rows(10, amplitude=0.8)
    events, process = run_program(config, input=rows)
    assert process.returncode == 0, process.stderr
    assert "FAULT" in [event["state"] for event in of_kind(events, "source_state")]
    (raised,) = of_kind(events, "alarm_raised")
    assert 10 < raised["stream_seconds"] < 14
    assert {band["name"] for band in raised["bands"]} == {"x", "y"}
    (summary,) = of_kind(events, "summary")
    assert summary["windows_withheld"] == 2


def test_raw_sound_through_standard_input(tiny_model: Any, tmp_path: Path) -> None:
    """s16le bytes score as the same samples do from a file."""
    model = tiny_model(threshold=THRESHOLD)
    config = write_config(tmp_path, 'kind = "stdin"\nformat = "s16le"', "[events]\nscores = true")
    pcm = np.round(noise(3) * 32767).astype("<i2")
    process = subprocess.run(
        [*MONITOR, "run", str(config)], input=pcm.tobytes(), capture_output=True, timeout=60, check=True
    )
    scores = [event["score"] for event in of_kind(parse(process.stdout.decode()), "score")]
    expected = Scorer(model).score_signal(pcm.astype(np.float32) / 32768).score
    np.testing.assert_allclose(scores, expected, rtol=1e-6)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_cleanly_with_everything_scored(tiny_model: Any, tmp_path: Path, number: int) -> None:
    """What was piped in before the signal is scored and written, and the exit code is 0."""
    tiny_model(threshold=THRESHOLD, **SENSOR)
    config = write_config(tmp_path, 'kind = "stdin"\nformat = "csv"', '[events]\npath = "events.jsonl"')
    process = subprocess.Popen([*MONITOR, "run", str(config)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write("time,x,y\n" + sensor_rows(60))
    process.stdin.flush()
    assert json.loads(process.stdout.readline())["event"] == "started"
    assert json.loads(process.stdout.readline())["state"] == "OK"
    process.send_signal(number)
    rest = parse(process.stdout.read())
    assert process.wait(30) == 0
    (summary,) = of_kind(rest, "summary")
    assert summary["windows_scored"] > 0
    assert rest[-1]["event"] == "stopped"
    assert rest[-1]["reason"] == f"signal {signal.Signals(number).name}"
    logged = parse((tmp_path / "events.jsonl").read_text())
    assert logged[-len(rest) :] == rest


def test_a_reader_that_goes_away_does_not_stop_monitoring(tiny_model: Any, tmp_path: Path) -> None:
    """With standard output broken, the event file still gets every event to the last."""
    tiny_model(threshold=THRESHOLD)
    config = write_replay(tmp_path, healthy_faulty_healthy(), '[events]\npath = "events.jsonl"\nscores = true')
    process = subprocess.Popen([*MONITOR, "run", str(config)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    errors = process.stderr.read().decode()
    assert process.wait(30) == 0, errors
    logged = parse((tmp_path / "events.jsonl").read_text())
    assert logged[-1]["event"] == "stopped"
    assert len(of_kind(logged, "score")) == 499
    assert "standard output is gone" in errors


def test_standard_input_that_pauses_is_stalled(tiny_model: Any, tmp_path: Path) -> None:
    """A producer that stops sending is STALLED after stall_seconds, and OK when it goes on."""
    tiny_model(threshold=THRESHOLD, **SENSOR)
    config = write_config(tmp_path, 'kind = "stdin"\nformat = "csv"\nstall_seconds = 0.5')
    process = subprocess.Popen([*MONITOR, "run", str(config)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None and process.stdout is not None
    states = []
    process.stdin.write("time,x,y\n" + sensor_rows(1))
    process.stdin.flush()
    assert json.loads(process.stdout.readline())["event"] == "started"
    for _ in range(2):
        states.append(json.loads(process.stdout.readline())["state"])
    process.stdin.write(sensor_rows(1))
    process.stdin.close()
    states += [event["state"] for event in of_kind(parse(process.stdout.read()), "source_state")]
    assert process.wait(30) == 0
    assert [state for state in states if state != "STARTING"] == ["OK", "STALLED", "OK"]


def test_max_seconds_ends_a_run(tiny_model: Any, tmp_path: Path) -> None:
    """A run that would last for ever ends after --max-seconds with exit code 0."""
    tiny_model(threshold=THRESHOLD)
    soundfile.write(tmp_path / "a.wav", noise(60), RATE_HZ)
    config = write_config(tmp_path, 'kind = "file"\npath = "a.wav"\npace = "real-time"')
    events, process = run_program(config, "--max-seconds", "1")
    assert process.returncode == 0
    assert "1 s" in events[-1]["reason"]
    (summary,) = of_kind(events, "summary")
    assert 10 <= summary["windows_scored"] <= 30


def test_two_sources_have_windows_and_alarms_of_their_own(tiny_model: Any, tmp_path: Path) -> None:
    """A loud machine beside a quiet one raises one alarm, with the right name."""
    tiny_model(threshold=THRESHOLD)
    soundfile.write(tmp_path / "loud.wav", noise(10, amplitude=0.6), RATE_HZ)
    extra = '[[source]]\nname = "press"\nkind = "file"\npath = "loud.wav"'
    events, process = run_program(write_replay(tmp_path, noise(10), extra))
    assert process.returncode == 0
    assert [event["source"] for event in of_kind(events, "alarm_raised")] == ["press"]
    assert sorted(event["source"] for event in of_kind(events, "summary")) == ["press", "pump7"]
    assert events[-1]["alarm_open"] == ["press"]


def test_a_truncated_recording_is_named(tiny_model: Any, tmp_path: Path) -> None:
    """The exit code is that of bad data, the fault is in the last event and on standard error."""
    tiny_model(threshold=THRESHOLD)
    config = write_replay(tmp_path, noise(10))
    data = (tmp_path / "a.wav").read_bytes()
    (tmp_path / "a.wav").write_bytes(data[: len(data) // 2])
    events, process = run_program(config)
    assert process.returncode == 65
    assert "a.wav" in events[-1]["failed"]["pump7"]
    assert "error:" in process.stderr
    assert "Traceback" not in process.stderr


@pytest.mark.parametrize(
    ("break_it", "code"),
    [
        (lambda folder: (folder / "monitor.toml").write_text("[modell]"), 78),
        (lambda folder: (folder / "model.onnx").unlink(), 66),
        (lambda folder: (folder / "model.onnx").write_bytes(b"not a model"), 65),
        (lambda folder: (folder / "a.wav").unlink(), 66),
    ],
    ids=["configuration", "no model", "damaged model", "no recording"],
)
def test_what_cannot_run_has_its_exit_code(
    tiny_model: Any, tmp_path: Path, break_it: Callable[[Path], object], code: int
) -> None:
    """A service manager learns from the exit code whether a restart can help."""
    tiny_model(threshold=THRESHOLD)
    config = write_replay(tmp_path, noise(1))
    break_it(tmp_path)
    _, process = run_program(config)
    assert process.returncode == code
    assert "Traceback" not in process.stderr


def test_an_event_file_that_cannot_be_written_is_a_configuration_error(tiny_model: Any, tmp_path: Path) -> None:
    """Better not to start than to watch without a log."""
    tiny_model(threshold=THRESHOLD)
    (tmp_path / "file").write_text("")
    _, process = run_program(write_replay(tmp_path, noise(1), '[events]\npath = "file/events.jsonl"'))
    assert process.returncode == 78
    assert "file/events.jsonl" in process.stderr


def test_the_golden_windows_are_repeated_before_anything_is_watched(tiny_model: Any, tmp_path: Path) -> None:
    """A machine that computes other scores than the exporter must not judge with the exporter's threshold."""
    golden = tiny_model.metadata().golden
    wrong = golden.model_copy(update={"scores": [1.01 * score for score in golden.scores]})
    tiny_model(threshold=THRESHOLD, golden=wrong)
    events, process = run_program(write_replay(tmp_path, noise(1)))
    assert process.returncode == 65
    assert "golden" in process.stderr
    assert events == []


def test_help_names_the_configuration() -> None:
    """--help works without a configuration and shows an example."""
    for command in ("run", "record", "devices"):
        result = CliRunner().invoke(cli.main, [command, "--help"])
        assert result.exit_code == 0
        assert "Examples:" in result.output
