"""A microphone end to end: PulseAudio's null sink, heard through ALSA and PortAudio in real time."""

from __future__ import annotations

import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest
import soundfile
from fake_microphone import FakeMicrophone
from numpy.typing import NDArray

RATE_HZ = 16000
MONITOR = [sys.executable, "-c", "from dasvdd_runtime.cli import main; main()"]


@pytest.fixture
def microphone(
    require_program: Callable[[str], str], require_library: Callable[[str], str]
) -> Iterator[FakeMicrophone]:
    """A microphone that is plugged in."""
    for program in ("pulseaudio", "pactl", "paplay"):
        require_program(program)
    require_library("portaudio")
    folder = Path(tempfile.mkdtemp(prefix="mic"))  # short: a socket's path has at most 107 characters
    fake = FakeMicrophone(folder)
    try:
        yield fake
    finally:
        fake.close()
        shutil.rmtree(folder, ignore_errors=True)


class Program:
    """A running dasvdd-monitor; its standard output is read as JSON lines."""

    def __init__(self, arguments: list[str], environment: dict[str, str], stderr: IO[str] | None = None) -> None:
        self.process = subprocess.Popen(
            [*MONITOR, *arguments], env=environment, stdout=subprocess.PIPE, stderr=stderr, text=True
        )
        self.events: list[dict[str, Any]] = []
        self._lines: queue.Queue[dict[str, Any]] = queue.Queue()
        assert self.process.stdout is not None
        threading.Thread(target=self._read, args=(self.process.stdout,), daemon=True).start()

    def wait_for(self, wanted: Callable[[dict[str, Any]], bool], *, seconds: float = 30.0) -> dict[str, Any]:
        """The next event that is `wanted`."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                event = self._lines.get(timeout=max(0.01, deadline - time.monotonic()))
            except queue.Empty:
                pytest.fail(f"no such event in {seconds} s after {self.events[-5:]}")
            self.events.append(event)
            if wanted(event):
                return event

    def stop(self) -> None:
        """SIGTERM, and the rest of the events."""
        self.process.send_signal(signal.SIGTERM)
        self.wait_for(lambda event: event["event"] == "stopped")
        assert self.process.wait(15) == 0

    def _read(self, stream: IO[str]) -> None:
        for line in stream:
            self._lines.put(json.loads(line))


def noise(seconds: float, *, amplitude: float) -> NDArray[np.int16]:
    random = np.random.default_rng(6)
    return np.round(amplitude * 32767 * random.uniform(-1, 1, round(seconds * RATE_HZ))).astype(np.int16)


def write_config(folder: Path, *, device: str = "fakemic") -> str:
    path = folder / "monitor.toml"
    path.write_text(
        f'[model]\npath = "model.onnx"\nprovider = "cpu"\n[[source]]\nname = "pump7"\nkind = "microphone"\n'
        f'device = "{device}"\nstall_seconds = 2.0\nsilent_seconds = 1.0\n[events]\nscores = true\n'
    )
    return str(path)


def is_state(state: str) -> Callable[[dict[str, Any]], bool]:
    return lambda event: event["event"] == "source_state" and event["state"] == state


def is_score(event: dict[str, Any]) -> bool:
    return bool(event["event"] == "score")


@pytest.mark.slow
def test_recordings_of_a_microphone_are_bit_exact(microphone: FakeMicrophone, tmp_path: Path) -> None:
    """What was played is found in the recording, sample by sample, without a gap."""
    played = noise(3, amplitude=0.5)
    soundfile.write(tmp_path / "played.wav", np.concatenate([np.zeros(RATE_HZ, np.int16), played]), RATE_HZ)
    record = subprocess.Popen(
        [*MONITOR, "record", "--device", "fakemic", "--minutes", "0.12", "--out", str(tmp_path / "out")],
        env=microphone.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not list(tmp_path.glob("out/*")):
        assert record.poll() is None, record.communicate()
        time.sleep(0.05)
    microphone.play(tmp_path / "played.wav")
    out, errors = record.communicate(timeout=30)
    assert record.returncode == 0, errors
    assert "0 gap(s)" in errors
    heard, rate_hz = soundfile.read(out.strip(), dtype="int16")
    assert rate_hz == RATE_HZ
    assert len(heard) == round(7.2 * RATE_HZ)
    begin = int(np.argmax(heard != 0)) - int(np.argmax(played != 0))
    np.testing.assert_array_equal(heard[begin : begin + len(played)], played)


@pytest.mark.slow
def test_a_microphone_unplugged_and_plugged_in_again(
    microphone: FakeMicrophone, tiny_model: Any, tmp_path: Path
) -> None:
    """OK, then STALLED or MISSING, then OK and scored again; the time away is counted, and SIGTERM ends it cleanly."""
    tiny_model(threshold=0.02)
    quiet, loud = tmp_path / "quiet.wav", tmp_path / "loud.wav"
    soundfile.write(quiet, noise(60, amplitude=0.1), RATE_HZ)
    soundfile.write(loud, noise(60, amplitude=0.6), RATE_HZ)
    microphone.play(quiet)
    program = Program(["run", write_config(tmp_path)], microphone.environment)
    try:
        program.wait_for(is_state("OK"))
        score = program.wait_for(is_score)
        assert score["score"] == pytest.approx(0.1**2 / 3, rel=0.2)
        assert score["stream_seconds"] < 10
        time.sleep(1)
        microphone.unplug()
        away_since = time.monotonic()
        program.wait_for(lambda event: is_state("STALLED")(event) or is_state("MISSING")(event))
        time.sleep(2)
        microphone.plug()
        microphone.play(loud)
        program.wait_for(lambda event: is_state("OK")(event) or is_state("SILENT")(event))
        raised = program.wait_for(lambda event: event["event"] == "alarm_raised")
        away_at_most = time.monotonic() - away_since
        assert raised["smoothed_score"] > 0.02
        program.stop()
    finally:
        program.process.kill()
    (summary,) = (event for event in program.events if event["event"] == "summary")
    assert summary["gaps"] >= 1
    assert 1.5 < summary["lost_seconds"] < away_at_most
    times = [event["stream_seconds"] for event in program.events if is_score(event)]
    assert times == sorted(times)
    assert max(np.diff(times)) > 1.5


@pytest.mark.slow
def test_a_sound_server_that_is_killed_is_found_again(
    microphone: FakeMicrophone, tiny_model: Any, tmp_path: Path
) -> None:
    """MISSING or STALLED while PulseAudio is gone; once another runs, windows are scored, and the time away is lost."""
    tiny_model(threshold=10.0)
    quiet = tmp_path / "quiet.wav"
    soundfile.write(quiet, noise(60, amplitude=0.1), RATE_HZ)
    microphone.play(quiet)
    program = Program(["run", write_config(tmp_path)], microphone.environment)
    try:
        program.wait_for(is_state("OK"))
        time.sleep(1)
        microphone.kill_server()
        program.wait_for(lambda event: is_state("STALLED")(event) or is_state("MISSING")(event))
        time.sleep(1)
        microphone.start_server()
        microphone.play(quiet)
        program.wait_for(is_state("OK"), seconds=60)
        program.wait_for(is_score)
        program.stop()
    finally:
        program.process.kill()
    (summary,) = (event for event in program.events if event["event"] == "summary")
    assert summary["gaps"] >= 1 and summary["lost_seconds"] > 1


@pytest.mark.slow
def test_a_microphone_that_comes_late_is_waited_for(
    microphone: FakeMicrophone, tiny_model: Any, tmp_path: Path
) -> None:
    """A box that starts before its microphone is there says MISSING and what there is, and begins when it comes."""
    tiny_model(threshold=0.02)
    quiet = tmp_path / "quiet.wav"
    soundfile.write(quiet, noise(60, amplitude=0.1), RATE_HZ)
    microphone.unplug()
    log = (tmp_path / "log").open("w")
    program = Program(["run", write_config(tmp_path)], microphone.environment, log)
    try:
        program.wait_for(is_state("MISSING"))
        time.sleep(2.5)  # and it is tried again
        microphone.plug()
        microphone.play(quiet)
        program.wait_for(is_score)
        program.stop()
    finally:
        program.process.kill()
    (summary,) = (event for event in program.events if event["event"] == "summary")
    assert summary["lost_seconds"] == 0
    log.close()
    lines = (tmp_path / "log").read_text().splitlines()
    assert any("STARTING -> MISSING" in line for line in lines)
    assert [line for line in lines if line.startswith(("ALSA", "Expression"))] == []


@pytest.mark.slow
def test_two_sources_hear_one_microphone(microphone: FakeMicrophone, tiny_model: Any, tmp_path: Path) -> None:
    """One stream of the device serves both, and both give the level that was played."""
    tiny_model(threshold=0.5)
    soundfile.write(tmp_path / "quiet.wav", noise(60, amplitude=0.1), RATE_HZ)
    config = Path(write_config(tmp_path))
    second = config.read_text().partition("[[source]]")[2].partition("[events]")[0].replace("pump7", "pump8")
    config.write_text(config.read_text() + "[[source]]" + second)
    microphone.play(tmp_path / "quiet.wav")
    program = Program(["run", str(config)], microphone.environment)
    try:
        for name in ("pump7", "pump8"):
            score = program.wait_for(lambda event, name=name: is_score(event) and event["source"] == name)
            assert score["score"] == pytest.approx(0.1**2 / 3, rel=0.2)
        streams = subprocess.run(
            ["pactl", "list", "short", "source-outputs"],
            env=microphone.environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert len(streams.stdout.splitlines()) == 1
        program.stop()
    finally:
        program.process.kill()


@pytest.mark.slow
def test_a_rate_that_the_device_lacks_is_resampled(microphone: FakeMicrophone, tmp_path: Path) -> None:
    """At 400 kHz, which ALSA's pulse device refuses, its own rate is taken: a tone keeps its pitch and level."""
    tone = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(10 * RATE_HZ) / RATE_HZ)
    soundfile.write(tmp_path / "tone.wav", tone, RATE_HZ)
    microphone.play(tmp_path / "tone.wav")
    done = subprocess.run(
        [
            *MONITOR,
            "record",
            "--device",
            "fakemic",
            "--rate",
            "400000",
            "--minutes",
            "0.05",
            "--out",
            str(tmp_path / "out"),
        ],
        env=microphone.environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert "nothing above 22050 Hz is heard" in done.stderr
    heard, rate_hz = soundfile.read(done.stdout.strip())
    assert rate_hz == 400_000
    second = heard[-rate_hz:]
    spectrum = np.abs(np.fft.rfft(second * np.hanning(rate_hz)))
    assert int(np.argmax(spectrum)) == 1000  # one second: bins of 1 Hz
    assert np.sqrt(2 * np.mean(second**2)) == pytest.approx(0.5, rel=0.01)


def test_devices_lists_the_name_to_put_into_a_configuration(microphone: FakeMicrophone) -> None:
    """The fake microphone is listed by the name by which it is opened."""
    listed = subprocess.run(
        [*MONITOR, "devices"], env=microphone.environment, capture_output=True, text=True, timeout=30, check=True
    )
    assert "fakemic" in listed.stdout
    assert "default rate" in listed.stdout


def test_without_portaudio_one_line_names_the_package(tiny_model: Any, tmp_path: Path) -> None:
    """Where the library is missing, run says what to install, exits with 69, and a file source still works."""
    blocker = "import ctypes.util; ctypes.util.find_library = lambda name: None\n"
    (tmp_path / "sitecustomize.py").write_text(blocker)
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    tiny_model()
    command = [*MONITOR, "run", write_config(tmp_path)]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert run.returncode == 69
    assert "libportaudio2" in run.stderr
    assert "Traceback" not in run.stderr
    soundfile.write(tmp_path / "a.wav", noise(1, amplitude=0.1), RATE_HZ)
    (tmp_path / "monitor.toml").write_text(
        '[model]\npath = "model.onnx"\n[[source]]\nname = "f"\nkind = "file"\npath = "a.wav"\n'
    )
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert run.returncode == 0, run.stderr


def test_a_microphone_loads_nothing_that_reads_or_resamples_files() -> None:
    """Two megabytes of libraries are left to the kinds that need them: memory on a small box."""
    script = (
        "import sys, dasvdd_runtime.cli.run, dasvdd_runtime.sources.microphone;"
        "print(sorted({'soundfile', 'soxr', 'dasvdd_runtime.recordings'} & {*sys.modules}))"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout == "[]\n"
