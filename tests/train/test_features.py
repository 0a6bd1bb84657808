"""Frames, standardisation and the index of feature vectors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from dasvdd_runtime.errors import ConfigError
from dasvdd_train import features
from dasvdd_train.features import FrameTable, as_input, feature_vectors, fit_standardisation, frame_table, geometry
from dasvdd_train.front_ends import LogMel, Rows
from dasvdd_train.model import DasvddModel


def audio_model(stacked_frames: int = 3) -> DasvddModel:
    front_end = LogMel(sample_rate_hz=8000.0, channels=1, n_fft=512, frame_hop_samples=256, mel_bands=8)
    return DasvddModel(front_end, stacked_frames=stacked_frames, widths=(6,), latent=2)


def test_chunked_frames_equal_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """A long stretch computed piece by piece gives the frames of the whole, none twice and none lost."""
    front_end = audio_model().front_end
    samples = np.random.default_rng(0).standard_normal((256 * 50 + 100, 1)).astype(np.float32)
    whole = frame_table(front_end, [samples]).frames
    monkeypatch.setattr(features, "FRAMES_AT_ONCE", 7)
    pieces = frame_table(front_end, [samples]).frames
    assert len(whole) == 49
    torch.testing.assert_close(pieces, whole, rtol=0, atol=1e-4)


def test_vectors_are_what_the_model_scores() -> None:
    """The trainer's feature vectors, averaged by eq. 2, give the model's own score of the window."""
    model = audio_model()
    samples = 0.1 * np.random.default_rng(0).standard_normal((256 * 20, 1)).astype(np.float32)
    frames = frame_table(model.front_end, [samples])
    fit_standardisation(model, frames)
    model.gamma.fill_(0.7)
    vectors = feature_vectors(model, frames)
    with torch.no_grad():
        x = vectors.rows(torch.arange(len(vectors)))
        z = model.encoder(x)
        expected = ((model.decoder(z) - x) ** 2).sum(1).mean() + 0.7 * ((z - model.center) ** 2).sum(1).mean()
        score = model(as_input(samples[None], "audio"))[0]
    assert float(score) == pytest.approx(float(expected), rel=1e-5)


def test_no_vector_crosses_two_recordings() -> None:
    """Vectors of two stretches are those of each alone; a stretch shorter than a vector gives none."""
    model = audio_model(stacked_frames=3)
    parts = [torch.full((5, 8), 1.0), torch.full((2, 8), 2.0), torch.full((4, 8), 3.0)]
    vectors = feature_vectors(model, FrameTable(torch.cat(parts), [len(part) for part in parts]))
    rows = vectors.rows(torch.arange(len(vectors)))
    assert rows[:, 0].tolist() == [1, 1, 1, 3, 3]
    assert torch.equal(rows, rows[:, :1].expand_as(rows))
    assert torch.equal(torch.cat(list(vectors.chunks(2))), rows)


def test_standardisation_is_numpys() -> None:
    """Mean and deviation per band over all training frames; a constant band is named and left at deviation 1."""
    model = audio_model()
    rng = np.random.default_rng(0)
    parts = [torch.from_numpy(rng.normal(-50, 5, (n, 8)).astype(np.float32)) for n in (30, 70)]
    for part in parts:
        part[:, 3] = -120
    constant = fit_standardisation(model, FrameTable(torch.cat(parts), [len(part) for part in parts]))
    every = np.concatenate([part.numpy() for part in parts]).astype(np.float64)
    expected_std = every.std(axis=0)
    expected_std[3] = 1
    np.testing.assert_allclose(model.mean.numpy(), every.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(model.std.numpy(), expected_std, rtol=1e-5)
    assert constant == [model.residual_names[3]]


def test_windows_are_whole_frame_hops() -> None:
    """Wanted seconds are rounded to whole frame hops, at least one."""
    sizes = geometry(
        audio_model(),
        window_seconds=1.0,
        window_hop_seconds=0.001,
        sample_rate_hz=8000.0,
    )
    assert (sizes.window_samples, sizes.window_hop_samples, sizes.minimum_samples) == (7936, 256, 1024)


def test_window_shorter_than_a_vector_is_refused() -> None:
    """A window without a whole feature vector could not be scored."""
    with pytest.raises(ConfigError, match="shorter than one feature vector"):
        geometry(
            DasvddModel(Rows(channels=1, channel_names=["a"]), stacked_frames=20, widths=(6,), latent=2),
            window_seconds=0.1,
            window_hop_seconds=0.1,
            sample_rate_hz=100.0,
        )
