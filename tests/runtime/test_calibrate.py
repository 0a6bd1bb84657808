"""The command calibrate: what it learns from normal running, and what it refuses to learn from."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from calibrating import OFTEN, check, command, configure, learn, make_site, run
from click.testing import CliRunner
from dasvdd_runtime import cli
from dasvdd_runtime.calibration import calibrate
from dasvdd_runtime.detector import DecisionSettings
from dasvdd_runtime.scorer import Scorer
from dasvdd_runtime.thresholds.choice import threshold_in_force
from dasvdd_runtime.thresholds.site_threshold import file_of, read_site_file
from dasvdd_runtime.words import duration
from monitor_child import MONITOR
from tiny_model import TinyModel
from white_noise import RATE_HZ, noise

DEFAULT = DecisionSettings()


@pytest.fixture
def site(tiny_model: TinyModel, tmp_path: Path) -> Path:
    """A machine that is healthy, and a model whose threshold is far too low for it."""
    return make_site(tiny_model, tmp_path)


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
    assert f"in this time ({site / 'healthy' / '3.wav'})" in done.stderr
    assert "NOT in force" in done.stdout
    noted = read_site_file(site / "state", "pump7")
    assert noted is not None and noted.current is None
    assert command(site, "--restore", "--source", "pump7").exit_code == 0
    noted = read_site_file(site / "state", "pump7")
    assert noted is not None and noted.current is not None


def test_what_alarmed_is_normal_only_after_a_word(site: Path) -> None:
    """The only recording alarmed, or the source did: 1 and what was there judges on; without an alarm: 0, in force."""
    for data in (["--from", str(site / "a.wav")], ["--minutes", "0.1"]):
        done = command(site, "--alarms-per-day", OFTEN, *data)
        assert done.exit_code == 1, done.output
        assert "the threshold before raised 1 alarm in this time" in done.stderr and "NOT in force" in done.stdout
        assert f"`dasvdd-monitor calibrate {site / 'monitor.toml'} --source pump7 --restore` puts it in" in done.stdout
        assert run(site)[0][0]["thresholds"]["pump7"]["origin"] == "model"
    assert command(site, "--restore").exit_code == 0
    done = command(site, "--alarms-per-day", OFTEN, "--from", str(site / "a.wav"))
    assert done.exit_code == 0 and "warning" not in done.stderr, done.output


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
    command(site, "--alarms-per-day", OFTEN, "--state", str(site / "elsewhere"))
    assert file_of(site / "elsewhere", "pump7").exists()
