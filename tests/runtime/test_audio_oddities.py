"""Audio files as recorders, copies and renames leave them: read to the last sample, or refused with the reason."""

from __future__ import annotations

import struct
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest
import soundfile
from dasvdd_runtime.reading.quality import Quality
from dasvdd_runtime.recordings import RecordingError, read_signal
from numpy.typing import NDArray
from scipy.io import wavfile

RATE_HZ = 16_000


def noise(channels: int = 2) -> NDArray[np.float32]:
    return np.random.default_rng(3).uniform(-0.5, 0.5, (4000, channels)).astype(np.float32)


def reason_of(path: Path) -> str:
    with pytest.raises(RecordingError) as caught:
        read_signal(path)
    return caught.value.reason


def written(path: Path, file_format: str, subtype: str) -> bytes:
    soundfile.write(path, noise(), RATE_HZ, format=file_format, subtype=subtype)
    return path.read_bytes()


@pytest.mark.parametrize(
    ("dtype", "scale", "offset"),
    [(np.uint8, 128, 128), (np.int16, 2**15, 0), (np.int32, 2**31, 0), (np.float32, 1, 0), (np.float64, 1, 0)],
)
def test_what_scipy_wrote_comes_back(tmp_path: Path, dtype: type, scale: int, offset: int) -> None:
    """Eight channels of each sample type that scipy writes have full scale 1.0, to float32's precision."""
    values = (noise(8).astype(np.float64) * scale + offset).astype(dtype)
    wavfile.write(tmp_path / "x.wav", RATE_HZ, values)
    expected = (values.astype(np.float64) - offset) / scale
    np.testing.assert_allclose(read_signal(tmp_path / "x.wav").samples, expected, rtol=0, atol=2**-24)


@pytest.mark.parametrize(("size", "reason"), [(10**6, "truncated"), (0, "empty")])
def test_a_data_length_that_is_wrong_is_refused(tmp_path: Path, size: int, reason: str) -> None:
    """A data chunk that claims more than the file holds, or nothing in a finished file, is an error."""
    raw = bytearray(written(tmp_path / "x.wav", "WAV", "PCM_16"))
    at = raw.index(b"data") + 4
    raw[at : at + 4] = struct.pack("<I", size)
    (tmp_path / "x.wav").write_bytes(raw)
    assert reason_of(tmp_path / "x.wav").startswith(reason)


def test_floats_beyond_full_scale_are_kept_and_named(tmp_path: Path) -> None:
    """Float samples above 1.0 are not clipped in silence: they come back as they are, and the fault says so."""
    loud = 5 * noise()
    soundfile.write(tmp_path / "x.wav", loud, RATE_HZ, subtype="FLOAT")
    signal = read_signal(tmp_path / "x.wav")
    np.testing.assert_array_equal(signal.samples, loud)
    quality = Quality("audio", signal.channel_names)
    quality.add(signal.samples)
    assert (quality.fault() or "").startswith("clipped")


@pytest.mark.parametrize("called", [".wav", ".flac", ".ogg"])
@pytest.mark.parametrize(
    ("file_format", "subtype"),
    [("WAV", "PCM_16"), ("WAVEX", "PCM_24"), ("RF64", "FLOAT"), ("W64", "PCM_16"), ("AIFF", "PCM_16"),
     ("FLAC", "PCM_16"), ("OGG", "VORBIS")],
)  # fmt: skip
def test_a_cut_file_is_refused_whatever_it_is_called(
    tmp_path: Path, file_format: str, subtype: str, called: str
) -> None:
    """A file cut at any of 40 lengths is an error, also under the suffix of another format."""
    path = tmp_path / f"x{called}"
    raw = written(path, file_format, subtype)
    for length in [*range(0, len(raw), len(raw) // 40), len(raw) - 1]:
        path.write_bytes(raw[:length])
        assert reason_of(path).startswith(("truncated", "unreadable", "empty: the file has no")), length


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg"])
@pytest.mark.parametrize("content", [b"", b"time,x\n0,1\n" * 99])
def test_text_and_nothing_are_no_audio(tmp_path: Path, suffix: str, content: bytes) -> None:
    """An empty file and a table that is called audio are refused."""
    (tmp_path / f"x{suffix}").write_bytes(content)
    assert reason_of(tmp_path / f"x{suffix}").startswith(("empty", "unreadable"))


@pytest.mark.slow
def test_a_gigabyte_is_read_in_bounded_memory(tmp_path: Path) -> None:
    """A WAV of 1 GB, written by the standard library as a sparse file, is read to its end with less than 150 MB."""
    frames = 500_000_000
    path = tmp_path / "long.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.setnframes(frames)
        file.writeframesraw(b"")
    header = path.read_bytes()
    assert struct.unpack("<I", header[40:44]) == (0,), "the standard library mends the header on closing"
    with path.open("wb") as sparse:
        sparse.write(header[:4] + struct.pack("<I", 36 + 2 * frames) + header[8:40] + struct.pack("<I", 2 * frames))
        sparse.truncate(44 + 2 * frames)
    reading = (
        "import pathlib, re, sys\n"
        "from dasvdd_runtime.recordings import open_pieces\n"
        "print(sum(len(block) for block in open_pieces(sys.argv[1])[0].blocks))\n"
        # Not ru_maxrss: that one starts at what the parent had when it forked.
        "print(re.search(r'VmHWM:\\s*(\\d+) kB', pathlib.Path('/proc/self/status').read_text())[1])\n"
    )
    child = subprocess.run([sys.executable, "-c", reading, str(path)], capture_output=True, text=True, timeout=120)
    assert child.returncode == 0, child.stderr
    read_frames, peak_kib = map(int, child.stdout.split())
    assert read_frames == frames
    assert peak_kib < 150 * 1024
