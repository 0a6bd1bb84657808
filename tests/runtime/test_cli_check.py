"""`dasvdd-monitor check`: every part that can be wrong has its line and its exit code."""

from __future__ import annotations

import socket
import subprocess
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner, Result
from dasvdd_runtime import cli
from dasvdd_runtime.cli.check import Report, check_speed
from dasvdd_runtime.cli.trial_capture import TrialCapture
from dasvdd_runtime.condition.levels import baseline_of
from dasvdd_runtime.errors import DasvddError
from dasvdd_runtime.scorer import Scorer
from dasvdd_runtime.sources.base import Block
from monitor_child import MONITOR
from numpy.typing import NDArray

RATE_HZ = 16000


def noise(seconds: float, *, seed: int = 0) -> NDArray[np.float32]:
    """White noise at -17 dBFS, [samples, 1]."""
    random = np.random.default_rng(seed)
    return (0.1 * random.standard_normal((round(seconds * RATE_HZ), 1))).astype(np.float32)


@pytest.fixture
def site(tiny_model: Any, tmp_path: Path) -> Path:
    """A folder with a model trained on noise, such a recording, and a monitor.toml that replays it."""
    tiny_model(baseline=baseline_of([noise(10)], RATE_HZ, kind="audio", used_channels=[0]))
    soundfile.write(tmp_path / "pump.wav", noise(5, seed=1), RATE_HZ)
    configure(tmp_path)
    return tmp_path


def configure(folder: Path, more: str = "", *, source: str = 'kind = "file"\npath = "pump.wav"') -> None:
    """Write monitor.toml with one source, 'pump7', and `more`."""
    (folder / "monitor.toml").write_text(
        f'[model]\npath = "model.onnx"\nprovider = "cpu"\n[[source]]\nname = "pump7"\n{source}\n{more}'
    )


def check(site: Path) -> Result:
    """Run the command on the site's monitor.toml."""
    return CliRunner().invoke(cli.main, ["check", str(site / "monitor.toml"), "--seconds", "3"])


def verdicts(result: Result) -> dict[str, str]:
    """Subject -> verdict of the printed lines."""
    rows = [line for line in result.stdout.splitlines() if line.startswith(("ok ", "warning ", "FAIL "))]
    return {row[9:].split(":")[0]: row.split()[0] for row in rows}


def test_a_sound_site_is_fit_to_run(site: Path) -> None:
    """Everything present and alike: every line ok, exit code 0, and nothing written."""
    before = sorted(site.iterdir())
    configure(site, '[events]\npath = "events.jsonl"')
    result = check(site)
    assert result.exit_code == 0, result.output
    assert set(verdicts(result).values()) == {"ok"}
    assert {"configuration", "events", "model", "provider", "golden windows", "decision", "speed", "pump7"} <= set(
        verdicts(result)
    )
    assert "CPUExecutionProvider" in result.stdout
    assert sorted(site.iterdir()) == before


@pytest.mark.parametrize(
    ("change", "exit_code", "subject", "said"),
    [
        (lambda s: (s / "monitor.toml").unlink(), 78, "configuration", "monitor.toml"),
        (lambda s: configure(s, "[evnts]\n"), 78, "configuration", "Did you mean 'events'?"),
        (lambda s: configure(s, "[decision]\nk = 9\n"), 78, "decision", "k = 9"),
        (lambda s: configure(s, '[events]\npath = "pump.wav/x.jsonl"'), 78, "events", "cannot be written"),
        (lambda s: configure(s, '[events]\npath = "/proc/x.jsonl"'), 78, "events", "/proc: No such file or directory"),
        (lambda s: configure(s, '[state]\ndirectory = "/proc/a/b"'), 78, "state", "right to write /proc, or name"),
        (lambda s: (s / "model.onnx").unlink(), 66, "model", "model.onnx"),
        (lambda s: (s / "model.onnx").write_bytes(b"\x08\x08"), 65, "model", "2 bytes"),
        (lambda s: (s / "pump.wav").unlink(), 66, "pump7", "pump.wav"),
        (lambda s: (s / "pump.wav").write_bytes((s / "pump.wav").read_bytes()[:900]), 65, "pump7", "truncated"),
        (lambda s: soundfile.write(s / "pump.wav", 0 * noise(5), RATE_HZ), 1, "pump7, level", "silent"),
        (lambda s: soundfile.write(s / "pump.wav", noise(0.5), RATE_HZ), 1, "pump7, capture", "0.50 s"),
    ],
    ids=[
        "no config",
        "unknown key",
        "k over n",
        "events",
        "events in /proc",
        "state in /proc",
        "no model",
        "damaged model",
        "no file",
        "cut",
        "silent",
        "short",
    ],
)
def test_each_fault_has_its_line_and_exit_code(
    site: Path, change: Any, exit_code: int, subject: str, said: str
) -> None:
    """One thing broken: its line says FAIL with what is wrong, and the exit code is that of its kind."""
    change(site)
    result = check(site)
    assert result.exit_code == exit_code, result.output
    assert verdicts(result)[subject] == "FAIL"
    assert said in next(line for line in result.stdout.splitlines() if line.startswith("FAIL"))
    assert result.stdout.splitlines()[-1].startswith("not fit to run")


def test_a_golden_window_that_differs_fails(tiny_model: Any, site: Path) -> None:
    """A model whose golden scores do not repeat is not fit to run."""
    golden = tiny_model.metadata().golden
    scores = [score * 1.01 for score in golden.scores]
    tiny_model(golden=golden.model_copy(update={"scores": scores}))
    result = check(site)
    assert result.exit_code == 65
    assert "golden window" in result.stdout


def test_another_gain_is_a_warning_that_does_not_stop_a_start(site: Path) -> None:
    """A level 30 dB too low is said with its decibels, but the machine may simply be off: exit code 0."""
    soundfile.write(site / "pump.wav", noise(5) * 10 ** (-30 / 20), RATE_HZ, subtype="FLOAT")
    result = check(site)
    assert result.exit_code == 0
    assert verdicts(result)["pump7, gain"] == "warning"
    assert "up by 30 dB" in result.stdout
    assert "fit to run, 1 warning" in result.stdout


def test_overrides_of_the_decision_are_a_warning(site: Path) -> None:
    """A threshold of the configuration's own is named beside the calibrated one."""
    configure(site, "[decision]\nthreshold = 0.7\n")
    result = check(site)
    assert verdicts(result)["decision"] == "warning"
    assert "threshold = 0.7" in result.stdout and "calibrated 0.1" in result.stdout


def test_a_rate_that_the_hours_cannot_promise_is_a_warning(tiny_model: Any, site: Path) -> None:
    """10.8 s for one alarm a day: both numbers and what to do, and still fit to run.

    Without any alarm, 95 % of confidence bound a rate by 3 in the time there was (the rule of three).
    """
    assert verdicts(check(site))["pump7, threshold"] == "ok", "24 h bound it to three a day"
    metadata = tiny_model.metadata()
    hours = 10.8 / 3600
    few = replace(metadata.calibration, hours=hours, windows=40, episodes_per_day_upper=3 / (hours / 24))
    tiny_model(calibration=few, baseline=metadata.baseline)
    result = check(site)
    assert result.exit_code == 0 and "\nfit to run, 1 warning" in result.stdout
    (line,) = (line for line in result.stdout.splitlines() if line.startswith("warning"))
    assert "pump7, threshold: 0.1: the model's own" in line
    assert "one a day was asked for, and 10.8 s of normal running alone rule out no more than one every 3.6 s" in line
    assert "Calibrate on site (dasvdd-monitor calibrate)" in line


@pytest.mark.parametrize(("threshold", "code"), [("2.0", 0), ("2.1", 78), ("1e300", 78)])
def test_a_threshold_that_nothing_reaches_is_not_fit_to_run(site: Path, threshold: str, code: int) -> None:
    """More than 20 times the model's own 0.1: a FAIL with both numbers and what to do, and the start of run says it."""
    configure(site, f"[decision]\nthreshold = {threshold}\n")
    result = check(site)
    assert result.exit_code == code, result.output
    run = subprocess.run(
        [*MONITOR, "run", str(site / "monitor.toml")], capture_output=True, text=True, timeout=60, check=True
    )
    for told in (result.stdout, run.stderr):
        assert ("hardly any fault alarms" in told and "the model's own (0.1)" in told) == bool(code)


def test_standard_input_is_left_alone(site: Path) -> None:
    """A stdin source is said to be unchecked and nothing is read from it."""
    configure(site, source='kind = "stdin"\nformat = "s16le"')
    result = CliRunner().invoke(cli.main, ["check", str(site / "monitor.toml")], input=b"abcd")
    assert result.exit_code == 0, result.output
    assert "standard input is not read" in result.stdout


def test_every_source_is_checked_though_one_fails(site: Path) -> None:
    """A broken source does not hide the state of the next one."""
    configure(
        site, '[[source]]\nname = "pump8"\nkind = "file"\npath = "pump.wav"', source='kind = "file"\npath = "no.wav"'
    )
    result = check(site)
    assert result.exit_code == 66
    assert verdicts(result)["pump7"] == "FAIL"
    assert verdicts(result)["pump8"] == "ok"


def test_a_machine_that_cannot_keep_up_fails(tiny_model: Any, site: Path) -> None:
    """With a hop of one sample at 10 MHz no machine keeps up, and the line says by how much."""
    tiny_model(sample_rate_hz=1e7, window_hop_samples=1)
    report = Report()
    check_speed(1, Scorer(site / "model.onnx"), report)
    assert report.exit_code == 1


class EndlessSource:
    """A live source: silent for its first half second, then ones, and samples lost in the third block."""

    sample_rate_hz = 100.0
    live = True

    def __init__(self) -> None:
        self.closed = False
        self._blocks = 0

    def open(self) -> None:
        """Nothing to open."""

    def read(self) -> Block:
        """A tenth of a second."""
        self._blocks += 1
        return Block(np.full((10, 1), float(self._blocks > 5), np.float32), overflowed=self._blocks == 3)

    def close(self) -> None:
        """Remember it."""
        self.closed = True


def test_a_live_capture_leaves_out_the_settling_time() -> None:
    """What is judged begins half a second after the device was opened; lost samples are remembered; it is closed."""
    source = EndlessSource()
    capture = TrialCapture(source, 1.0)
    assert capture.wait()
    np.testing.assert_array_equal(capture.samples(), np.ones((100, 1), np.float32))
    assert capture.overflowed
    assert source.closed


class HangingSource(EndlessSource):
    """A device whose driver never returns from the read."""

    def __init__(self) -> None:
        super().__init__()
        self.release = threading.Event()

    def read(self) -> Block:
        """Hang."""
        self.release.wait(30)
        return super().read()


def test_a_hanging_device_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A read that does not return ends the waiting, not the program."""
    monkeypatch.setattr("dasvdd_runtime.cli.trial_capture.PATIENCE_SECONDS", 0.1)
    source = HangingSource()
    capture = TrialCapture(source, 0.1)
    assert not capture.wait()
    source.release.set()


class BrokenSource(EndlessSource):
    """A device whose library raises an exception of its own."""

    def open(self) -> None:
        """Fail."""
        raise RuntimeError("driver says no")


def test_a_librarys_exception_is_a_fault_of_the_device() -> None:
    """Whatever a device's library raises is reported as a DasvddError with exit code 69."""
    capture = TrialCapture(BrokenSource(), 0.1)
    assert capture.wait()
    with pytest.raises(DasvddError, match="driver says no") as caught:
        capture.samples()
    assert caught.value.exit_code == 69


def test_a_program_as_source_is_listened_to(site: Path) -> None:
    """The line of a program names it; one that ends at once fails with its last words and the code of a device."""
    np.clip(noise(20, seed=1) * 32768, -32768, 32767).astype("<i2").tofile(site / "pump.raw")
    keys = 'kind = "command"\nformat = "s16le"\nargv = ["sh", "-c", "{}"]'
    configure(site, source=keys.format(f"cat {site / 'pump.raw'}; sleep 30"))
    result = check(site)
    assert result.exit_code == 0, result.output
    assert "from the program 'sh'" in result.stdout
    configure(site, source=keys.format("echo no card >&2; exit 2"))
    result = check(site)
    assert result.exit_code == 69
    assert "exit code 2; its last words: no card" in result.stdout


def test_a_state_directory_that_cannot_be_and_a_port_in_use_are_told(site: Path) -> None:
    """What would keep run from starting is said before."""
    (site / "file").write_text("")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        http = f'[http]\nlisten = "127.0.0.1:{taken.getsockname()[1]}"\n'
        configure(site, f'[state]\ndirectory = "file/state"\n{http}')
        result = check(site)
    assert result.exit_code == 78
    assert verdicts(result)["state"] == "FAIL"
    assert verdicts(result)["http"] == "warning"
