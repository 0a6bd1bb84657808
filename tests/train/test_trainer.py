"""Training as a whole: it learns, it repeats, it refuses."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from dasvdd_runtime.errors import ConfigError, DataError, Unavailable
from dasvdd_train.config import TrainingSettings
from dasvdd_train.diagnosis import latent_figures
from dasvdd_train.features import FeatureVectors, FrameTable, feature_vectors, fit_standardisation
from dasvdd_train.front_ends import Rows
from dasvdd_train.metrics import EpochMetrics
from dasvdd_train.model import DasvddModel
from dasvdd_train.spacing import evenly_spaced
from dasvdd_train.trainer import choose_device, train, train_members
from dasvdd_train.training_state import Member, Recipe


def plane_rows(count: int = 600, *, noise: float = 0.05, seed: int = 0) -> torch.Tensor:
    """Rows of six channels that lie near a two-dimensional plane."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(2, 6, generator=torch.Generator().manual_seed(42))
    rows = torch.randn(count, 2, generator=generator) @ mixing
    return rows + noise * torch.randn(count, 6, generator=generator)


def model_and_vectors() -> tuple[DasvddModel, FeatureVectors]:
    model = DasvddModel(Rows(channels=6, channel_names=list("abcdef")), stacked_frames=1, widths=(16,), latent=2)
    rows = plane_rows()
    frames = FrameTable(rows, [len(rows)])
    fit_standardisation(model, frames)
    return model, feature_vectors(model, frames)


SETTINGS = TrainingSettings(epochs=30, batch_rows=50, device="cpu")


def test_learns_what_is_normal() -> None:
    """Rows off the plane score higher than new rows on it, and both loss terms are logged each epoch."""
    model, vectors = model_and_vectors()
    seen: list[EpochMetrics] = []
    history = train(model, vectors, vectors, SETTINGS.model_copy(update={"gamma": 0.1}), on_epoch=seen.append)
    assert [m.epoch for m in history] == list(range(1, 31))
    assert seen == history
    assert history[-1].reconstruction_error < 0.5 * history[0].reconstruction_error
    assert history[-1].holdout_score is not None
    normal = model(plane_rows(200, seed=1)[:, None])[0]
    anomalous = model(4 * torch.randn(200, 1, 6, generator=torch.Generator().manual_seed(2)))[0]
    assert float(normal.median()) < 0.2 * float(anomalous.median())


def test_same_seed_same_model() -> None:
    """A seed fixes every number of the model on the CPU; another seed gives another model."""
    states = []
    for seed in (1, 1, 2):
        model, vectors = model_and_vectors()
        train(model, vectors, None, SETTINGS.model_copy(update={"seed": seed, "epochs": 2}))
        states.append(torch.cat([value.flatten() for value in model.state_dict().values()]))
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


def test_other_computation_keeps_its_denormals() -> None:
    """Numbers next to nothing are not flushed to zero any more once a training has ended, or failed."""
    half = float(torch.tensor(0.5))
    model, vectors = model_and_vectors()
    train(model, vectors, None, SETTINGS.model_copy(update={"epochs": 1}))
    assert float("1e-310") * half > 0
    with pytest.raises(DataError):
        train(model, vectors, None, SETTINGS.model_copy(update={"batch_rows": 10_000}))
    assert float("1e-310") * half > 0


@pytest.mark.parametrize("flushed", [False, True])
def test_between_the_results_of_a_stack_the_processor_is_the_callers(flushed: bool) -> None:
    """What the caller does with one result, and all after the last, treats denormals as before the training."""
    _, vectors = model_and_vectors()
    members = [Member(vectors, seed, epochs=1 + seed, gamma=1.0, gamma_initialisations=1) for seed in range(2)]
    recipe = Recipe(features=6, widths=(8,), latent=2, batch_rows=50, kappa=0.9, learning_rate=1e-3, weight_decay=0.0)
    torch.set_flush_denormal(flushed)
    try:
        for _ in train_members(members, recipe, torch.device("cpu")):
            assert bool(torch.tensor(1e-40) == 0) == flushed
        assert bool(torch.tensor(1e-40) == 0) == flushed
    finally:
        torch.set_flush_denormal(False)


def test_gamma_given_is_gamma_used() -> None:
    """A gamma from the settings replaces the automatic one."""
    model, vectors = model_and_vectors()
    train(model, vectors, None, SETTINGS.model_copy(update={"gamma": 0.25, "epochs": 1}))
    assert float(model.gamma) == 0.25


def test_bf16_trains_to_nearly_the_same_loss() -> None:
    """bf16 matrix products change the loss by little."""
    losses = []
    for precision in ("fp32", "bf16"):
        model, vectors = model_and_vectors()
        history = train(model, vectors, None, SETTINGS.model_copy(update={"precision": precision}))
        losses.append(history[-1].reconstruction_error)
    assert losses[1] == pytest.approx(losses[0], rel=0.35)


def test_too_little_data_is_refused() -> None:
    """Fewer vectors than a batch is an error with both numbers."""
    model, vectors = model_and_vectors()
    with pytest.raises(DataError, match="600 feature vectors, and one batch takes 700"):
        train(model, vectors, None, SETTINGS.model_copy(update={"batch_rows": 700}))


def test_divergence_is_refused() -> None:
    """A loss that is not finite ends the training with the next step."""
    model, vectors = model_and_vectors()
    with pytest.raises(DataError, match=r"diverged.*learning_rate"):
        train(model, vectors, None, SETTINGS.model_copy(update={"learning_rate": 1e20}))


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA, so it cannot be missing")
def test_missing_cuda_is_an_error() -> None:
    """--device cuda never falls back to the CPU by itself."""
    with pytest.raises(Unavailable, match="no CUDA device"):
        choose_device("cuda")


def test_collapsed_latent_space_is_measured() -> None:
    """An encoder that maps everything to one code has relative variance zero."""
    model, vectors = model_and_vectors()
    train(model, vectors, None, SETTINGS.model_copy(update={"epochs": 3}))
    assert latent_figures(model, vectors).relative_variance > 1e-3
    for parameter in model.encoder.parameters():
        parameter.zero_()
    assert latent_figures(model, vectors).relative_variance == 0


def test_of_more_vectors_than_float32_counts_some_are_looked_at() -> None:
    """A training of months has more than 2**24 vectors; no index lies beyond the last."""
    model, vectors = model_and_vectors()
    many = FeatureVectors(vectors.frames, torch.zeros(1, dtype=torch.int64).expand(2**24 + 4), 1)
    assert math.isfinite(latent_figures(model, many).explained)
    for count in (1, 4095, 4096, 4097, 2**24 + 4, 2**40 + 1):
        chosen = evenly_spaced(count, 4096)
        assert (chosen[0], chosen[-1], len(chosen)) == (0, count - 1, min(count, 4096))
        assert (np.diff(chosen) > 0).all()


def test_early_stopping_keeps_the_lowest_held_out_point() -> None:
    """Training ends `early_stopping_epochs` after the lowest held-out score and keeps the networks of that epoch."""
    few = SETTINGS.model_copy(update={"epochs": 200, "learning_rate": 0.02, "early_stopping_epochs": 5, "gamma": 0.1})
    model, vectors = model_and_vectors()
    rows = plane_rows(100, noise=0.5, seed=7)
    holdout = feature_vectors(model, FrameTable(rows, [len(rows)]))
    history = train(model, vectors, holdout, few)
    scores = [metrics.holdout_score or 0.0 for metrics in history]
    assert len(history) < 200
    assert len(history) == scores.index(min(scores)) + 1 + 5
    z = model.encoder(holdout.frames)
    kept = (model.decoder(z) - holdout.frames).square().sum(1) + model.gamma * (z - model.center).square().sum(1)
    assert float(kept.mean()) == pytest.approx(min(scores), rel=1e-5)


def test_early_stopping_needs_held_out_data() -> None:
    """Without a held-out curve there is nothing to stop by."""
    model, vectors = model_and_vectors()
    with pytest.raises(ConfigError, match="--holdout tail"):
        train(model, vectors, None, SETTINGS.model_copy(update={"early_stopping_epochs": 5}))
