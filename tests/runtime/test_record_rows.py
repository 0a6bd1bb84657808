"""`dasvdd-monitor record` of sensors: their rows become CSV files that training reads."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
import soundfile
from dasvdd_runtime.cli.record_choice import choose
from dasvdd_runtime.configuration.config import MonitorConfig
from dasvdd_runtime.errors import ConfigError
from dasvdd_runtime.recorders.base import Gap
from dasvdd_runtime.recorders.rows import NOT_FINITE, RowRecorder
from dasvdd_runtime.recordings import TableFormat, open_pieces, probe, read_signal
from mosquitto_broker import Broker
from numpy.typing import NDArray

RECORD = [sys.executable, "-c", "from dasvdd_runtime.cli import main; main()", "record"]
FULL_DISK = """
import resource
from dasvdd_runtime.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
main()
"""
SLOW_DISK = """
import time
from dasvdd_runtime.cli import main, record
from dasvdd_runtime.recorders.rows import RowRecorder
record.QUEUE_SAMPLES = 1000
write = RowRecorder.write
RowRecorder.write = lambda self, rows: (time.sleep(0.3), write(self, rows))
main()
"""


def recorder(folder: Path, *, rate_hz: float = 50.0, names: str = "x,y", file_seconds: float = 600.0) -> RowRecorder:
    """A recorder whose clock ticks a second whenever it is asked."""
    seconds = iter(range(1, 1000))
    return RowRecorder(
        folder,
        name="fan",
        sample_rate_hz=rate_hz,
        channel_names=names.split(","),
        file_seconds=file_seconds,
        now=lambda: datetime.fromtimestamp(next(seconds), UTC),
    )


def noise(rows: int, channels: int = 2, seed: int = 5) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((rows, channels)).astype(np.float32)


def pieces_of(path: Path) -> list[tuple[float, NDArray[np.float32]]]:
    """Start in seconds and rows of each piece, as training reads them."""
    return [(piece.start_seconds, np.concatenate(list(piece.blocks))) for piece in open_pieces(path)]


def wait_for(condition: Callable[[], bool], *, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


class Recording:
    """`record` as a child on a monitor.toml with one source. `program`: the Python that runs it."""

    def __init__(self, folder: Path, source: str, *arguments: str, program: str = RECORD[2]) -> None:
        config = folder / "monitor.toml"
        config.write_text(f'[model]\npath = "model.onnx"\n[[source]]\nname = "fan"\n{source}\n')
        self.out = folder / "out"
        self.process = subprocess.Popen(
            [RECORD[0], "-c", program, "record", "--config", str(config), "--out", str(self.out), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def size(self) -> int:
        """Bytes recorded so far."""
        return sum(path.stat().st_size for path in self.out.iterdir()) if self.out.exists() else 0

    def end(self, number: int | None = signal.SIGINT) -> tuple[int, list[Path], str]:
        """The exit code, the files and what was said; ended by a signal, or by itself."""
        if number is not None:
            self.process.send_signal(number)
        out, errors = self.process.communicate(timeout=30)
        return self.process.returncode, [Path(line) for line in out.splitlines()], errors


@pytest.mark.parametrize("rate_hz", [0.1, 1 / 7, 3.0, 50.0, 200.0, 6667.0, 25_600.0])
def test_rows_come_back_equal_with_rate_and_gap(tmp_path: Path, rate_hz: float) -> None:
    """Whatever the rate: the times alone say it, the gap is where it was, and every value is the same float."""
    rows = noise(400) * np.float32(10.0) ** np.random.default_rng(1).integers(-30, 30, (400, 2)).astype(np.float32)
    tape = recorder(tmp_path, rate_hz=rate_hz, file_seconds=1000 / rate_hz)
    for block in np.array_split(rows[:250], 7):
        tape.write(block)
    tape.gap(30)
    tape.write(rows[250:])
    tape.close()
    assert tape.gaps == [Gap(250 / rate_hz, 30 / rate_hz)]
    (path,) = tape.files
    found_rate_hz, channels, _ = probe(path)
    assert (found_rate_hz, channels) == (pytest.approx(rate_hz, rel=1e-6), 2)
    (_, before), (start_seconds, after) = pieces_of(path)
    np.testing.assert_array_equal(np.concatenate([before, after]), rows)
    assert len(before) == 250
    assert start_seconds == pytest.approx(280 / rate_hz)


def test_a_row_that_is_not_finite_is_left_out_as_a_gap(tmp_path: Path) -> None:
    """NaN and infinity in one channel take the whole row; rows in a row, over blocks too, are one gap."""
    rows = noise(60)
    rows[20, 1] = np.nan
    rows[21, 0] = np.inf
    tape = recorder(tmp_path)
    for block in np.split(rows, [21]):
        tape.write(block)
    tape.close()
    assert tape.gaps == [Gap(0.4, 0.04, NOT_FINITE)]
    assert (tape.rows_left_out, tape.stream_seconds) == (2, 1.2)
    (_, before), (start_seconds, after) = pieces_of(tape.files[0])
    np.testing.assert_array_equal(before, rows[:20])
    np.testing.assert_array_equal(after, rows[22:])
    assert start_seconds == pytest.approx(22 / 50)


def test_a_gap_of_unknown_length_begins_a_new_file(tmp_path: Path) -> None:
    """No step of the time could show it."""
    tape = recorder(tmp_path)
    tape.write(noise(30))
    tape.gap(0)
    tape.write(noise(20))
    tape.close()
    assert [len(read_signal(path).samples) for path in tape.files] == [30, 20]


def test_files_are_of_the_asked_length_and_times_go_on(tmp_path: Path) -> None:
    """The next file goes on where the last one ended; however slow the rows, none is too short to train on."""
    tape = recorder(tmp_path, rate_hz=10.0, names="x", file_seconds=12.0)
    tape.write(noise(250, 1))
    tape.close()
    assert tape.files[0].name == "fan-19691231T235936.000Z.csv"
    assert [len(read_signal(path).samples) for path in tape.files] == [120, 120, 10]
    assert tape.files[1].read_text().splitlines()[1].startswith("12.0,")
    slow = recorder(tmp_path / "slow", rate_hz=1 / 60, names="x", file_seconds=600.0)
    slow.write(noise(150, 1))
    slow.close()
    assert [len(read_signal(path).samples) for path in slow.files] == [100, 50]


def test_a_file_of_rows_has_its_name_only_when_it_is_whole(tmp_path: Path) -> None:
    """While it grows it ends in .partial, which a crash leaves with every row that was written."""
    tape = recorder(tmp_path)
    tape.write(noise(10))
    (partial,) = tmp_path.iterdir()
    assert partial.suffix == ".partial"
    assert len(partial.read_text().splitlines()) == 11
    tape.close()
    assert [path.suffix for path in tmp_path.iterdir()] == [".csv"]


def test_a_folder_that_stays_empty_is_removed_again(tmp_path: Path) -> None:
    """With those above it that were made for it, and no other."""
    recorder(tmp_path / "recordings" / "fan").end()
    assert list(tmp_path.iterdir()) == []
    recorder(tmp_path).end()
    assert tmp_path.exists()


@pytest.mark.parametrize("format", ["csv", "s16le"])
def test_a_full_disk_keeps_what_was_recorded(tmp_path: Path, format: str) -> None:
    """The file ends with the last whole row or block and is read as it is; the error says what to do."""
    values = np.random.default_rng(0).integers(-9999, 9999, 40_000)
    data = values.astype("<i2").tobytes() if format == "s16le" else "".join(f"{v}\n" for v in values).encode()
    arguments = ["--source", "stdin", "--format", format, "--channels", "1" if format == "s16le" else "x"]
    rate = ["--rate", "8000" if format == "s16le" else "50"]
    process = subprocess.Popen(
        [sys.executable, "-c", FULL_DISK, "record", *arguments, *rate, "--out", str(tmp_path / "out")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin is not None
    wait_for((tmp_path / "out").exists)
    with suppress(BrokenPipeError):
        for start in range(0, len(data), 4000):
            process.stdin.write(data[start : start + 4000])
            process.stdin.flush()
            time.sleep(0.05)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 1, errors
    assert b"make room" in errors and b"is kept" in errors and b"Traceback" not in errors and b"ignored" not in errors
    (path,) = (tmp_path / "out").iterdir()
    assert path.suffix == (".csv" if format == "csv" else ".wav")
    read = read_signal(path, table=TableFormat(sample_rate_hz=50.0) if format == "csv" else TableFormat()).samples[:, 0]
    kept = np.rint(read if format == "csv" else read * 32768)
    assert len(kept) > 500
    np.testing.assert_array_equal(kept, values[: len(kept)])


def test_a_file_that_grows_is_recorded_and_trained_on(tmp_path: Path) -> None:
    """Ctrl-C keeps everything; the values, the gap and the row without a value are as they were; training sees them."""
    log = tmp_path / "log.csv"
    log.write_text("t,x,y\n")
    recording = Recording(
        tmp_path, 'kind = "csv_tail"\npath = "log.csv"\ntime_column = "t"', "--rate", "20", "--channels", "y,x"
    )
    rows = noise(1200)
    wait_for(recording.out.exists)
    time.sleep(0.5)
    with log.open("a") as file:
        for number, (x, y) in enumerate(rows.tolist()):
            if number == 700:
                x = float("nan")
            if not 400 <= number < 500:
                file.write(f"{1.764e9 + number / 20:.2f},{x!r},{y!r}\n")
            if number % 100 == 0:
                file.flush()
                time.sleep(0.02)
    wait_for(lambda: recording.size() > 0)
    time.sleep(1.0)
    code, files, said = recording.end()
    assert code == 0, said
    assert files and all(path.suffix == ".csv" for path in files)
    assert "1 row(s) with values that are not finite" in said
    assert "of 1:00:00  y " in said
    (path,) = files
    assert path.read_text().startswith("time,y,x\n")
    (_, first), (second_seconds, second), (third_seconds, third) = pieces_of(path)
    # fill = "hold" goes on with the last row for the two rows that max_gap_seconds allows
    np.testing.assert_array_equal(first, rows[[*range(400), 399, 399], ::-1])
    np.testing.assert_array_equal(second, rows[500:700, ::-1])
    np.testing.assert_array_equal(third, rows[701 : 701 + len(third), ::-1])
    assert len(third) >= 498
    assert (second_seconds, third_seconds) == (pytest.approx(25.0), pytest.approx(35.05))

    train = [sys.executable, "-c", "from dasvdd_train.cli import main; main()", str(tmp_path / "out"), "--dry-run"]
    done = subprocess.run(
        [*train, "--set", "training.batch_rows=20"], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "sensor at 20 Hz, 2 channels" in done.stderr
    assert "2 gaps, 4.95 s without rows" in done.stderr


def test_rows_that_come_faster_than_they_are_recorded_wait_in_their_file(tmp_path: Path) -> None:
    """A writer that had gathered thirty times what the queue holds loses none of it to a slow disk."""
    log = tmp_path / "log.csv"
    log.write_text("x\n")
    source = 'kind = "csv_tail"\npath = "log.csv"'
    arguments = ["--rate", "100", "--channels", "x", "--minutes", "5"]
    recording = Recording(tmp_path, source, *arguments, program=SLOW_DISK)
    wait_for(recording.out.exists)
    time.sleep(0.5)
    with log.open("a") as file:
        file.write("".join(f"{number}\n" for number in range(30_000)))
    code, files, said = recording.end(None)
    assert code == 0 and "300.0 s in 1 file(s), 0 gap(s)" in said, said
    ((_, rows),) = pieces_of(files[0])
    np.testing.assert_array_equal(rows[:, 0], np.arange(30_000))


def test_messages_of_a_broker_are_recorded(tmp_path: Path, broker: Broker) -> None:
    """Rows by the times in their objects, one of which is missing too long; the asked length ends it."""
    import paho.mqtt.client as mqtt

    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    source = f'kind = "mqtt"\nhost = "127.0.0.1"\nport = {broker.port}\ntopics = ["site/fan"]\ntime_key = "t"'
    recording = Recording(tmp_path, source, "--rate", "10", "--channels", "motor.x,y", "--minutes", "0.2")
    rows = noise(300)
    # Nothing tells when the subscription stands; what is sent before is not heard.
    for number, (x, y) in enumerate(rows.tolist()):
        if recording.process.poll() is not None:
            break
        if number % 60 < 50:
            message = json.dumps({"t": 1.764e9 + number / 10, "motor": {"x": x}, "y": y})
            client.publish("site/fan", message, qos=1).wait_for_publish(10)
        time.sleep(0.02)
    client.disconnect()
    client.loop_stop()
    code, files, said = recording.end(None)
    assert code == 0, said
    pieces = pieces_of(files[0])
    assert read_header(files[0]) == "time,motor.x,y"
    assert len(pieces) >= 2
    # fill = "hold" goes on with a row for the two that max_gap_seconds allows, so each gap has 8 of its 10 rows.
    assert sum(len(piece) for _, piece in pieces) == 120 - 8 * (len(pieces) - 1)
    starts = [int(np.flatnonzero((rows == piece[0]).all(axis=1))[0]) for _, piece in pieces]
    for start, (_, piece) in zip(starts, pieces, strict=True):
        heard = min(len(piece), 50 - start % 60)
        np.testing.assert_array_equal(piece[:heard], rows[start : start + heard])
    assert pieces[1][0] == pytest.approx((starts[1] - starts[0]) / 10)


def read_header(path: Path) -> str:
    return path.read_text().splitlines()[0]


def test_a_model_that_is_there_says_rate_channels_and_units(tmp_path: Path, tiny_model: Any) -> None:
    """Rows of standard input go on by its names; the closing line hands its units to training."""
    tiny_model(kind="sensor", channels=2, sample_rate_hz=25.0)
    recording = Recording(tmp_path, 'kind = "stdin"\nformat = "csv"')
    metadata = tiny_model.metadata(kind="sensor", channels=2)
    assert recording.process.stdin is not None
    recording.process.stdin.write("".join(f"{i};{-i}\n" for i in range(100)))
    recording.process.stdin.close()
    recording.process.stdin = None
    code, files, said = recording.end(None)
    assert code == 0, said
    assert probe(files[0])[:2] == (25.0, 2)
    assert read_header(files[0]) == ",".join(["time", *metadata.channel_names])
    assert f"--rate 25 --units {','.join(metadata.units)}" in said


def test_a_program_that_writes_sound_is_recorded_as_sound(tmp_path: Path) -> None:
    """PCM of a command becomes WAV; of its channels only those that the source lists."""
    raw = np.arange(24_000, dtype="<i2").reshape(-1, 2)
    (tmp_path / "sound.raw").write_bytes(raw.tobytes())
    source = (
        'kind = "command"\nformat = "s16le"\nchannels = [1]\nargv = ["sh", "-c", "cat sound.raw; sleep 60"]'
    ).replace("sound.raw", str(tmp_path / "sound.raw"))
    recording = Recording(tmp_path, source, "--rate", "8000", "--minutes", "0.02")
    code, files, said = recording.end(None)
    assert code == 0, said
    assert soundfile.info(files[0]).samplerate == 8000
    np.testing.assert_array_equal(soundfile.read(files[0], dtype="int16")[0], raw[:9600, 1])


@pytest.mark.parametrize(
    ("source", "arguments", "code", "says"),
    [
        ('kind = "csv_tail"\npath = "no.csv"', ["--rate", "10", "--channels", "x"], 69, "no such file"),
        ('kind = "csv_tail"\npath = "no.csv"', ["--channels", "x"], 2, "--rate 50"),
        ('kind = "csv_tail"\npath = "no.csv"', ["--rate", "10"], 2, "--channels x,y,z"),
        ('kind = "csv_tail"\npath = "no.csv"', ["--rate", "10", "--channels", "3"], 2, "--channels x,y,z"),
        ('kind = "csv_tail"\npath = "no.csv"', ["--rate", "10", "--channels", "x,x"], 2, "'x' cannot be a column"),
        ('kind = "stdin"\nformat = "csv"', ["--rate", "10", "--channels", "x,y"], 65, "x, y?"),
    ],
)
def test_a_failure_leaves_no_folder(tmp_path: Path, source: str, arguments: list[str], code: int, says: str) -> None:
    """Nothing is made where nothing can be recorded, and the error says what is missing."""
    recording = Recording(tmp_path, source, *arguments)
    files, said = recording.process.communicate("nan,1\n", timeout=30)
    assert (recording.process.returncode, files) == (code, ""), said
    assert says in said
    assert not recording.out.exists()


MODBUS = {"kind": "modbus", "host": "h", "registers": [{"name": "I", "address": 0, "unit": "A"}]}


def test_a_device_that_names_its_channels_needs_only_a_rate() -> None:
    """Registers and nodes are the channels, with their units; a `poll_seconds` tells the rate to give."""
    wanted = choose(table(MODBUS), None, rate_hz=2.0, channels=None)
    assert (wanted.channel_names, wanted.units, wanted.sample_rate_hz) == (["I"], ["A"], 2.0)
    opcua = table({"kind": "opcua", "url": "opc.tcp://h:1", "nodes": {"a": "i=1", "b": "i=2"}})
    assert choose(opcua, None, rate_hz=2.0, channels=None).channel_names == ["a", "b"]
    with pytest.raises(click.UsageError, match=r"--rate 0\.5"):
        choose(table(MODBUS | {"poll_seconds": 2.0}), None, rate_hz=None, channels=None)


def test_channels_of_the_configuration_are_picked_and_may_be_renamed() -> None:
    """By name the source gives these alone, by number all up to the last; --channels says what they are called."""
    named = choose(table({"kind": "iio", "device": "d", "channels": ["accel_z"]}), None, rate_hz=10, channels="z")
    assert (named.source_names, named.places, named.channel_names) == (["accel_z"], [0], ["z"])
    numbered = choose(table({"kind": "stdin", "format": "csv", "channels": [2, 0]}), None, rate_hz=10, channels="a,b")
    assert (numbered.source_names, numbered.places) == (["column 1", "column 2", "column 3"], [2, 0])
    with pytest.raises(click.UsageError, match="numbers must be equal"):
        choose(table({"kind": "stdin", "format": "csv", "channels": [2, 0]}), None, rate_hz=10, channels="a")


def test_floats_of_a_pipe_are_rows_where_their_channels_have_names() -> None:
    """Else, or by a number of channels, they are sound; a model that is there decides."""
    floats = table({"kind": "stdin", "format": "f32le"})
    kinds = [choose(floats, None, rate_hz=8000, channels=channels).kind for channels in (None, "2", "x,y")]
    assert kinds == ["audio", "audio", "sensor"]


def test_sound_for_a_model_of_sensors_is_refused(tiny_model: Any) -> None:
    """Its rate and channels would mean nothing."""
    model = tiny_model.metadata(kind="sensor", channels=2)
    with pytest.raises(ConfigError, match="judges sensors"):
        choose(table({"kind": "microphone"}), model, rate_hz=None, channels=None)


def table(source: dict[str, Any]) -> Any:
    """The table of a source called fan."""
    config = {"model": {"path": "m"}, "source": [{"name": "fan"} | source]}
    return MonitorConfig.model_validate(config).sources[0]
