"""`dasvdd-monitor score`: windows, episodes, faults, forms of output."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.signal
import soundfile
from click.testing import CliRunner, Result
from dasvdd_runtime import Scorer, cli
from dasvdd_runtime.detector import DecisionSettings, find_episodes
from monitor_child import MONITOR
from numpy.typing import NDArray

RATE_HZ = 16000


def noise(seconds: float, *, seed: int = 0, amplitude: float = 0.1) -> NDArray[np.float32]:
    """White noise [samples, 1] at 16 kHz."""
    random = np.random.default_rng(seed)
    return (amplitude * random.standard_normal((round(seconds * RATE_HZ), 1))).astype(np.float32)


def write_wav(path: Path, samples: NDArray[np.float32], rate_hz: int = RATE_HZ) -> Path:
    """A float WAV, so that samples keep their bits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate_hz, subtype="FLOAT")
    return path


def score(*arguments: str | Path) -> Result:
    """Run the command in this process."""
    return CliRunner().invoke(cli.main, ["score", *map(str, arguments)])


def lines(result: Result) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The JSON lines of windows and those of recordings."""
    parsed = [json.loads(line) for line in result.stdout.splitlines()]
    return [p for p in parsed if p["type"] == "window"], [p for p in parsed if p["type"] == "recording"]


def test_json_lines_are_the_scorers_scores(tiny_model: Any, tmp_path: Path) -> None:
    """The lines of a file, read in blocks, equal score_signal of the whole file, window by window."""
    samples = noise(20)
    wav = write_wav(tmp_path / "pump.wav", samples)
    result = score(tiny_model(), wav)
    assert result.exit_code == 0, result.stderr
    windows, (summary,) = lines(result)
    expected = Scorer(tmp_path / "model.onnx").score_signal(samples)
    assert {window["file"] for window in windows} == {str(wav)}
    assert [window["start_seconds"] for window in windows] == [i * 800 / RATE_HZ for i in range(len(expected.score))]
    for name in ("score", "reconstruction_error", "center_distance"):
        np.testing.assert_allclose([w[name] for w in windows], getattr(expected, name), rtol=1e-6)
    assert summary["windows"] == len(windows)
    assert summary["max_score"] == max(w["score"] for w in windows)


def test_the_decision_chain_of_the_model_decides(tiny_model: Any, tmp_path: Path) -> None:
    """A louder stretch is one episode, above_threshold is of the smoothed score, both as the detector says."""
    samples = noise(12)
    samples[5 * RATE_HZ : 7 * RATE_HZ] *= 4
    settings = DecisionSettings(smoothing_seconds=0.2, k=3, n=5)
    model = tiny_model(threshold=0.03, decision=settings)
    windows, (summary,) = lines(score(model, write_wav(tmp_path / "pump.wav", samples)))
    alpha = 1 - np.exp(-0.05 / 0.2)
    raw = np.array([w["score"] for w in windows])
    # An exponential filter that starts at its first value, by scipy.
    smoothed, _ = scipy.signal.lfilter([alpha], [1, alpha - 1], raw, zi=[(1 - alpha) * raw[0]])
    np.testing.assert_allclose([w["smoothed_score"] for w in windows], smoothed, rtol=1e-9)
    assert [w["above_threshold"] for w in windows] == list(smoothed > 0.03)
    assert summary["share_above_threshold"] == pytest.approx(np.mean(smoothed > 0.03))
    (episode,) = summary["episodes"]
    assert 5 < episode["rise_seconds"] < 5.6
    assert 7 < episode["clear_seconds"] < 8.6
    ends = [w["start_seconds"] + 0.1 for w in windows]
    (expected,) = find_episodes(ends, raw, threshold=0.03, settings=settings, window_hop_seconds=0.05)
    assert episode["rise_seconds"] == pytest.approx(expected.rise_seconds)
    assert {w["in_alarm"] for w in windows if w["start_seconds"] < 4.8 or w["start_seconds"] > 9} == {False}


def test_an_alarm_at_the_end_is_reported_open(tiny_model: Any, tmp_path: Path) -> None:
    """A recording that ends in alarm keeps its episode, without a time at which it cleared."""
    wav = write_wav(tmp_path / "pump.wav", np.concatenate([noise(4), noise(4, amplitude=0.9)]))
    _, (summary,) = lines(score(tiny_model(), wav))
    (episode,) = summary["episodes"]
    assert episode["clear_seconds"] is None


def test_how_far_an_alarm_went_is_told_from_its_rise_on(tiny_model: Any, tmp_path: Path) -> None:
    """A fault that is loudest as it begins has its largest smoothed score before the alarm; both are told."""
    samples = noise(4, amplitude=0.5)
    samples[: RATE_HZ // 20] *= 1.9
    model, wav = tiny_model(), write_wav(tmp_path / "pump.wav", samples)
    windows, (summary,) = lines(score(model, wav))
    during = max(w["smoothed_score"] for w in windows if w["in_alarm"])
    (episode,) = summary["episodes"]
    assert episode["peak_score"] == pytest.approx(during) and during < 0.98 * summary["max_smoothed_score"]
    table = score(model, wav, "--format", "table", "--summary").stdout
    assert f"(smoothed {summary['max_smoothed_score']:.5g})" in table
    assert f"to the end, smoothed up to {during:.5g} from there on" in table


def test_a_recording_too_short_for_an_alarm_says_so(tiny_model: Any, tmp_path: Path) -> None:
    """Two windows never make 3 of 5: that is no 'no alarm', in the table and in JSON; three windows can alarm."""
    two, three = (write_wav(tmp_path / f"{n}.wav", noise(n, amplitude=0.9)[: 800 * (n + 1)]) for n in (2, 3))
    model = tiny_model(threshold=1e-6)
    _, summaries = lines(score(model, two, three))
    assert [(s["windows"], s["alarm_possible"], len(s["episodes"])) for s in summaries] == [(2, False, 0), (3, True, 1)]
    table = score(model, two, "--format", "table", "--summary").stdout
    assert (
        "2 windows" in table and "100.0 % above the threshold, too short for an alarm, which takes 3 windows" in table
    )


def test_recordings_do_not_touch_each_other(tiny_model: Any, tmp_path: Path) -> None:
    """A file scores the same alone and after a loud one: smoothing starts afresh."""
    loud, quiet = write_wav(tmp_path / "a.wav", noise(3, amplitude=0.9)), write_wav(tmp_path / "b.wav", noise(3))
    alone, _ = lines(score(tiny_model(), quiet))
    together, _ = lines(score(tiny_model(), loud, quiet))
    assert [w for w in together if w["file"] == str(quiet)] == alone


def test_folders_are_searched_at_any_depth_in_order(tiny_model: Any, tmp_path: Path) -> None:
    """Audio of a folder is scored sorted; other files there are left alone."""
    folder = tmp_path / "recordings"
    names = ["b/two.flac", "a/deep/one.wav"]
    for name in names:
        (folder / name).parent.mkdir(parents=True)
        soundfile.write(folder / name, noise(1), RATE_HZ)
    (folder / "notes.txt").write_text("nothing to score")
    _, summaries = lines(score(tiny_model(), folder, "--summary"))
    assert [s["file"] for s in summaries] == [str(folder / name) for name in sorted(names)]


def test_sound_that_is_not_read_is_named_with_what_to_do(tiny_model: Any, tmp_path: Path) -> None:
    """Among others in a folder, alone in one, and given by itself; what a file manager hides is nobody's recording."""
    model = tiny_model()
    soundfile.write(tmp_path / "a.mp3", noise(1), RATE_HZ)
    convert = "ffmpeg -i a.mp3 a.wav"
    assert convert in score(model, tmp_path / "a.mp3").stderr
    alone = score(model, tmp_path)
    assert alone.exit_code == 65 and convert in alone.stderr
    (tmp_path / "._b.wav").write_bytes(b"\0")
    soundfile.write(tmp_path / "b.wav", noise(1), RATE_HZ)
    among = score(model, tmp_path, "--summary")
    assert [s["file"] for s in lines(among)[1]] == [str(tmp_path / "b.wav")]
    assert among.exit_code == 0 and convert in among.stderr


def test_unreadable_recordings_are_named_and_the_others_scored(tiny_model: Any, tmp_path: Path) -> None:
    """Truncated, too short, of other channels, not finite: each is named with its reason, and the exit code is 65."""
    write_wav(tmp_path / "rec" / "good.wav", noise(2))
    write_wav(tmp_path / "rec" / "short.wav", noise(0.05))
    write_wav(tmp_path / "rec" / "stereo.wav", np.hstack([noise(1), noise(1)]))
    broken = noise(2)
    broken[20000] = np.nan
    write_wav(tmp_path / "rec" / "nan.wav", broken)
    cut = tmp_path / "rec" / "cut.wav"
    cut.write_bytes((tmp_path / "rec" / "good.wav").read_bytes()[:50000])
    result = score(tiny_model(), tmp_path / "rec")
    assert result.exit_code == 65
    _, summaries = lines(result)
    assert [Path(s["file"]).name for s in summaries] == ["good.wav"]
    errors = {line.split(":")[1].split("/")[-1]: line for line in result.stderr.splitlines() if "error:" in line}
    assert set(errors) == {"cut.wav", "nan.wav", "short.wav", "stereo.wav"}
    assert "truncated" in errors["cut.wav"]
    assert "0.05 s long, shorter than one window of 0.1 s" in errors["short.wav"]
    assert "2 channels, the model takes 1" in errors["stereo.wav"]
    assert "4 of 5 recordings" in result.stderr


def test_a_mono_recording_for_one_channel_of_two_is_refused_with_the_way_out(tiny_model: Any, tmp_path: Path) -> None:
    """A stereo model that judges one channel names the command that makes a mono recording fit."""
    wav = write_wav(tmp_path / "mono.wav", noise(2))
    one = score(tiny_model(channels=2, front_end={"channel": "0"}), wav)
    assert one.exit_code == 65
    assert "The model judges channel 0 alone: ffmpeg -i mono.wav -ac 2 wide.wav makes" in one.stderr
    assert "ffmpeg" not in score(tiny_model(channels=2), wav).stderr


def test_another_sample_rate_is_resampled_and_said(tiny_model: Any, tmp_path: Path) -> None:
    """A 1 kHz tone at 44.1 kHz scores as its mean square, and standard error says that it was resampled."""
    tone = (0.5 * np.sin(2 * np.pi * 1000 * np.arange(44100 * 3) / 44100))[:, None].astype(np.float32)
    result = score(tiny_model(), write_wav(tmp_path / "tone.wav", tone, 44100))
    windows, _ = lines(result)
    # The filter rings at the ends of the file; between them the power of a sine is half its amplitude squared.
    np.testing.assert_allclose([w["score"] for w in windows[2:-2]], 0.125, rtol=1e-3)
    assert "resampled from 44100 Hz to the model's 16000 Hz" in result.stderr


def test_a_csv_scores_by_the_columns_of_training(tiny_model: Any, tmp_path: Path) -> None:
    """A sensor model finds its channels by name among others, in its own order, at its own rate."""
    random = np.random.default_rng(3)
    y, x = random.standard_normal((2, 500)).round(4)
    table = tmp_path / "fan.csv"
    table.write_text("time,y,other,x\n" + "".join(f"{i / 100},{y[i]},7,{x[i]}\n" for i in range(500)))
    model = tiny_model(
        kind="sensor",
        channels=2,
        channel_names=["x", "y"],
        sample_rate_hz=100.0,
        window_samples=50,
        window_hop_samples=25,
    )
    windows, _ = lines(score(model, table))
    samples = np.stack([x, y], axis=1).astype(np.float32)
    np.testing.assert_allclose([w["score"] for w in windows], Scorer(model).score_signal(samples).score, rtol=1e-5)
    assert windows[1]["start_seconds"] == 0.25
    swapped, _ = lines(score(model, table, "--channels", "y, x"))
    np.testing.assert_allclose([w["score"] for w in swapped], [w["score"] for w in windows], rtol=1e-5)
    missing = score(model, table, "--channels", "x,z")
    assert missing.exit_code == 65
    assert "no column 'z'" in missing.stderr


def test_gaps_in_a_table_are_told(tiny_model: Any, tmp_path: Path) -> None:
    """A person and a program are told how much of the recording nothing is known of."""
    seconds = [*(i / 100 for i in range(100)), *(11 + i / 100 for i in range(100))]
    table = tmp_path / "fan.csv"
    table.write_text("time,x\n" + "".join(f"{t:.2f},{i % 7}\n" for i, t in enumerate(seconds)))
    model = tiny_model(
        kind="sensor", channel_names=["x"], sample_rate_hz=100.0, window_samples=50, window_hop_samples=25
    )
    result = score(model, table, "--summary")
    assert f"note: {table}: 1 gap, 10 s without rows: no window crosses them" in result.stderr
    assert lines(result)[1][0]["gaps"] == 1


@pytest.mark.parametrize(("amplitude", "says"), [(0.0, "silent"), (40.0, "clipped")])
def test_recordings_that_say_nothing_of_the_machine_are_named(
    amplitude: float, says: str, tiny_model: Any, tmp_path: Path
) -> None:
    """Silence scores low and clipping high, but neither is the machine: both are warned of."""
    wav = write_wav(tmp_path / "a.wav", np.clip(noise(2, amplitude=amplitude), -1, 1))
    result = score(tiny_model(), wav)
    assert f"warning: {wav}: {says}" in result.stderr
    assert lines(result)[1][0]["fault"].startswith(says)


def test_a_long_file_scores_in_bounded_memory(tiny_model: Any, tmp_path: Path) -> None:
    """Ten minutes take no more memory in Python than one: the file is never held whole."""

    def peak_bytes(minutes: int) -> int:
        wav = write_wav(tmp_path / f"{minutes}.wav", np.tile(noise(60), (minutes, 1)))
        model = tiny_model(window_samples=16000, window_hop_samples=16000)
        score(model, wav, "--summary")
        tracemalloc.start()
        assert score(model, wav, "--summary").exit_code == 0
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    assert peak_bytes(10) < 1.2 * peak_bytes(2)


@pytest.mark.parametrize(
    ("arguments", "exit_code", "said"),
    [
        (["nowhere.onnx", "x.wav"], 66, "nowhere.onnx"),
        (["model.onnx", "nowhere.wav"], 66, "nowhere.wav"),
        (["model.onnx", "empty"], 65, "WAV, FLAC or OGG"),
        (["model.onnx", "manifest.csv"], 65, "manifest"),
        (["x.wav", "x.wav"], 65, "export it again"),
        (["model.onnx"], 2, "RECORDINGS"),
        (["model.onnx", "x.wav", "--provider", "tpu"], 2, "tpu"),
    ],
)
def test_faults_have_their_exit_codes_and_one_line(
    tiny_model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], exit_code: int, said: str
) -> None:
    """What is missing or wrong is named on standard error, with the exit code of its kind and no traceback."""
    monkeypatch.chdir(tmp_path)
    tiny_model()
    (tmp_path / "empty").mkdir()
    write_wav(tmp_path / "x.wav", noise(1))
    (tmp_path / "manifest.csv").write_text("path,role\nx.wav,train\n")
    result = score(*arguments)
    assert result.exit_code == exit_code
    assert said in result.stderr
    assert "Traceback" not in result.stderr


def test_a_terminal_gets_a_table(tiny_model: Any, tmp_path: Path) -> None:
    """On a terminal the default is a table with the threshold, a row a window and a closing line; piped, JSON."""
    wav = write_wav(tmp_path / "pump.wav", noise(1))
    command = [*MONITOR, "score", str(tiny_model()), str(wav)]
    piped = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert all(line.startswith("{") for line in piped.splitlines())
    controller, terminal = pty.openpty()
    with subprocess.Popen(command, stdout=terminal, stderr=terminal) as process:
        os.close(terminal)
        shown = b""
        while True:
            try:
                shown += os.read(controller, 4096)
            except OSError:  # Linux: the terminal was closed
                break
    os.close(controller)
    text = shown.decode()
    assert process.returncode == 0
    assert "threshold 0.1 for 1 false alarm" in text
    assert len([row for row in text.splitlines() if row.strip()[:1].isdigit()]) == 19
    assert "no alarm" in text


def replayed(folder: Path, model: Path, wav: Path, *, silent_seconds: float) -> list[float]:
    """Where the windows begin that `run` scores in a replay."""
    config = folder / "monitor.toml"
    config.write_text(
        f'[model]\npath = "{model}"\n[events]\nscores = true\n[state]\ndirectory = "{folder / "state"}"\n'
        f'[[source]]\nname = "a"\nkind = "file"\npath = "{wav}"\nsilent_seconds = {silent_seconds}\n'
    )
    replay = subprocess.run([*MONITOR, "run", str(config)], capture_output=True, text=True, check=False)
    events = [json.loads(line) for line in replay.stdout.splitlines()]
    return [event["start_seconds"] for event in events if event["event"] == "score"]


def test_silence_in_a_recording_is_withheld_as_by_run(tiny_model: Any, tmp_path: Path) -> None:
    """Ten seconds of zeros are no scores and no alarm: `score` withholds what `run` withholds in a replay."""
    samples = noise(30)
    samples[10 * RATE_HZ : 20 * RATE_HZ] = 0
    wav = write_wav(tmp_path / "half.wav", samples)
    model = tiny_model(window_samples=16000, window_hop_samples=8000)
    result = score(model, wav)
    assert result.exit_code == 0
    windows, (summary,) = lines(result)
    withheld = [json.loads(line) for line in result.stdout.splitlines() if '"withheld", ' in line]
    assert [line["start_seconds"] for line in withheld] == [9.5 + i / 2 for i in range(21)]
    assert {line["state"] for line in withheld} == {"SILENT"} and {w["state"] for w in windows} == {"OK"}
    assert (summary["windows"], summary["withheld"], summary["withheld_from_seconds"]) == (38, 21, [9.5])
    assert f"warning: {wav}: 21 of 59 windows are silent (from 9.5 s on) and are withheld" in result.stderr

    assert replayed(tmp_path, model, wav, silent_seconds=10) == [w["start_seconds"] for w in windows]


@pytest.mark.parametrize("silent_seconds", [10, 4])
def test_a_sensor_that_is_stuck_is_withheld_as_by_run(tiny_model: Any, tmp_path: Path, silent_seconds: int) -> None:
    """Rows that stay the same for eight seconds are scored or not as `silent_seconds` of a source would have it."""
    model = tiny_model(
        kind="sensor", channel_names=["x"], sample_rate_hz=100.0, window_samples=50, window_hop_samples=25
    )
    rows = np.random.default_rng(0).normal(size=2000)
    rows[600:1400] = rows[600]
    table = tmp_path / "stuck.csv"
    np.savetxt(table, rows, header="x", comments="")
    windows, (summary,) = lines(score(model, table, "--silent-seconds", str(silent_seconds)))
    assert (summary["withheld"] > 0) == (silent_seconds < 8)
    assert replayed(tmp_path, model, table, silent_seconds=silent_seconds) == [w["start_seconds"] for w in windows]
