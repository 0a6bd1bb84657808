"""`dasvdd-monitor record`, without a microphone."""

from __future__ import annotations

import os
import re
import signal
import struct
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import soundfile
from dasvdd_runtime.errors import DasvddError
from dasvdd_runtime.recorders import wav
from dasvdd_runtime.recorders.base import Gap
from dasvdd_runtime.recorders.wav import WavRecorder
from numpy.typing import NDArray

RATE_HZ = 8000
RECORD = [sys.executable, "-c", "from dasvdd_runtime.cli import main; main()", "record"]


def pcm_noise(samples: int, channels: int = 1) -> NDArray[np.int16]:
    return np.random.default_rng(5).integers(-20000, 20000, (samples, channels), dtype=np.int16)


def recorder(folder: Path, *, channels: int = 1, file_seconds: float = 600.0) -> WavRecorder:
    """A recorder whose clock ticks a second whenever it is asked."""
    seconds = iter(range(1, 1000))
    return WavRecorder(
        folder,
        name="pump7",
        sample_rate_hz=RATE_HZ,
        channels=channels,
        file_seconds=file_seconds,
        now=lambda: datetime.fromtimestamp(next(seconds), UTC),
    )


def read(paths: list[Path]) -> NDArray[np.int16]:
    return np.concatenate([soundfile.read(path, dtype="int16", always_2d=True)[0] for path in paths])


def test_recordings_are_bit_exact_and_split(tmp_path: Path) -> None:
    """16-bit samples come back bit by bit, over files of the asked length, with nothing lost between them."""
    pcm = pcm_noise(3 * RATE_HZ + 17, channels=2)
    tape = recorder(tmp_path, channels=2, file_seconds=1.0)
    for block in np.array_split(pcm.astype(np.float32) / 32768, 11):
        tape.write(block)
    tape.close()
    assert [soundfile.info(path).frames for path in tape.files] == [RATE_HZ, RATE_HZ, RATE_HZ, 17]
    assert soundfile.info(tape.files[0]).subtype == "PCM_16"
    assert soundfile.info(tape.files[0]).samplerate == RATE_HZ
    np.testing.assert_array_equal(read(tape.files), pcm)


def test_a_file_ends_before_it_is_too_long_for_wav(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The header's length has 32 bits; the recording goes on in another file, and nothing is lost between them."""
    assert struct.pack("<L", 36 + wav.MOST_DATA_BYTES) == b"\xff" * 4
    monkeypatch.setattr(wav, "MOST_DATA_BYTES", 4001)
    pcm = pcm_noise(2500, channels=2)
    tape = recorder(tmp_path, channels=2)
    tape.write(pcm.astype(np.float32) / 32768)
    tape.close()
    assert [soundfile.info(path).frames for path in tape.files] == [1000, 1000, 500]
    np.testing.assert_array_equal(read(tape.files), pcm)


def test_files_are_named_by_their_start(tmp_path: Path) -> None:
    """The name carries the UTC time of the first sample: that of its arrival less the block's length."""
    tape = recorder(tmp_path)
    tape.write(np.zeros((RATE_HZ // 4, 1), np.float32))
    tape.close()
    assert [path.name for path in tape.files] == ["pump7-19700101T000000.750Z.wav"]


def test_a_gap_begins_a_new_file(tmp_path: Path) -> None:
    """No file spans a gap, and the gap is kept with its time and length."""
    tape = recorder(tmp_path)
    tape.write(np.zeros((2 * RATE_HZ, 1), np.float32))
    tape.gap(RATE_HZ // 2)
    tape.write(np.zeros((RATE_HZ, 1), np.float32))
    tape.close()
    assert tape.gaps == [Gap(start_seconds=2.0, lost_seconds=0.5)]
    assert [soundfile.info(path).frames for path in tape.files] == [2 * RATE_HZ, RATE_HZ]
    assert tape.stream_seconds == 3.5


def test_a_file_has_its_name_only_when_it_is_whole(tmp_path: Path) -> None:
    """While it grows it ends in .partial, which a crash leaves readable up to the last block."""
    tape = recorder(tmp_path)
    tape.write(np.full((RATE_HZ, 1), 0.5, np.float32))
    (partial,) = tmp_path.iterdir()
    assert partial.suffix == ".partial"
    with partial.open("rb") as file:
        samples, _ = soundfile.read(file, dtype="int16")
    assert len(samples) == RATE_HZ
    tape.close()
    assert [path.suffix for path in tmp_path.iterdir()] == [".wav"]


def test_values_beyond_full_scale_are_clipped_and_nan_is_zero(tmp_path: Path) -> None:
    """No value wraps around to the other sign."""
    tape = recorder(tmp_path)
    tape.write(np.array([[1.0], [2.0], [-1.0], [-2.0], [np.nan], [np.inf], [-np.inf]], np.float32))
    tape.close()
    np.testing.assert_array_equal(read(tape.files)[:, 0], [32767, 32767, -32768, -32768, 0, 32767, -32768])


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """The error says which folder and what to change."""
    (tmp_path / "file").write_text("")
    with pytest.raises(DasvddError, match="--out"):
        recorder(tmp_path / "file" / "folder")


def test_record_from_standard_input(tmp_path: Path) -> None:
    """The program writes the asked length to the bit, prints the paths, and says that there was no gap."""
    pcm = pcm_noise(3 * RATE_HZ)
    process = subprocess.run(
        [
            *RECORD,
            "--source",
            "stdin",
            "--rate",
            str(RATE_HZ),
            "--minutes",
            "0.04",
            "--out",
            str(tmp_path),
            "--name",
            "a b",
        ],
        input=pcm.tobytes(),
        capture_output=True,
        timeout=30,
        check=True,
    )
    paths = [Path(line) for line in process.stdout.decode().splitlines()]
    assert [path.parent for path in paths] == [tmp_path]
    assert re.fullmatch(r"a_b-\d{8}T\d{6}\.\d{3}Z\.wav", paths[0].name)
    np.testing.assert_array_equal(read(paths), pcm[: round(2.4 * RATE_HZ)])
    assert b"0 gap(s)" in process.stderr
    assert b"dBFS" in process.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_early_and_keeps_everything(tmp_path: Path, number: int) -> None:
    """Ctrl-C keeps what was heard so far, in a file with its final name, and exits with 0."""
    pcm = pcm_noise(RATE_HZ)
    process = subprocess.Popen(
        [*RECORD, "--source", "stdin", "--rate", str(RATE_HZ), "--out", str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin is not None
    process.stdin.write(pcm.tobytes())
    process.stdin.flush()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and not any(path.stat().st_size > 8000 for path in tmp_path.iterdir()):
        time.sleep(0.05)
    time.sleep(0.3)
    process.send_signal(number)
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    np.testing.assert_array_equal(read([Path(os.fsdecode(out.strip()))]), pcm)


def test_nothing_recorded_is_an_error(tmp_path: Path) -> None:
    """An empty input does not look like a success."""
    process = subprocess.run(
        [*RECORD, "--source", "stdin", "--out", str(tmp_path)], input=b"", capture_output=True, timeout=30, check=False
    )
    assert process.returncode == 65
    assert b"nothing was recorded" in process.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "code", "says"), [("replay", 78, b"a recording already"), ("pum", 78, b"'pump7'"), ("rows", 2, b"x,y,z")]
)
def test_a_source_of_a_configuration_is_chosen_by_name(tmp_path: Path, name: str, code: int, says: bytes) -> None:
    """A replay, a name that does not exist and rows without names are refused with what to do; no folder is left."""
    (tmp_path / "monitor.toml").write_text(
        '[model]\npath = "m"\n[[source]]\nname = "rows"\nkind = "stdin"\nformat = "csv"\n'
        '[[source]]\nname = "pump7"\nkind = "microphone"\n'
        '[[source]]\nname = "replay"\nkind = "file"\npath = "x.wav"\n'
    )
    process = subprocess.run(
        [*RECORD, "--config", str(tmp_path / "monitor.toml"), "--name", name, "--out", str(tmp_path / "out")],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert process.returncode == code
    assert says in process.stderr
    assert not (tmp_path / "out").exists()
