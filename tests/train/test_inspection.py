"""What a finished model is asked once more: codes, most unusual windows, rivals; from samples that may lie on disk."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from dasvdd_runtime.reading.manifest import Role
from dasvdd_train.corpus import Stretch
from dasvdd_train.features import Geometry, feature_vectors, frame_table, geometry
from dasvdd_train.front_ends import Rows
from dasvdd_train.inspection import Inspection, inspect, window_vectors
from dasvdd_train.model import DasvddModel
from dasvdd_train.rivals import fit_rivals
from dasvdd_train.scoring import score_stretch
from numpy.typing import NDArray
from scipy.spatial.distance import mahalanobis
from sklearn.covariance import LedoitWolf

RATE_HZ = 10.0


class OnDisk:
    """Samples that can only be sliced and asked for their length, and say how much was read at once."""

    def __init__(self, samples: NDArray[np.float32]) -> None:
        self._samples = samples
        self.most_read = 0

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, part: slice) -> NDArray[np.float32]:
        assert isinstance(part, slice)
        self.most_read = max(self.most_read, len(self._samples[part]))
        return self._samples[part]


def stretch(role: Role, seconds: float, *, odd_at: float | None = None, swing: float = 1.0, seed: int = 0) -> Stretch:
    """Three noisy channels; from `odd_at` on, one second is twenty times as large."""
    rng = np.random.default_rng(seed)
    samples = (swing * rng.standard_normal((round(seconds * RATE_HZ), 3))).astype(np.float32)
    if odd_at is not None:
        samples[round(odd_at * RATE_HZ) : round((odd_at + 1) * RATE_HZ)] *= 20
    return Stretch(f"{role}{seed}.csv", role, "", "", 100.0, OnDisk(samples))  # type: ignore[arg-type]  # as on disk


@pytest.fixture(scope="module")
def model() -> DasvddModel:
    """An untrained model with two stacked frames."""
    torch.manual_seed(0)
    made = DasvddModel(Rows(channels=3, channel_names=list("xyz")), stacked_frames=2, widths=(8,), latent=2)
    return made.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def sizes(model: DasvddModel) -> Geometry:
    """Windows of a second every half second."""
    return geometry(model, window_seconds=1.0, window_hop_seconds=0.5, sample_rate_hz=RATE_HZ)


STRETCHES = [
    stretch("train", 60, odd_at=30),
    stretch("train", 60, seed=1),
    stretch("holdout", 20, odd_at=5, seed=2),
    stretch("test_normal", 30, seed=3),
    stretch("test_anomalous", 30, swing=5.0, seed=4),
]


@pytest.fixture(scope="module")
def seen(model: DasvddModel, sizes: Geometry) -> Inspection:
    """All five stretches, looked at."""
    return inspect(model, STRETCHES, sizes, sample_rate_hz=RATE_HZ)


def test_window_vectors_are_those_of_training(model: DasvddModel) -> None:
    """The vectors of a window are bit for bit those that training draws from the same samples."""
    samples = np.random.default_rng(5).standard_normal((10, 3)).astype(np.float32)
    _, vectors = window_vectors(model, samples[None])
    trained = feature_vectors(model, frame_table(model.front_end, [samples]))
    assert torch.equal(vectors[0], trained.rows(torch.arange(len(trained))))


def test_scores_are_those_of_the_device(model: DasvddModel, sizes: Geometry, seen: Inspection) -> None:
    """Every window of a short training recording is looked at, with the score that scoring it gives."""
    whole = STRETCHES[1]
    samples = whole.samples[0 : len(whole.samples)]
    plain = Stretch(whole.name, whole.role, "", "", 100.0, samples)
    expected, _ = score_stretch(model, plain, sizes, RATE_HZ)
    np.testing.assert_allclose(seen.training[1].scores, expected.scores, rtol=1e-6)


def test_the_most_unusual_pieces_hold_what_is_odd(seen: Inspection) -> None:
    """The loud second of the training and of the held-out recording come first, at their place in the recording."""
    roles = [clip.role for clip in seen.clips]
    assert roles == ["train"] * 3 + ["holdout"] * 2
    training, held_out = seen.clips[0], seen.clips[3]
    assert (training.name, training.peak_seconds) == ("train0.csv", pytest.approx(130.5, abs=0.5))
    assert (held_out.name, held_out.peak_seconds) == ("holdout2.csv", pytest.approx(105.5, abs=0.5))
    for clip in seen.clips:
        assert clip.samples.shape == (100, 3)
        assert clip.start_seconds <= clip.peak_seconds <= clip.start_seconds + 10


def test_pieces_do_not_repeat_each_other(seen: Inspection) -> None:
    """No two unusual windows of one recording lie within one piece."""
    peaks = sorted((clip.name, clip.peak_seconds) for clip in seen.clips)
    for (name, earlier), (other, later) in itertools.pairwise(peaks):
        assert name != other or later - earlier >= 10


def test_every_role_has_its_codes(seen: Inspection) -> None:
    """Codes of all four roles, as wide as the latent space."""
    assert set(seen.codes) == {"train", "holdout", "test_normal", "test_anomalous"}
    assert {codes.shape[1] for codes in seen.codes.values()} == {2}


def test_no_recording_is_read_whole(model: DasvddModel, sizes: Geometry) -> None:
    """Hours of samples are read a thousand at a time, or 64 windows."""
    longer = stretch("train", 36_000)
    found = inspect(model, [longer], sizes, sample_rate_hz=RATE_HZ)
    assert len(found.training[0].scores) <= 20_000
    assert longer.samples.most_read == 1000  # type: ignore[attr-defined]


def test_channels_are_compared_over_whole_recordings(model: DasvddModel, sizes: Geometry) -> None:
    """Two channels that rest alike for the first half of each recording are told apart by the second half."""
    training = [stretch("train", seconds, seed=seed) for seed, seconds in enumerate([20_000, 7, 16_000])]
    for one in training:
        rows = one.samples[0 : len(one.samples)]
        rows[: len(rows) // 2, 1] = rows[: len(rows) // 2, 0]
    found = inspect(model, training, sizes, sample_rate_hz=RATE_HZ).raw_rows
    assert 199_000 <= len(found) <= 200_000
    assert np.mean(found[:, 0] == found[:, 1]) == pytest.approx(0.5, abs=0.02)


def test_rivals_tell_a_larger_swing_apart(seen: Inspection) -> None:
    """Five times the swing is clear to Mahalanobis and to PCA-Q."""
    assert [rival.name for rival in seen.rivals] == ["Mahalanobis (Ledoit-Wolf)", "PCA-Q"]
    assert all(rival.separation.auc > 0.95 for rival in seen.rivals)


def test_without_labels_there_are_no_rivals_and_a_reason(model: DasvddModel, sizes: Geometry) -> None:
    """One class alone cannot be ranked, and that is said."""
    found = inspect(model, [s for s in STRETCHES if s.role != "test_normal"], sizes, sample_rate_hz=RATE_HZ)
    assert found.rivals == []
    assert "no labelled test recordings of both kinds" in found.rivals_missing


def test_recordings_shorter_than_a_window_are_passed_over(model: DasvddModel, sizes: Geometry) -> None:
    """A stretch without a window has no codes and no piece."""
    found = inspect(model, [stretch("train", 30), stretch("holdout", 0.5)], sizes, sample_rate_hz=RATE_HZ)
    assert set(found.codes) == {"train"}
    assert {clip.role for clip in found.clips} == {"train"}


def test_rivals_are_what_their_names_say() -> None:
    """Squared Mahalanobis distance by scipy, and the energy outside the principal components by numpy."""
    rng = np.random.default_rng(6)
    rows = rng.standard_normal((500, 2)) @ rng.standard_normal((2, 5)) + 0.01 * rng.standard_normal((500, 5))
    rows = rows.astype(np.float32)
    x = rng.standard_normal((7, 5)).astype(np.float32)
    distance, error = (rival.score(x) for rival in fit_rivals(rows))
    fitted = LedoitWolf().fit(rows)
    expected = [mahalanobis(row, fitted.location_, np.linalg.inv(fitted.covariance_)) ** 2 for row in x]
    np.testing.assert_allclose(distance, expected, rtol=1e-3)
    directions = np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)[2][:2]
    off = x - rows.mean(axis=0)
    np.testing.assert_allclose(error, np.square(off - off @ directions.T @ directions).sum(axis=1), rtol=1e-2)
