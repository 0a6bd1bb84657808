"""The one place where the evaluation meets the trainer: rows and settings in, a fitted model out.

`fit` hands what dasvdd-train can do to its trainer. What only the paper's experiments need (a fixed center, kappa = 1,
other activations, a look at every iteration) runs in `fit_observed`, a plain loop over the same steps; a test holds the
two against each other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..config import TrainingSettings
from ..dasvdd import Optimisers, automatic_gamma, batches, center_distance, reconstruction_error, step
from ..features import FrameTable, feature_vectors
from ..front_ends import Rows
from ..model import DasvddModel
from ..network import build_decoder, build_encoder
from ..trainer import choose_device, train
from .settings import Activation, CellSettings

ROWS_AT_ONCE = 8192


@dataclass(frozen=True)
class Fitted:
    """A trained model, on the device that trained it."""

    encoder: nn.Module
    decoder: nn.Module
    center: Tensor
    """[latent]."""
    gamma: float

    @torch.no_grad()
    def terms(self, rows: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Reconstruction error and center distance, not yet times gamma, of `rows` [n, features]; each [n]."""
        errors, distances = [], []
        for x in torch.split(torch.from_numpy(rows), ROWS_AT_ONCE):
            x = x.to(self.center.device)
            z = self.encoder(x)
            errors.append(reconstruction_error(x, self.decoder(z)).double().cpu())
            distances.append(center_distance(z, self.center).double().cpu())
        return torch.cat(errors).numpy(), torch.cat(distances).numpy()


@dataclass(frozen=True)
class Iteration:
    """What an observer sees after each iteration: one batch of Algorithm 1."""

    number: int
    """From 0."""
    reconstruction_error: Tensor
    """Mean over the batch, before the update; scalar."""
    center_distance: Tensor
    """Likewise, not yet times gamma."""
    center: Tensor
    """[latent], after the update."""
    encoder: nn.Module
    gamma: float


Observer = Callable[[Iteration], None]


def fit(rows: NDArray[np.float32], settings: CellSettings, *, seed: int, device: str) -> Fitted:
    """Train on normal `rows` [n, features] and return the model.

    Raises Unavailable for a device that is not there, and DataError if training diverges.
    """
    beyond_trainer = (
        settings.center == "fixed"
        or settings.kappa == 1
        or settings.gamma == 0
        or (settings.code, settings.output) != ("linear", "linear")
    )
    if beyond_trainer:
        return fit_observed(rows, settings, seed=seed, device=device)
    features = rows.shape[1]
    front_end = Rows(channels=features, channel_names=[str(i) for i in range(features)])
    model = DasvddModel(front_end, stacked_frames=1, widths=settings.widths, latent=settings.latent)
    train(
        model,
        feature_vectors(model, FrameTable(torch.tensor(rows), [len(rows)])),
        None,
        _trainer_settings(settings, rows, seed, device),
    )
    model.to(choose_device(device))
    return Fitted(model.encoder, model.decoder, model.center, float(model.gamma))


def _trainer_settings(settings: CellSettings, rows: NDArray[np.float32], seed: int, device: str) -> TrainingSettings:
    return TrainingSettings.model_validate(
        {
            "epochs": settings.epochs,
            "batch_rows": min(settings.batch_rows, len(rows)),
            "kappa": settings.kappa,
            "gamma": settings.gamma,
            "gamma_initialisations": settings.gamma_initialisations,
            "learning_rate": settings.learning_rate,
            "weight_decay": settings.weight_decay,
            "seed": seed,
            "device": device,
        }
    )


def fit_observed(
    rows: NDArray[np.float32], settings: CellSettings, *, seed: int, device: str, observer: Observer = lambda _: None
) -> Fitted:
    """As `fit`, one step after the other, with `observer` called after each.

    With a fixed center, kappa = 1 or gamma = 0 nothing trains c, and whole batches train the networks.
    """
    torch.set_flush_denormal(True)
    place = choose_device(device)
    x = torch.from_numpy(rows).to(place)
    torch.manual_seed(seed)
    order = torch.Generator().manual_seed(seed)

    def build() -> tuple[nn.Module, nn.Module]:
        sizes = {"features": rows.shape[1], "widths": settings.widths, "latent": settings.latent}
        encoder = nn.Sequential(build_encoder(**sizes), _activation(settings.code))
        decoder = nn.Sequential(build_decoder(**sizes), _activation(settings.output))
        return encoder.to(place), decoder.to(place)

    gamma = settings.gamma
    if gamma is None:
        chunks = torch.split(x, ROWS_AT_ONCE)
        gamma = automatic_gamma(lambda: chunks, build, initialisations=settings.gamma_initialisations)
    encoder, decoder = build()
    center = torch.randn(settings.latent).to(place).requires_grad_()
    if settings.center == "fixed":
        with torch.no_grad():
            center.copy_(torch.cat([encoder(part) for part in torch.split(x, ROWS_AT_ONCE)]).mean(dim=0))
    optimisers = Optimisers(
        encoder, decoder, center, learning_rate=settings.learning_rate, weight_decay=settings.weight_decay
    )
    center_is_fixed = settings.center == "fixed" or settings.kappa == 1 or gamma == 0
    batch_rows = min(settings.batch_rows, len(rows))
    number = 0
    for _ in range(settings.epochs):
        # Where nothing is split off for the center, any kappa that splits no batch away will do.
        for indices in batches(len(x), batch_rows, 0.5 if center_is_fixed else settings.kappa, order, place):
            if center_is_fixed:
                error, distance = _network_step(encoder, decoder, center, x[indices], optimisers, gamma)
            else:
                error, distance = step(
                    encoder,
                    decoder,
                    center,
                    x[indices],
                    optimisers,
                    gamma=gamma,
                    kappa=settings.kappa,
                    autocast=lambda: torch.autocast(place.type, enabled=False),
                )
            observer(Iteration(number, error, distance, center.detach(), encoder, gamma))
            number += 1
    for module in (encoder, decoder):
        module.eval().requires_grad_(False)
    return Fitted(encoder, decoder, center.detach(), gamma)


def _network_step(
    encoder: nn.Module, decoder: nn.Module, center: Tensor, x: Tensor, optimisers: Optimisers, gamma: float
) -> tuple[Tensor, Tensor]:
    """The first half of Algorithm 1 on the whole batch `x`; c stays."""
    z = encoder(x)
    error = reconstruction_error(x, decoder(z)).mean()
    distance = center_distance(z, center.detach()).mean()
    optimisers.networks.zero_grad(set_to_none=True)
    torch.autograd.backward(error + gamma * distance)
    optimisers.networks.step()
    return error.detach(), distance.detach()


def _activation(name: Activation) -> nn.Module:
    return {"linear": nn.Identity(), "leaky_relu": nn.LeakyReLU(), "sigmoid": nn.Sigmoid()}[name]
