"""Programs as sources, with real programs: shells, and ffmpeg where a stream must be decoded."""

from __future__ import annotations

import http.server
import os
import shutil
import threading
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile
from dasvdd_runtime.configuration.config import load_config
from dasvdd_runtime.errors import ConfigError, DataError
from dasvdd_runtime.logs import LINES
from dasvdd_runtime.sources import source_at
from dasvdd_runtime.sources.base import Source, SourceLost
from dasvdd_runtime.sources.command import CommandSource
from dasvdd_runtime.sources.decoders import PcmDecoder, make_decoder
from dasvdd_runtime.sources.rate_watch import RateWatch
from dasvdd_runtime.sources.rtsp import ffmpeg_arguments
from dasvdd_runtime.sources.tables import CommandTable, RtspTable
from numpy.typing import NDArray

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")


def shell(script: str, *, name: str = "c", format: str = "csv") -> Source:
    """A source that runs `script`; its one channel is called x."""
    table = CommandTable.model_validate(
        {"name": name, "kind": "command", "argv": ["sh", "-c", script], "format": format}
    )
    return source_at(table, sample_rate_hz=100.0, channel_names=["x"])


def read(source: Source, samples: int, *, seconds: float = 20.0) -> NDArray[np.float32]:
    """At least `samples` of an open source."""
    blocks: list[NDArray[np.float32]] = []
    deadline = time.monotonic() + seconds
    while sum(map(len, blocks)) < samples:
        assert time.monotonic() < deadline, f"{sum(map(len, blocks))} of {samples} samples came"
        block = source.read()
        assert block is not None
        blocks.append(block.samples)
    return np.concatenate(blocks)


def read_to_fault(source: Source) -> str:
    """What the fault says that ends reading."""
    with pytest.raises(SourceLost) as caught:
        read(source, 1_000_000)
    return str(caught.value)


def exists(process: int) -> bool:
    """Whether a process with this number runs and is no zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def all_end(processes: list[int], *, seconds: float = 2.0) -> bool:
    """Whether none of `processes` is left; a signal that was sent may still be on its way."""
    deadline = time.monotonic() + seconds
    while any(exists(process) for process in processes) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not any(exists(process) for process in processes)


def test_a_program_is_started_again_with_its_header() -> None:
    """Its end is a lost source with exit code and last words; opened again, header and rows are read anew."""
    source = shell("echo t,x; echo 1,2.5; echo the sensor broke >&2; exit 3")
    for _ in range(2):
        source.open()
        np.testing.assert_array_equal(read(source, 1), [[2.5]])
        assert "exit code 3; its last words: the sensor broke" in read_to_fault(source)
        source.close()


def test_a_program_that_is_not_there_is_a_lost_source() -> None:
    """It may be installed later, so it is tried again like a device."""
    source = CommandSource(
        ["/no/such"], name="c", sample_rate_hz=1.0, new_decoder=partial(make_decoder, "csv", ["x"], label="c")
    )
    with pytest.raises(SourceLost, match="/no/such' cannot be started"):
        source.open()
    source.close()


def test_closing_ends_a_program_that_ignores_sigterm_and_its_children(tmp_path: Path) -> None:
    """The whole group is gone within the three seconds that a stop waits for a source."""
    pids = tmp_path / "pids"
    source = shell(
        f"trap '' TERM; echo $$ > {pids}; sh -c 'trap \"\" TERM; echo $$ >> {pids}; sleep 60' & "
        "while true; do echo 1; sleep 0.1; done"
    )
    source.open()
    read(source, 3)
    begin = time.monotonic()
    source.close()
    assert time.monotonic() - begin < 3.0
    processes = [int(line) for line in pids.read_text().split()]
    assert len(processes) == 2
    assert all_end(processes)


def test_closing_ends_what_a_dead_leader_left_behind(tmp_path: Path) -> None:
    """A grandchild that keeps the output open after the program's own end does not outlive the source."""
    pids = tmp_path / "pids"
    source = shell(f"sleep 60 & echo $! > {pids}; echo 1")
    source.open()
    read(source, 1)
    source.close()
    assert all_end([int(pids.read_text())])


def test_no_argument_is_read_by_a_shell() -> None:
    """What would be a substitution is handed over letter by letter."""
    table = CommandTable(name="c", kind="command", argv=["printf", "%s\n", "$(echo 5)", "7"], format="csv")
    source = source_at(table, sample_rate_hz=1.0, channel_names=["$(echo 5)"])
    source.open()
    np.testing.assert_array_equal(read(source, 1), [[7.0]])  # the first line is the header, with the channel's name
    source.close()


def test_errors_that_repeat_fill_no_log_and_silence_nobody_else(limited_log: pytest.LogCaptureFixture) -> None:
    """Of ten thousand lines on standard error a handful is logged, of each source, and no program is held up."""
    for name in ("a", "b", "c"):
        source = shell("i=0; while [ $i -lt 10000 ]; do echo bad $i >&2; i=$((i+1)); done; echo 4; sleep 5", name=name)
        source.open()
        np.testing.assert_array_equal(read(source, 1), [[4.0]])
        source.close()
        assert sum(f"source '{name}': 'sh' says: bad" in line for line in limited_log.messages) == LINES


# What is not what it is declared to be


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "aiff"])
def test_the_header_of_a_file_is_no_sound(tmp_path: Path, suffix: str) -> None:
    """A file piped in with its header is refused with what to do, also where its first bytes come one by one."""
    soundfile.write(tmp_path / f"a.{suffix}", np.zeros(16000), 16000)
    data = (tmp_path / f"a.{suffix}").read_bytes()
    decoder = PcmDecoder(format="s16le", channels=1)
    with pytest.raises(DataError, match="-t raw"):
        for position in range(8):
            decoder.decode(data[position : position + 1])


@pytest.mark.parametrize("amplitude", [0.002, 0.03, 0.3])
def test_integers_declared_as_floats_are_refused(amplitude: float) -> None:
    """16-bit noise, quiet or loud, read as 32-bit floats is an error that names the other format."""
    random = np.random.default_rng(1)
    data = (32768 * amplitude * random.standard_normal(8000)).astype("<i2").tobytes()
    with pytest.raises(DataError, match="s16le"):
        PcmDecoder(format="f32le", channels=1).decode(data)


@pytest.mark.parametrize("value", [np.nan, 0.0, 1e9, np.inf])
def test_odd_floats_are_not_taken_for_integers(value: float) -> None:
    """A sensor that sends NaN, infinity or large values in its unit is heard: that is a state, not another format."""
    values = np.full((1000, 1), value, "<f4")
    np.testing.assert_array_equal(PcmDecoder(format="f32le", channels=1).decode(values.tobytes()), values)


@pytest.mark.parametrize(("given_hz", "told"), [(16000, 0), (16010, 0), (8000, 1), (44100, 1), (48000, 1)])
def test_a_wrong_rate_is_told_once(given_hz: int, told: int) -> None:
    """A minute at another rate than 16 kHz is told with both numbers; a clock that drifts is not."""
    watch = RateWatch(16000)
    findings = [finding for i in range(600) if (finding := watch.arrived(i / 10, given_hz // 10))]
    assert len(findings) == told
    assert all(f"gives {given_hz} samples a second" in finding and "16000 Hz" in finding for finding in findings)


@pytest.mark.parametrize(
    "seconds", [np.arange(0, 90, 0.1), np.repeat(np.arange(0, 90, 7.0), 70)], ids=["steady", "bursts"]
)
@pytest.mark.parametrize("pause_seconds", [0.5, 4.0, 60.0])
def test_a_pause_is_no_wrong_rate(seconds: NDArray[np.float64], pause_seconds: float) -> None:
    """Ten rows a second, evenly or in bursts: a writer that pauses for a moment or a minute has its rate as before."""
    watch = RateWatch(10, of_rows=True)
    seconds = seconds + pause_seconds * (seconds > 44)
    looks = np.sort(np.concatenate([seconds, np.arange(0, seconds[-1], 0.05)]))  # at most of them nothing has come
    assert not any(watch.arrived(now, int(np.sum(seconds == now))) for now in np.unique(looks))


def test_a_replay_through_a_pipe_is_no_wrong_rate() -> None:
    """A recording that is piped in comes as fast as it is scored."""
    watch = RateWatch(16000, most_times=8)
    assert not any(watch.arrived(i / 10, 160_000) for i in range(600))


# ffmpeg


@needs_ffmpeg
def test_ffmpeg_gives_a_sine() -> None:
    """A real program at real time: a second of 1 kHz has its power at 1 kHz, as an FFT sees it."""
    sine = "sine=frequency=1000:sample_rate=16000"
    argv = ["ffmpeg", "-nostdin", "-loglevel", "error", "-re", "-f", "lavfi", "-i", sine, "-f", "s16le", "-"]
    source = source_at(
        CommandTable(name="c", kind="command", argv=argv, format="s16le"), sample_rate_hz=16000, channel_names=["0"]
    )
    source.open()
    samples = read(source, 16000)[:16000, 0]
    source.close()
    assert int(np.argmax(np.abs(np.fft.rfft(samples)))) == 1000


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """Serves one folder, and only to who knows the password where one is asked for."""

    authorization = ""

    def do_GET(self) -> None:
        if self.authorization and self.headers.get("Authorization") != self.authorization:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="test"')
            self.end_headers()
            return
        super().do_GET()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


def serve(folder: Path, handler: type[QuietHandler] = QuietHandler) -> http.server.ThreadingHTTPServer:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


@needs_ffmpeg
def test_a_stream_is_resampled_and_its_first_channel_taken(tmp_path: Path) -> None:
    """48 kHz stereo over HTTP is heard at 16 kHz: the left channel's tone, nothing of the right one's."""
    time_axis = np.arange(48000) / 48000
    stereo = np.stack([np.sin(2 * np.pi * 1000 * time_axis), np.sin(2 * np.pi * 3000 * time_axis)], axis=1)
    soundfile.write(tmp_path / "a.wav", 0.5 * stereo, 48000)
    server = serve(tmp_path)
    table = RtspTable(name="r", kind="rtsp", url=f"http://127.0.0.1:{server.server_port}/a.wav")
    source = source_at(table, sample_rate_hz=16000, channel_names=["0"])
    source.open()
    spectrum = np.abs(np.fft.rfft(read(source, 15000)[:15000, 0] * np.hanning(15000)))
    assert "exit code 0" in read_to_fault(source)
    source.close()
    server.shutdown()
    bin_of = 15000 / 16000
    assert int(np.argmax(spectrum)) == pytest.approx(1000 * bin_of, abs=1)
    assert spectrum[round(3000 * bin_of)] < 1e-3 * spectrum.max()


@needs_ffmpeg
def test_a_password_is_in_no_argument_and_in_no_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The server gets it, from a file; the process list and the log do not, also where ffmpeg complains of the URL."""
    soundfile.write(tmp_path / "a.wav", np.full(16000, 0.25), 16000)

    class Guarded(QuietHandler):
        authorization = "Basic dXNlcjpzM2NyZXQvd29yZA=="  # user:s3cret/word

    (tmp_path / "password").write_text("s3cret/word\n")
    server = serve(tmp_path, Guarded)
    base = {"name": "r", "kind": "rtsp", "username": "user", "password_file": tmp_path / "password"}
    for file, ends in (("a.wav", "exit code 0"), ("none.wav", "exit code")):
        table = RtspTable.model_validate({**base, "url": f"http://127.0.0.1:{server.server_port}/{file}"})
        assert "s3cret" not in " ".join(ffmpeg_arguments(table, sample_rate_hz=16000, channels=1))
        source = source_at(table, sample_rate_hz=16000, channel_names=["0"])
        source.open()
        if file == "a.wav":
            assert read(source, 8000)[4000, 0] == pytest.approx(0.25, abs=1e-3)
        fault = read_to_fault(source)
        source.close()
        assert ends in fault
        assert "s3cret" not in fault
    server.shutdown()
    assert "s3cret" not in caplog.text


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ('url = "rtsp://u:hush@h/s"', "password_file"),
        ('url = "file:///etc/passwd"', "rtsp://"),
        ('url = "-f"', "rtsp://"),
        ('url = "rtsp://h/\'x"', "quote"),
        ('url = "rtsp://h/s"\nusername = "u"', "belong together"),
    ],
)
def test_urls_that_cannot_be_used_are_refused(tmp_path: Path, keys: str, says: str) -> None:
    """A password in the URL, another scheme, or half of the credentials is a ConfigError that shows no password."""
    path = tmp_path / "monitor.toml"
    path.write_text(f'[model]\npath = "m"\n[[source]]\nname = "r"\nkind = "rtsp"\n{keys}\n')
    with pytest.raises(ConfigError, match=says) as caught:
        load_config(path)
    assert "hush" not in str(caught.value)


def test_a_secret_that_is_not_there_is_a_configuration_error() -> None:
    """The error names the variable."""
    os.environ.pop("NO_SUCH_SECRET", None)
    table = RtspTable(name="r", kind="rtsp", url="rtsp://h/s", username="u", password_env="NO_SUCH_SECRET")
    with pytest.raises(ConfigError, match="NO_SUCH_SECRET"):
        source_at(table, sample_rate_hz=16000, channel_names=["0"]).open()
