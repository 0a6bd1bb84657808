"""Recordings and tables that are replayed as a source."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from dasvdd_runtime.errors import DataError
from dasvdd_runtime.sources.base import Source
from dasvdd_runtime.sources.file import FileSource
from numpy.typing import NDArray

RATE_HZ = 16000.0


def read_all(source: Source) -> NDArray[np.float32]:
    """All samples of a source that ends."""
    source.open()
    blocks = []
    while (block := source.read()) is not None:
        blocks.append(block.samples)
    source.close()
    return np.concatenate(blocks)


def noise(samples: int, channels: int = 1) -> NDArray[np.float32]:
    random = np.random.default_rng(3)
    return random.uniform(-0.5, 0.5, (samples, channels)).astype(np.float32)


def test_a_file_is_replayed_sample_by_sample(tmp_path: Path) -> None:
    """Nothing is lost, added or changed at the model's own rate."""
    samples = noise(40_001)
    soundfile.write(tmp_path / "a.wav", samples, 16000, subtype="FLOAT")
    source = FileSource(tmp_path / "a.wav", sample_rate_hz=RATE_HZ, channel_names=["channel 0"])
    np.testing.assert_array_equal(read_all(source), samples)


def test_a_replay_says_that_it_is_resampled(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """At half the model's rate half of the spectrum is missing: that is no fault of the machine."""
    soundfile.write(tmp_path / "a.wav", noise(8000), 8000)
    source = FileSource(tmp_path / "a.wav", sample_rate_hz=RATE_HZ, channel_names=["channel 0"])
    assert len(read_all(source)) == 16000
    assert "resampled from 8000 Hz to the model's 16000 Hz: nothing above 4000 Hz is in it" in caplog.text


def test_real_time_takes_as_long_as_the_recording(tmp_path: Path) -> None:
    """Half a second of sound takes half a second to replay, and the last sample does not come early."""
    soundfile.write(tmp_path / "a.wav", noise(8000), 16000)
    source = FileSource(tmp_path / "a.wav", sample_rate_hz=RATE_HZ, channel_names=["channel 0"], real_time=True)
    begin = time.monotonic()
    assert len(read_all(source)) == 8000
    assert 0.5 <= time.monotonic() - begin < 2.0


def test_a_replay_in_real_time_waits_in_short_turns(tmp_path: Path) -> None:
    """Through a gap of rows it says again and again that nothing came, so that a stop need not wait for its end."""
    times = [0.0, 0.1, 0.2, 0.3, 1.4, 1.5, 1.6]
    (tmp_path / "a.csv").write_text("time,x\n" + "".join(f"{at},{at}\n" for at in times))
    source = FileSource(tmp_path / "a.csv", sample_rate_hz=10.0, channel_names=["x"], real_time=True)
    source.open()
    begin = turn = time.monotonic()
    longest_seconds, rows, lost = 0.0, 0, 0
    while (block := source.read()) is not None:
        turn, before = time.monotonic(), turn
        longest_seconds = max(longest_seconds, turn - before)
        rows, lost = rows + len(block.samples), lost + (block.lost or 0)
    assert (rows, lost) == (7, 10)
    assert time.monotonic() - begin >= 1.7
    assert longest_seconds < 0.8


def test_a_file_with_other_channels_is_refused(tmp_path: Path) -> None:
    """Stereo for a mono model is an error with both numbers, not a guess."""
    soundfile.write(tmp_path / "a.wav", noise(8000, 2), 16000)
    source = FileSource(tmp_path / "a.wav", sample_rate_hz=RATE_HZ, channel_names=["channel 0"])
    with pytest.raises(DataError, match="2 channels, but the model takes 1"):
        read_all(source)


@pytest.mark.parametrize(("header", "channel_names"), [("time,y,x\n", ["x", "y"]), ("", ["column 3", "column 2"])])
def test_a_table_gives_the_models_channels(tmp_path: Path, header: str, channel_names: list[str]) -> None:
    """CSV columns are picked by the names, or without a header by the positions, that the model was trained with."""
    (tmp_path / "a.csv").write_text(header + "".join(f"{i / 10},{i + 0.5},{-i}\n" for i in range(20)))
    source = FileSource(tmp_path / "a.csv", sample_rate_hz=10.0, channel_names=channel_names)
    expected = [[-i, i + 0.5] for i in range(20)]
    np.testing.assert_array_equal(read_all(source), np.array(expected, np.float32))
