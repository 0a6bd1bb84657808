"""`dasvdd-monitor record` of files that grow, messages, pipes and programs."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from dasvdd_runtime.recordings import TableFormat, probe, read_signal
from mosquitto_broker import Broker
from recording_rows import Recording, header_of, pieces_of, some_rows, wait_for

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


def test_a_file_that_grows_is_recorded_and_trained_on(tmp_path: Path) -> None:
    """Ctrl-C keeps everything; the values, the gap and the row without a value are as they were; training sees them."""
    log = tmp_path / "log.csv"
    log.write_text("t,x,y\n")
    recording = Recording(
        tmp_path, 'kind = "csv_tail"\npath = "log.csv"\ntime_column = "t"', "--rate", "20", "--channels", "y,x"
    )
    rows = some_rows(1200)
    wait_for(lambda: recording.reads(log))
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
    wait_for(lambda: recording.reads(log))
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
    rows = some_rows(3000)
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
    assert header_of(files[0]) == "time,motor.x,y"
    assert len(pieces) >= 2
    starts = [int(np.flatnonzero((rows == piece[0]).all(axis=1))[0]) for _, piece in pieces]
    # fill = "hold" goes on with a row for the two that max_gap_seconds allows; the end may lie in a gap.
    assert sum(len(piece) for _, piece in pieces) == sum(i % 60 < 52 for i in range(starts[0], starts[0] + 120))
    for start, (_, piece) in zip(starts, pieces, strict=True):
        heard = min(len(piece), 50 - start % 60)
        np.testing.assert_array_equal(piece[:heard], rows[start : start + heard])
    assert pieces[1][0] == pytest.approx((starts[1] - starts[0]) / 10)


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
    assert header_of(files[0]) == ",".join(["time", *metadata.channel_names])
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
