"""MIMII: both layouts, and recordings as test items."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from dasvdd_runtime.errors import DataError
from dasvdd_train.reproduction.datasets import load_dataset
from dasvdd_train.reproduction.datasets.mimii import feature_vectors_of

RATE = 16_000


def write_wav(path: Path, *, seed: int, channels: int = 8, rate: int = RATE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).normal(0, 0.1, (rate // 2, channels))
    soundfile.write(path, noise, rate, subtype="PCM_16")
    return path


def write_mimii(folder: Path) -> None:
    for kind, count in (("normal", 5), ("abnormal", 2)):
        for i in range(count):
            write_wav(folder / f"mimii/6_dB_fan/fan/id_00/{kind}/{i:08d}.wav", seed=i)


def test_abnormal_recordings_are_tested_with_as_many_normal_ones(tmp_path: Path) -> None:
    """Five normal and two abnormal recordings: three to train on, four test items whose score is a mean of rows."""
    write_mimii(tmp_path)
    dataset = load_dataset("mimii", tmp_path)
    assert dataset.class_names == ("6_dB_fan/id_00",)
    split = dataset.split("6_dB_fan/id_00", seed=0)
    vectors = ((RATE // 2 - 1024) // 512 + 1) // 5
    assert split.train.shape == (3 * vectors, 640)
    assert split.labels.tolist() == [False, False, True, True]
    scores = split.item_scores(np.arange(len(split.test), dtype=float))
    np.testing.assert_allclose(scores, np.arange(4 * vectors).reshape(4, vectors).mean(axis=1))


@pytest.mark.parametrize(
    ("normal", "anomaly"),
    [
        ("normal_id_02_{:08d}", "anomaly_id_02_{:08d}"),
        ("section_02_source_test_normal_{:04d}_n_A", "section_02_source_test_anomaly_{:04d}_n_A"),
    ],
    ids=["2020", "2022"],
)
def test_the_split_of_dcase_is_kept(tmp_path: Path, normal: str, anomaly: str) -> None:
    """Recordings of `train` are trained on, those of `test` are tested on, labelled by their names."""
    for i in range(3):
        write_wav(tmp_path / "mimii/fan/train" / f"{normal.format(i)}.wav", seed=i, channels=1)
    write_wav(tmp_path / "mimii/fan/test" / f"{normal.format(7)}.wav", seed=7, channels=1)
    write_wav(tmp_path / "mimii/fan/test" / f"{anomaly.format(8)}.wav", seed=8, channels=1)
    dataset = load_dataset("mimii", tmp_path)
    (name,) = dataset.class_names
    split = dataset.split(name, seed=0)
    assert split.labels.tolist() == [False, True]
    assert len(split.train) == 3 * len(split.test) // 2


def test_a_recording_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    """A truncated WAV and one at another rate are errors with their names."""
    path = write_wav(tmp_path / "00000001.wav", seed=0)
    whole = path.read_bytes()
    for length in (0, 10, 44, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"00000001\.wav"):
            feature_vectors_of(path)
    write_wav(path, seed=0, rate=8_000)
    with pytest.raises(DataError, match="8000 Hz"):
        feature_vectors_of(path)


def test_a_machine_without_faults_is_named(tmp_path: Path) -> None:
    """Nothing can be tested without an abnormal recording."""
    for i in range(3):
        write_wav(tmp_path / f"mimii/6_dB_fan/fan/id_00/normal/{i}.wav", seed=i)
    with pytest.raises(DataError, match="0 abnormal"):
        load_dataset("mimii", tmp_path)
