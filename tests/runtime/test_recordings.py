from __future__ import annotations

import struct
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr
from dasvdd_runtime.condition import levels
from dasvdd_runtime.errors import InputMissing
from dasvdd_runtime.reading.quality import Quality
from dasvdd_runtime.reading.recording_types import Kind
from dasvdd_runtime.recordings import (
    RecordingError,
    is_audio,
    is_table,
    open_pieces,
    probe,
    read_pieces,
    read_signal,
    resampled,
)
from numpy.typing import NDArray

RATE_HZ = 16_000


def noise(*, seconds: float = 0.5, channels: int = 1, sample_rate_hz: int = RATE_HZ) -> NDArray[np.float32]:
    shape = (round(seconds * sample_rate_hz), channels)
    return np.random.default_rng(7).uniform(-0.5, 0.5, shape).astype(np.float32)


def riff(*chunks: tuple[bytes, bytes], form: bytes = b"RIFF", data_bytes: int | None = None) -> bytes:
    """A WAV file of `chunks`; `data_bytes` is what its data chunk claims, if not the truth."""
    body = b"WAVE"
    for name, content in chunks:
        size = data_bytes if name == b"data" and data_bytes is not None else len(content)
        body += name + struct.pack("<I", size) + content + b"\0" * (len(content) % 2)
    return form + struct.pack("<I", len(body)) + body


def pcm16_format(*, channels: int = 1) -> tuple[bytes, bytes]:
    return b"fmt ", struct.pack("<HHIIHH", 1, channels, RATE_HZ, 2 * channels * RATE_HZ, 2 * channels, 16)


def reason_of(path: Path, **how: Any) -> str:
    with pytest.raises(RecordingError) as caught:
        read_signal(path, **how)
    assert str(caught.value) == f"{path}: {caught.value.reason}"
    return caught.value.reason


class TestAudio:
    @pytest.mark.parametrize(
        ("suffix", "subtype", "step"),
        [
            (".wav", "PCM_16", 2**-15),
            (".wav", "PCM_24", 2**-23),
            (".wav", "FLOAT", 0.0),
            (".wav", "PCM_U8", 2**-7),
            (".flac", "PCM_24", 2**-23),
        ],
    )
    def test_samples_keep_full_scale_one(self, tmp_path: Path, suffix: str, subtype: str, step: float) -> None:
        """Samples come back with full scale 1.0 to within one quantisation step of what was written."""
        samples = noise(channels=2)
        path = tmp_path / f"x{suffix}"
        soundfile.write(path, samples, RATE_HZ, subtype=subtype)
        signal = read_signal(path)
        assert signal.samples.dtype == np.float32
        assert signal.samples.shape == samples.shape
        assert signal.sample_rate_hz == RATE_HZ
        assert signal.channel_names == ("channel 0", "channel 1")
        assert np.abs(signal.samples - samples).max() <= step

    def test_a_file_of_the_standard_library_is_read(self, tmp_path: Path) -> None:
        """16-bit integers written by the wave module are divided by 32768."""
        path = tmp_path / "x.WAV"
        with wave.open(str(path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(8000)
            file.writeframes(struct.pack("<4h", 0, 16384, -32768, 32767))
        signal = read_signal(path)
        assert signal.samples[:, 0].tolist() == [0.0, 0.5, -1.0, 32767 / 32768]
        assert probe(path) == (8000.0, 1, 4 / 8000)

    def test_extra_and_odd_chunks_are_passed_over(self, tmp_path: Path) -> None:
        """Chunks of odd length, with their padding byte, before and after the audio data change nothing."""
        path = tmp_path / "x.wav"
        data = struct.pack("<3h", 100, 200, 300)
        path.write_bytes(
            riff((b"LIST", b"INFOx"), pcm16_format(), (b"bext", b"abc"), (b"data", data), (b"LIST", b"INFO"))
        )
        assert (read_signal(path).samples[:, 0] * 32768).tolist() == [100, 200, 300]

    @pytest.mark.parametrize("file_format", ["WAVEX", "RF64"])
    def test_eight_channels_with_an_extensible_header(self, tmp_path: Path, file_format: str) -> None:
        """Files of a measurement card with eight channels are read."""
        path = tmp_path / "x.wav"
        samples = noise(channels=8)
        soundfile.write(path, samples, 48_000, subtype="FLOAT", format=file_format)
        signal = read_signal(path)
        np.testing.assert_array_equal(signal.samples, samples)
        assert probe(path) == (48_000.0, 8, len(samples) / 48_000)

    def test_a_part_is_cut_to_the_sample(self, tmp_path: Path) -> None:
        """A part in seconds is the slice of samples that those seconds mean."""
        path = tmp_path / "x.flac"
        samples = noise(seconds=1.0)
        soundfile.write(path, samples, RATE_HZ, subtype="PCM_24")
        part = read_signal(path, start_seconds=0.25, end_seconds=0.75).samples
        np.testing.assert_array_equal(part, read_signal(path).samples[4000:12000])
        assert len(read_signal(path, start_seconds=0.9).samples) == 1600

    @pytest.mark.parametrize(("start", "end"), [(0.4, 0.6), (0.5, None), (2.0, 3.0)])
    def test_a_part_outside_the_file_is_refused(self, tmp_path: Path, start: float, end: float | None) -> None:
        """A part that the file does not hold is an error with the file's length."""
        path = tmp_path / "x.wav"
        soundfile.write(path, noise(seconds=0.5), RATE_HZ)
        assert reason_of(path, start_seconds=start, end_seconds=end).endswith(
            "lies outside the file, which holds 0.500 s"
        )

    @pytest.mark.parametrize(("start", "end"), [(0.3, 0.2), (-0.1, 0.2), (0.1, 0.1), (float("nan"), None)])
    def test_an_empty_or_negative_part_is_refused(self, tmp_path: Path, start: float, end: float | None) -> None:
        """A part without samples is an error, not an empty signal."""
        path = tmp_path / "x.wav"
        soundfile.write(path, noise(), RATE_HZ)
        assert "empty or negative" in reason_of(path, start_seconds=start, end_seconds=end)

    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    def test_a_sample_that_is_not_finite_is_located(self, tmp_path: Path, bad: float) -> None:
        """A NaN or infinity names its channel and time; a part without it can be read."""
        path = tmp_path / "x.wav"
        samples = noise(channels=2)
        samples[4000, 1] = bad
        soundfile.write(path, samples, RATE_HZ, subtype="FLOAT")
        assert reason_of(path) == f"non-finite: channel 1 is {bad} at 0.250 s"
        assert len(read_signal(path, end_seconds=0.25).samples) == 4000

    def test_missing_folder_and_unknown_kind(self, tmp_path: Path) -> None:
        """What is not there is InputMissing; a folder and a strange suffix are named as such."""
        with pytest.raises(InputMissing, match="no such file"):
            read_signal(tmp_path / "none.wav")
        (tmp_path / "folder.wav").mkdir()
        assert "folder" in reason_of(tmp_path / "folder.wav")
        (tmp_path / "x.mp3").write_bytes(b"ID3")
        kinds = ".wav, .flac, .ogg, .csv, .npy, .npz, .parquet"
        assert reason_of(tmp_path / "x.mp3") == f"unknown kind of file '.mp3'; {kinds} can be read"

    def test_suffixes_in_either_case(self) -> None:
        """Kinds of file are told by suffix, in upper or lower case."""
        assert is_audio("a/b.FLAC")
        assert is_audio(Path("x.ogg"))
        assert is_table("x.CSV")
        assert not is_audio("x.csv")
        assert not is_table("wav")


class TestDamagedAudio:
    def test_a_cut_wav_says_both_lengths(self, tmp_path: Path) -> None:
        """A WAV that lost its end names what its header promises and what is left."""
        path = tmp_path / "x.wav"
        soundfile.write(path, noise(seconds=10.0), RATE_HZ)
        path.write_bytes(path.read_bytes()[: 44 + 32_000 * 32 // 10])
        expected = "truncated: the header promises 10.00 s, the file holds 3.20 s (217600 bytes are missing)"
        assert reason_of(path) == expected
        with pytest.raises(RecordingError, match="truncated"):
            probe(path)
        with pytest.raises(RecordingError, match="truncated"):
            next(read_pieces(path, block_seconds=0.1, sample_rate_hz=RATE_HZ)[0].blocks)

    @pytest.mark.parametrize(
        ("suffix", "how"),
        [
            (".wav", {"subtype": "PCM_16"}),
            (".wav", {"subtype": "FLOAT", "format": "WAVEX"}),
            (".wav", {"subtype": "PCM_24", "format": "RF64"}),
            (".wav", {"subtype": "IMA_ADPCM"}),
            (".flac", {}),
        ],
        ids=["wav", "extensible", "rf64", "adpcm", "flac"],
    )
    def test_cut_anywhere_is_an_error(self, tmp_path: Path, suffix: str, how: dict[str, str]) -> None:
        """Cut at any of many lengths, down to one missing byte, WAV and FLAC give a RecordingError and nothing else."""
        path = tmp_path / f"x{suffix}"
        samples = noise(seconds=0.3)
        soundfile.write(path, samples, RATE_HZ, **how)
        whole = path.read_bytes()
        assert len(read_signal(path).samples) >= len(samples)
        lengths = {*range(130), *np.linspace(130, len(whole) - 1, 60).astype(int).tolist()}
        for length in sorted(lengths):
            path.write_bytes(whole[:length])
            assert reason_of(path).startswith(("truncated", "empty", "unreadable")), length

    def test_a_cut_flac_says_how_much_is_left(self, tmp_path: Path) -> None:
        """Half a FLAC is named as truncated, with a plausible length for the rest."""
        path = tmp_path / "x.flac"
        soundfile.write(path, noise(seconds=4.0), RATE_HZ)
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        reason = reason_of(path)
        assert reason.startswith("truncated: the header promises 4.00 s, the file holds ")
        assert 1.0 < float(reason.split()[-2]) < 2.1

    def test_a_cut_ogg_is_shorter_or_an_error(self, tmp_path: Path) -> None:
        """OGG does not state its length at the start: a cut file gives fewer samples or a RecordingError, never all."""
        path = tmp_path / "x.ogg"
        soundfile.write(path, noise(seconds=2.0), RATE_HZ)
        whole = path.read_bytes()
        all_samples = read_signal(path).samples
        lengths = []
        for length in np.linspace(0, len(whole) - 1, 120).astype(int):
            path.write_bytes(whole[:length])
            try:
                samples = read_signal(path).samples
            except RecordingError:
                continue
            lengths.append(len(samples))
            np.testing.assert_allclose(samples, all_samples[: len(samples)], atol=1e-6)
        assert lengths
        assert max(lengths) < len(all_samples)

    def test_random_damage_never_escapes_as_another_error(self, tmp_path: Path) -> None:
        """Bytes overwritten at random give samples or a RecordingError."""
        random = np.random.default_rng(3)
        read = refused = 0
        for suffix in (".wav", ".flac", ".ogg"):
            path = tmp_path / f"x{suffix}"
            soundfile.write(path, noise(seconds=0.2), RATE_HZ)
            whole = np.frombuffer(path.read_bytes(), np.uint8)
            for _ in range(100):
                damaged = whole.copy()
                where = random.integers(0, min(len(whole), random.choice([60, len(whole)])), 4)
                damaged[where] = random.integers(0, 256, 4)
                path.write_bytes(damaged.tobytes())
                try:
                    read += len(read_signal(path).samples) > 0
                except RecordingError:
                    refused += 1
        assert read + refused == 300
        assert min(read, refused) > 10

    @pytest.mark.parametrize("data_bytes", [0, 0xFFFFFFFF, 0x7FFFF000, 0x80000000])
    def test_a_size_that_was_never_filled_in_is_no_truncation(self, tmp_path: Path, data_bytes: int) -> None:
        """A program that wrote to a pipe could not fill in the size: all samples that are there are read."""
        data = noise()[:, 0]
        path = tmp_path / "x.wav"
        content = riff(pcm16_format(), (b"data", (data * 32767).astype("<i2").tobytes()), data_bytes=data_bytes)
        path.write_bytes(content[:4] + b"\xff\xff\xff\xff" + content[8:])
        samples = read_signal(path).samples[:, 0]
        assert len(samples) == len(data)
        assert np.abs(samples - data).max() < 2**-14
        assert probe(path) == (RATE_HZ, 1, 0.5)

    @pytest.mark.parametrize(
        "content",
        [b"", riff(pcm16_format(), (b"data", b"")), riff(pcm16_format(), (b"data", b""), (b"LIST", b"INFOabcd"))],
        ids=["no bytes", "no samples", "no samples but a list"],
    )
    def test_empty_files(self, tmp_path: Path, content: bytes) -> None:
        """A file without samples is called empty, not unreadable."""
        path = tmp_path / "x.wav"
        path.write_bytes(content)
        assert reason_of(path).startswith("empty")

    def test_something_else_named_wav(self, tmp_path: Path) -> None:
        """Text in a file called .wav is unreadable."""
        path = tmp_path / "x.wav"
        path.write_text("not audio at all, but long enough to be looked at\n" * 10)
        assert reason_of(path) == "unreadable: it does not begin like a WAV file"

    def test_a_flac_without_a_length_is_refused(self, tmp_path: Path) -> None:
        """A FLAC whose header leaves its length open would hide a missing end: it says what to do."""
        path = tmp_path / "x.flac"
        soundfile.write(path, noise(), RATE_HZ)
        content = bytearray(path.read_bytes())
        content[21] &= 0xF0  # the 36-bit number of samples in STREAMINFO
        content[22:26] = bytes(4)
        path.write_bytes(content)
        assert "does not say how long" in reason_of(path)


class TestResampling:
    def test_equal_rates_return_the_same_object(self, tmp_path: Path) -> None:
        """Nothing is copied where nothing changes."""
        soundfile.write(tmp_path / "x.wav", noise(), RATE_HZ)
        (piece,) = open_pieces(tmp_path / "x.wav")
        assert piece.at_rate(RATE_HZ) is piece

    @pytest.mark.parametrize("from_hz", [44_100, 48_000, 8_000, 25_600])
    def test_a_tone_keeps_its_frequency_and_amplitude(self, from_hz: int) -> None:
        """A 1 kHz sine resampled to 16 kHz equals the sine computed at 16 kHz, away from the ends."""
        tone = np.sin(2 * np.pi * 1000 * np.arange(from_hz) / from_hz)[:, None].astype(np.float32)
        found = np.concatenate(list(resampled([tone], from_hz, 16_000, 1)))
        expected = np.sin(2 * np.pi * 1000 * np.arange(16_000) / 16_000)
        assert len(found) == 16_000
        assert np.abs(found[1000:-1000, 0] - expected[1000:-1000]).max() < 1e-4

    def test_a_tone_above_half_the_new_rate_vanishes(self) -> None:
        """12 kHz does not fold down to 4 kHz at 16 kHz: at least 90 dB are taken off."""
        tone = np.sin(2 * np.pi * 12_000 * np.arange(48_000) / 48_000)[:, None].astype(np.float32)
        found = np.concatenate(list(resampled([tone], 48_000, 16_000, 1)))
        assert levels.level_dbfs(found[1000:-1000]) < -90

    @pytest.mark.parametrize("file_rate_hz", [16_000, 44_100, 8_000])
    @pytest.mark.parametrize("block_seconds", [0.003, 0.1, 0.37, 60.0])
    def test_blocks_in_a_row_equal_the_whole(self, tmp_path: Path, file_rate_hz: int, block_seconds: float) -> None:
        """Blocks of any length, with or without resampling, add up to the whole file resampled at once."""
        path = tmp_path / "x.wav"
        soundfile.write(path, noise(seconds=0.613, channels=2, sample_rate_hz=file_rate_hz), file_rate_hz)
        blocks = list(read_pieces(path, block_seconds=block_seconds, sample_rate_hz=16_000)[0].blocks)
        expected = soxr.resample(read_signal(path).samples, file_rate_hz, 16_000, quality="HQ")
        assert all(len(block) for block in blocks)
        np.testing.assert_allclose(np.concatenate(blocks), expected, atol=1e-6)

    def test_blocks_have_the_length_asked_for(self, tmp_path: Path) -> None:
        """At the file's own rate all blocks but the last are exactly as long as asked."""
        path = tmp_path / "x.wav"
        soundfile.write(path, noise(seconds=0.25), RATE_HZ)
        blocks = read_pieces(path, block_seconds=0.1, sample_rate_hz=RATE_HZ)[0].blocks
        assert [len(block) for block in blocks] == [1600, 1600, 800]

    def test_blocks_of_no_length_are_refused(self, tmp_path: Path) -> None:
        """block_seconds = 0 would never end."""
        path = tmp_path / "x.wav"
        soundfile.write(path, noise(), RATE_HZ)
        with pytest.raises(ValueError, match="block_seconds = 0"):
            read_pieces(path, block_seconds=0, sample_rate_hz=RATE_HZ)


class TestQuality:
    def fault(self, samples: NDArray[np.float32], kind: Kind = "audio") -> str | None:
        quality = Quality(kind, tuple(f"channel {i}" for i in range(samples.shape[1])))
        quality.add(samples)
        return quality.fault()

    def test_a_good_recording_has_no_fault(self) -> None:
        """Quiet noise at -60 dBFS and a full-scale peak or two are no fault."""
        quiet = noise() * np.float32(0.003)
        peaks = noise()
        peaks[:3] = 1.0
        assert self.fault(quiet) is None
        assert self.fault(peaks) is None

    @pytest.mark.parametrize("offset", [0.0, 0.25])
    def test_zeros_are_silent(self, offset: float) -> None:
        """Digital silence is a fault, with or without a constant offset."""
        reason = self.fault(np.full((1000, 2), offset, np.float32))
        assert reason is not None
        assert reason.startswith("silent: level of channel 0 -inf dBFS")

    def test_one_channel_of_two_at_full_scale_is_clipped(self) -> None:
        """Clipping in one channel is found, measured and named."""
        samples = noise(channels=2)
        samples[:248, 1] = 1.0
        reason = self.fault(samples)
        assert reason is not None
        assert reason.startswith("clipped: 3.1 % of the samples of channel 1")

    def test_a_square_wave_of_an_overdriven_microphone_is_clipped(self) -> None:
        """A sine 20 dB above full scale, as a 16-bit converter stores it, is clipped."""
        overdriven = np.clip(10 * np.sin(np.arange(16_000) * 0.1), -1, 32767 / 32768)[:, None].astype(np.float32)
        assert str(self.fault(overdriven)).startswith("clipped")

    def test_sensors_have_no_full_scale(self) -> None:
        """A sensor may read above 1.0; it is faulty only where no channel changes."""
        samples = 300 * noise(channels=3)
        assert self.fault(samples, "sensor") is None
        samples[:, 0] = 5.0
        assert self.fault(samples, "sensor") is None
        samples[:] = samples[0]
        assert str(self.fault(samples, "sensor")).startswith("silent: no channel ever changes")
