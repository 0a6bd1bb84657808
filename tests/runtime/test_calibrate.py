"""The command calibrate, and run and check with what it learned: the real programs on a small model."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner, Result
from dasvdd_runtime import cli
from dasvdd_runtime.calibration import calibrate
from dasvdd_runtime.detector import DecisionSettings
from dasvdd_runtime.scorer import Scorer
from dasvdd_runtime.thresholds.choice import threshold_in_force
from dasvdd_runtime.thresholds.site_threshold import (
    SiteThreshold,
    file_of,
    read_site_file,
    restore,
)
from dasvdd_runtime.words import duration
from monitor_child import MONITOR, MonitorChild
from white_noise import RATE_HZ, noise

DEFAULT = DecisionSettings()
OFTEN = "20000"
"""Alarms a day that a few seconds can promise."""


def configure(
    folder: Path, more: str = "", *, source: str = 'kind = "file"\npath = "a.wav"', name: str = "pump7"
) -> Path:
    path = folder / "monitor.toml"
    path.write_text(
        f'[model]\npath = "model.onnx"\nprovider = "cpu"\n[[source]]\nname = "{name}"\n{source}\n'
        f'[state]\ndirectory = "state"\n{more}'
    )
    return path


@pytest.fixture
def site(tiny_model: Any, tmp_path: Path) -> Path:
    """A folder with a model whose threshold is far too low for the site, and ten seconds of the healthy machine."""
    tiny_model(threshold=0.001)
    soundfile.write(tmp_path / "a.wav", noise(10), RATE_HZ, subtype="FLOAT")
    configure(tmp_path)
    return tmp_path


def command(folder: Path, *arguments: str) -> Result:
    """`calibrate` on the folder's monitor.toml."""
    return CliRunner().invoke(cli.main, ["calibrate", str(folder / "monitor.toml"), *arguments])


def learn(folder: Path, *arguments: str) -> SiteThreshold:
    """Calibrate; what is noted then."""
    done = command(folder, "--alarms-per-day", OFTEN, *arguments)
    assert done.exit_code == 0, done.output
    noted = read_site_file(folder / "state", "pump7")
    assert noted is not None and noted.current is not None
    return noted.current


def run(folder: Path) -> tuple[list[dict[str, Any]], str]:
    """The events of `run` to its end, and what it said to people."""
    done = subprocess.run([*MONITOR, "run", str(folder / "monitor.toml")], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def check(folder: Path) -> str:
    return CliRunner().invoke(cli.main, ["check", str(folder / "monitor.toml"), "--seconds", "3"]).output


def test_what_was_learned_is_what_run_judges_by(site: Path) -> None:
    """The threshold comes from the scores that run computes; run and check say that it is the site's, and why."""
    assert [event for event in run(site)[0] if event["event"] == "alarm_raised"]
    learned = learn(site, "--minutes", "0.1")
    scores = Scorer(site / "model.onnx", provider="cpu").score_signal(noise(10)).score
    expected = calibrate(
        [scores[: learned.calibration.windows]],
        settings=DEFAULT,
        window_hop_seconds=0.05,
        false_alarms_per_day=float(OFTEN),
    )
    assert learned.calibration.threshold == pytest.approx(expected.threshold, rel=1e-6)
    assert 6.0 <= learned.seconds <= 6.2
    assert learned.score_quantiles["0.5"] == pytest.approx(np.median(scores), rel=0.02)
    assert learned.level_dbfs == pytest.approx((-21.8, -21.8, -21.8), abs=0.2)
    events, _ = run(site)
    chosen = events[0]["thresholds"]["pump7"]
    assert (chosen["origin"], chosen["threshold"]) == ("site", learned.calibration.threshold)
    assert chosen["false_alarms_per_day"] == float(OFTEN)
    assert "calibrated on site" in chosen["why"]
    assert not [event for event in events if event["event"] in ("alarm_raised", "site_threshold_not_used")]
    assert f"pump7, threshold: {learned.calibration.threshold:.5g}: calibrated on site" in check(site)


def test_the_usual_spectrum_is_learned_with_the_threshold(site: Path) -> None:
    """Of two minutes of white noise: each octave 3 dB above the one below it, and a drift is seen against that."""
    soundfile.write(site / "long.wav", noise(120), RATE_HZ)
    spectrum = learn(site, "--from", str(site / "long.wav")).spectrum
    assert spectrum is not None
    assert next(iter(spectrum)) == "62.5 Hz"
    usual = [middle for _, middle, _ in spectrum.values()]
    np.testing.assert_allclose(np.diff(usual), 10 * np.log10(2), atol=1.0)
    assert all(low < middle < high for low, middle, high in spectrum.values())
    metadata = Scorer(site / "model.onnx", provider="cpu").metadata
    assert threshold_in_force(site / "state", "pump7", metadata, DEFAULT, None).spectrum == spectrum
    assert "pump7, drift: the spectrum is compared with that of the calibration on site" in check(site)


def test_a_threshold_in_the_configuration_beats_both(site: Path) -> None:
    """[decision] threshold rules, and it is said that what was learned is not used; calibrate says so too."""
    learn(site)
    configure(site, "[decision]\nthreshold = 5.0\n")
    events, _ = run(site)
    assert (events[0]["thresholds"]["pump7"]["origin"], events[0]["thresholds"]["pump7"]["threshold"]) == (
        "configuration",
        5.0,
    )
    (told,) = [event for event in events if event["event"] == "site_threshold_not_used"]
    assert "configuration" in told["reason"]
    assert "[decision] sets the threshold" in command(site, "--alarms-per-day", OFTEN).stderr


def test_another_model_does_not_use_it(site: Path, tiny_model: Any) -> None:
    """With another fingerprint the model's own threshold judges; log, event and check say why."""
    learn(site)
    tiny_model(threshold=0.001, model_fingerprint="e" * 64)
    events, log = run(site)
    assert events[0]["thresholds"]["pump7"]["origin"] == "model"
    (told,) = [event for event in events if event["event"] == "site_threshold_not_used"]
    assert told["source"] == "pump7"
    assert "ffffffffffff" in told["reason"] and "eeeeeeeeeeee" in told["reason"]
    assert "WARNING" in log and "calibrated on site is not used" in log
    assert [event for event in events if event["event"] == "alarm_raised"]
    assert "warning  pump7, threshold: the one calibrated on site is not used" in check(site)


def test_another_source_does_not_use_it(site: Path) -> None:
    """A source of another name has no calibration, not even with a copy of the file under its own name."""
    learn(site)
    configure(site, name="pump8")
    assert run(site)[0][0]["thresholds"]["pump8"]["origin"] == "model"
    file_of(site / "state", "pump8").write_bytes(file_of(site / "state", "pump7").read_bytes())
    events, _ = run(site)
    assert events[0]["thresholds"]["pump8"]["origin"] == "model"
    (told,) = [event for event in events if event["event"] == "site_threshold_not_used"]
    assert "'pump7', not of 'pump8'" in told["reason"]


def test_a_decision_chain_that_changed_voids_the_rate(site: Path) -> None:
    """With another k the site's threshold still judges, but no rate is claimed."""
    learn(site)
    configure(site, "[decision]\nk = 1\n")
    chosen = run(site)[0][0]["thresholds"]["pump7"]
    assert (chosen["origin"], chosen["false_alarms_per_day"]) == ("site", None)
    assert "no longer holds" in chosen["why"]


def test_restore_swaps_exactly(site: Path) -> None:
    """The former threshold comes back and the newer one goes; again, and it is as before. The first former is none."""
    first = learn(site, "--minutes", "0.1")
    done = command(site, "--restore")
    assert done.exit_code == 0
    assert "in force again: the model's own threshold" in done.stdout
    assert f"put back: threshold {first.calibration.threshold:.5g}" in done.stdout
    assert run(site)[0][0]["thresholds"]["pump7"]["origin"] == "model"
    command(site, "--restore")
    second = learn(site, "--minutes", "0.05")
    assert second != first
    text = file_of(site / "state", "pump7").read_text()
    assert command(site, "--restore").exit_code == 0
    noted = read_site_file(site / "state", "pump7")
    assert noted is not None and (noted.current, noted.former) == (first, second)
    command(site, "--restore")
    assert file_of(site / "state", "pump7").read_text() == text


def test_restore_without_a_calibration_is_refused(site: Path) -> None:
    """Where nothing was calibrated there is nothing to bring back: exit code 65 and the next step."""
    done = command(site, "--restore")
    assert done.exit_code == 65
    assert "never calibrated" in done.stderr


def test_a_threshold_far_above_training_waits_for_a_word(site: Path, tiny_model: Any) -> None:
    """What scores four times as in training may be broken: it is kept and not in force, until --restore says it is."""
    usual = learn(site).calibration.usual_score
    command(site, "--reset")
    calibration = replace(tiny_model.metadata().calibration, threshold=0.001, usual_score=usual / 4)
    tiny_model(calibration=calibration)
    done = command(site, "--alarms-per-day", OFTEN)
    assert done.exit_code == 1
    assert "NOT in force" in done.stdout and "Was the machine healthy" in done.stdout and "4 times" in done.stderr
    assert run(site)[0][0]["thresholds"]["pump7"]["origin"] == "model"
    assert command(site, "--restore").exit_code == 0
    assert run(site)[0][0]["thresholds"]["pump7"]["origin"] == "site"


def test_reset_goes_back_to_the_models_own_threshold(site: Path) -> None:
    """Also after two calibrations, where --restore only swaps them; the newer one can be brought back."""
    learn(site, "--minutes", "0.1")
    second = learn(site, "--minutes", "0.05")
    assert "in force again: the model's own threshold" in command(site, "--reset").stdout
    assert run(site)[0][0]["thresholds"]["pump7"]["origin"] == "model"
    command(site, "--restore")
    noted = read_site_file(site / "state", "pump7")
    assert noted is not None and noted.current == second


def test_a_file_damaged_anywhere_is_never_used(site: Path) -> None:
    """Cut at any length, or with a threshold that cannot be: the model's own judges, and the fault is named."""
    learn(site)
    metadata = Scorer(site / "model.onnx", provider="cpu").metadata
    path = file_of(site / "state", "pump7")
    whole = path.read_bytes()

    def chosen() -> Any:
        return threshold_in_force(site / "state", "pump7", metadata, metadata.decision, None)

    assert chosen().origin == "site"
    spoiled = json.loads(whole)
    spoiled["current"]["calibration"]["threshold"] = -1.0
    later = json.loads(whole) | {"schema_version": "2.0"}
    cut = [whole[:length] for length in range(len(whole) - 2)]
    for content in [*cut, json.dumps(spoiled).encode(), json.dumps(later).encode(), b"\xff\xfe"]:
        path.write_bytes(content)
        found = chosen()
        assert (found.origin, found.value) == ("model", 0.001), content[-30:]
        assert found.site_not_used is not None and str(path) in found.site_not_used


def test_a_damaged_file_does_not_stop_the_monitor_nor_a_new_calibration(site: Path) -> None:
    """run says it and judges by the model's own threshold; calibrate keeps the damaged file beside the new one."""
    learn(site)
    path = file_of(site / "state", "pump7")
    path.write_text("{")
    events, log = run(site)
    assert events[0]["thresholds"]["pump7"]["origin"] == "model"
    assert "damaged" in log
    assert command(site, "--restore").exit_code == 65
    learn(site)
    assert path.with_name(path.name + ".damaged").read_text() == "{"
    assert run(site)[0][0]["thresholds"]["pump7"]["origin"] == "site"


def test_too_short_a_time_is_refused_before_anybody_waits_for_it(site: Path) -> None:
    """An hour for one alarm in ten days: refused at once, with 65, the seconds, and the rate that an hour promises."""
    configure(site, source='kind = "microphone"\ndevice = "none such"')
    done = command(site, "--minutes", "60", "--alarms-per-day", "0.1")
    assert done.exit_code == 65, done.output
    assert "3600 s of running cannot promise one in 10.0 days: that takes at least 258831 s (3.0 days)" in done.stderr
    assert "--alarms-per-day 7.2" in done.stderr
    assert not (site / "state").exists() or not list((site / "state").rglob("*.json"))


def test_a_source_that_ends_too_soon_changes_nothing(site: Path) -> None:
    """Ten seconds for one alarm a day: 65, and the threshold that was there stays."""
    before = learn(site)
    done = command(site, "--alarms-per-day", "1")
    assert done.exit_code == 65
    assert "source 'pump7': 10 s of running cannot promise one a day" in done.stderr
    noted = read_site_file(site / "state", "pump7")
    assert noted is not None and noted.current == before


def test_recordings_give_what_the_source_gives(site: Path) -> None:
    """--from with the file that the source replays learns the same threshold; two files are two stretches."""
    listened = learn(site, "--minutes", "1")
    (site / "healthy").mkdir()
    soundfile.write(site / "healthy" / "1.wav", noise(10), RATE_HZ, subtype="FLOAT")
    configure(site, source='kind = "microphone"')
    replayed = learn(site, "--from", str(site / "healthy"))
    assert replayed.calibration == listened.calibration
    soundfile.write(site / "healthy" / "2.wav", noise(10, seed=1), RATE_HZ, subtype="FLOAT")
    both = learn(site, "--from", str(site / "healthy"))
    assert both.calibration.windows == 2 * listened.calibration.windows
    assert both.seconds == pytest.approx(2 * listened.seconds)
    done = command(site, "--alarms-per-day", OFTEN, "--from", str(site / "healthy"))
    assert f"{duration(both.seconds)} of normal running collected" in done.stderr
    assert f"on {duration(both.seconds)} of normal running" in done.stdout
    assert 3600 * both.calibration.hours == pytest.approx(both.seconds)
    (site / "list.csv").write_text("path,start_seconds\nhealthy/1.wav,3\n")
    refused = command(site, "--from", str(site / "list.csv"), "--alarms-per-day", OFTEN)
    assert refused.exit_code == 65 and "whole recordings only" in refused.stderr


def test_a_faulty_recording_changes_nothing(site: Path) -> None:
    """--from a folder with one far louder file: 65, that file is named, and the threshold that was there stays."""
    (site / "healthy").mkdir()
    for number in range(3):
        soundfile.write(site / "healthy" / f"{number}.wav", noise(10, seed=number), RATE_HZ, subtype="FLOAT")
    before = learn(site, "--from", str(site / "healthy"))
    soundfile.write(site / "healthy" / "faulty.wav", noise(10, amplitude=0.4), RATE_HZ, subtype="FLOAT")
    done = command(site, "--alarms-per-day", OFTEN, "--from", str(site / "healthy"))
    assert done.exit_code == 65, done.output
    (told,) = [line for line in done.stderr.splitlines() if "far above" in line]
    assert "faulty.wav" in told and "the other 3 recordings" in told
    noted = read_site_file(site / "state", "pump7")
    assert noted is not None and noted.current == before


def test_a_recording_that_alone_alarmed_puts_no_threshold_in_force(site: Path, tiny_model: Any) -> None:
    """--from a folder where one file is a little louder and alarmed: 1, it is named, and what was there judges on."""
    tiny_model(threshold=0.0045)
    (site / "healthy").mkdir()
    for number, amplitude in enumerate([0.1, 0.1, 0.1, 0.125]):
        samples = noise(10, amplitude=amplitude, seed=number)
        soundfile.write(site / "healthy" / f"{number}.wav", samples, RATE_HZ, subtype="FLOAT")
    done = command(site, "--alarms-per-day", OFTEN, "--from", str(site / "healthy"))
    assert done.exit_code == 1, done.output
    assert "alarms in " in done.stderr and "3.wav, and none in the other 3 recordings" in done.stderr
    assert "NOT in force" in done.stdout
    noted = read_site_file(site / "state", "pump7")
    assert noted is not None and noted.current is None
    assert command(site, "--restore", "--source", "pump7").exit_code == 0
    noted = read_site_file(site / "state", "pump7")
    assert noted is not None and noted.current is not None


def test_only_running_time_that_is_not_clipped_or_silent_counts(site: Path) -> None:
    """Among standstill, silence and full-scale noise, only the good seconds are learned from (the gate lags by one)."""
    parts = [noise(10), noise(8, amplitude=1e-4), 0 * noise(12), noise(6, amplitude=0.1)]
    loud = np.clip(noise(5, amplitude=3.0), -1, 1).astype(np.float32)
    soundfile.write(site / "a.wav", np.concatenate([*parts, loud, noise(4)]), RATE_HZ, subtype="FLOAT")
    gate = "[source.running]\nstop_level = -50.0\nsettle_seconds = 1\nhold_seconds = 1"
    configure(site, source=f'kind = "file"\npath = "a.wav"\n{gate}')
    learned = learn(site, "--minutes", "1")
    assert learned.score_quantiles["1"] < 0.005
    assert learned.score_quantiles["0.5"] > 0.003
    assert 11 < learned.seconds < 16


def test_scores_that_are_not_finite_are_refused(tiny_model: Any, tmp_path: Path) -> None:
    """Values whose square overflows make no threshold: 65, with the reason, and nothing is written."""
    tiny_model(kind="sensor", sample_rate_hz=100.0, window_samples=50, window_hop_samples=25)
    rows = np.random.default_rng(0).normal(0, 1, 4000)
    rows[2000:2050] = 1e30
    (tmp_path / "a.csv").write_text("channel 0\n" + "".join(f"{row:.6g}\n" for row in rows))
    configure(tmp_path, source='kind = "file"\npath = "a.csv"')
    done = command(tmp_path, "--alarms-per-day", "20000", "--minutes", "1")
    assert done.exit_code == 65, done.output
    assert "not finite" in done.stderr
    assert not file_of(tmp_path / "state", "pump7").exists()


def test_ctrl_c_leaves_everything_as_it_was(site: Path) -> None:
    """SIGINT while it listens: exit code 130, progress was shown, the former calibration is untouched."""
    learn(site)
    before = file_of(site / "state", "pump7").read_bytes()
    soundfile.write(site / "a.wav", noise(60), RATE_HZ, subtype="FLOAT")
    configure(site, source='kind = "file"\npath = "a.wav"\npace = "real-time"')
    child = subprocess.Popen(
        [*MONITOR, "calibrate", str(site / "monitor.toml"), "--alarms-per-day", "1000"],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stderr is not None
    line = ""
    while "collected, " not in line:
        line = child.stderr.readline()
    assert "of normal running collected, 25.9 s of 25.9 s left" in line
    time.sleep(0.5)
    child.send_signal(signal.SIGINT)
    rest = child.stderr.read()
    assert child.wait(20) == 130
    assert "nothing was changed" in rest
    assert file_of(site / "state", "pump7").read_bytes() == before


def test_an_open_alarm_is_not_learned_as_normal(site: Path) -> None:
    """While an alarm lasts, calibrate refuses with its id; once somebody has said that it is false, it goes on."""
    configure(site, "[alarm]\nlatch = true\n")
    (raised,) = [event for event in run(site)[0] if event["event"] == "alarm_raised"]
    done = command(site, "--alarms-per-day", OFTEN)
    assert done.exit_code == 65
    assert raised["alarm"][:8] in done.stderr and "--verdict false" in done.stderr
    acknowledged = CliRunner().invoke(
        cli.main, ["ack", raised["alarm"], "--verdict", "false", "--config", str(site / "monitor.toml")]
    )
    assert acknowledged.exit_code == 0
    learn(site)


@pytest.mark.parametrize(
    ("arguments", "more", "code", "said"),
    [
        (["--source", "pump8"], "", 78, "Did you mean 'pump7'"),
        (["--restore"], '[[source]]\nname = "two"\nkind = "file"\npath = "a.wav"\n', 2, "--source"),
        (["--minutes", "5", "--from", "a.wav"], "", 2, "--from takes all"),
        (["--minutes", "0"], "", 2, "minutes"),
        (["--from", "nowhere"], "", 66, "nowhere"),
    ],
)
def test_what_cannot_be_meant_has_its_exit_code(
    site: Path, arguments: list[str], more: str, code: int, said: str
) -> None:
    """Each wrong use is named, with the exit code of its kind."""
    configure(site, more)
    done = command(site, *arguments)
    assert done.exit_code == code, done.output
    assert said in done.stderr


def test_without_a_state_directory_there_is_no_place_for_it(site: Path) -> None:
    """No [state]: 78 with the lines to add; --state names one."""
    path = site / "monitor.toml"
    path.write_text(path.read_text().replace('[state]\ndirectory = "state"\n', ""))
    done = command(site, "--alarms-per-day", OFTEN)
    assert done.exit_code == 78 and "[state]" in done.stderr
    assert command(site, "--alarms-per-day", OFTEN, "--state", str(site / "elsewhere")).exit_code == 0
    assert file_of(site / "elsewhere", "pump7").exists()


def test_names_cannot_leave_the_directory(tmp_path: Path) -> None:
    """Whatever a source is called, its file lies in the calibration folder, one a name."""
    names = ["pump 7", "../x", "a/b", "a%2Fb", "pümpe", ".", "CON:1"]
    files = {file_of(tmp_path, name) for name in names}
    assert len(files) == len(names)
    assert {path.resolve().parent for path in files} == {tmp_path / "calibration"}


def test_sighup_takes_a_new_site_threshold_without_a_gap(site: Path) -> None:
    """The alarm of the model's threshold closes, the site's rules from then on, and not one window is missing."""
    learn(site)
    restore(site / "state", "pump7")
    soundfile.write(site / "a.wav", noise(60), RATE_HZ, subtype="FLOAT")
    source = 'kind = "file"\npath = "a.wav"\npace = "real-time"'
    child = MonitorChild(configure(site, "[events]\nscores = true\n", source=source))
    try:
        child.wait_for("alarm_raised")
        restore(site / "state", "pump7")
        child.reload()
        reloaded = child.wait_for("reloaded")
        assert reloaded["kept"] == ["pump7"]
        assert reloaded["thresholds"]["pump7"]["origin"] == "site"
        child.wait_for("alarm_open")
        child.wait_for("score", count=len(child.of_kind("score")) + 20)
        restore(site / "state", "pump7")
        child.reload()
        assert child.wait_for("reloaded", count=2)["thresholds"]["pump7"]["origin"] == "model"
        child.wait_for("alarm_raised", count=2)
        assert child.stop() == 0
    finally:
        child.kill()
    starts = [event["start_seconds"] for event in child.of_kind("score")]
    np.testing.assert_allclose(np.diff(starts), 0.05, atol=1e-6)
    (summary,) = child.of_kind("summary")
    assert summary["gaps"] == 0
