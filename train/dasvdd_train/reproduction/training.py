"""The one place where the evaluation meets the trainer: rows and settings in, fitted models out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from dasvdd_runtime.errors import DataError
from numpy.typing import NDArray
from torch import Tensor, nn

from ..checkpoint import Checkpoint
from ..dasvdd import center_distance, reconstruction_error
from ..features import FeatureVectors
from ..metrics import EpochMetrics
from ..network import build_decoder, build_encoder
from ..steps import StepObserver
from ..trainer import Trained, choose_device, train_members
from ..training_state import Member, Recipe
from .settings import CellSettings

ROWS_AT_ONCE = 8192
SMALL_PARAMETERS = 30_000
"""On a CPU, networks up to this size are stacked: their time is that of many small calls. Larger ones spend it in the
products themselves, and several at a time only drive each other out of the cache (docs/reproduction.md)."""
SMALL_AT_ONCE = 16
SHARE_OF_DEVICE = 0.5
"""Of a CUDA device's free memory, for parameters, gradients, moments and what is copied when a member leaves."""


@dataclass(frozen=True)
class Job:
    """One model to be trained."""

    rows: NDArray[np.float32]
    """Normal rows, [n, features]."""
    settings: CellSettings
    seed: int
    precision: Literal["fp32", "bf16"] = "fp32"

    @property
    def recipe(self) -> Recipe:
        """What the jobs of one stack must share."""
        settings = self.settings
        # Where nothing moves the center, no row is kept for it.
        center_stays = settings.center == "fixed" or settings.gamma == 0
        return Recipe(
            features=self.rows.shape[1],
            widths=settings.widths,
            latent=settings.latent,
            code=settings.code,
            output=settings.output,
            batch_rows=min(settings.batch_rows, len(self.rows)),
            kappa=1.0 if center_stays else settings.kappa,
            center="mean_code" if settings.center == "fixed" else "random",
            learning_rate=settings.learning_rate,
            weight_decay=settings.weight_decay,
            precision=self.precision,
        )


@dataclass(frozen=True)
class Fitted:
    """A trained model, on the device that trained it."""

    encoder: nn.Module
    decoder: nn.Module
    center: Tensor
    """[latent]."""
    gamma: float
    seconds: float
    """That its stack was trained until it ended, before an interruption too."""

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


def fit(rows: NDArray[np.float32], settings: CellSettings, *, seed: int, device: str) -> Fitted:
    """Train on normal `rows` [n, features] and return the model.

    Raises Unavailable for a device that is not there, and DataError if training diverges.
    """
    ((_, fitted),) = fit_many([Job(rows, settings, seed)], device=device)
    if isinstance(fitted, DataError):
        raise fitted
    return fitted


def fit_many(
    jobs: Sequence[Job],
    *,
    device: str,
    on_step: StepObserver | None = None,
    on_epoch: Callable[[EpochMetrics], None] = lambda _: None,
    checkpoint: Checkpoint | None = None,
) -> Iterator[tuple[int, Fitted | DataError]]:
    """Train `jobs` of one recipe as one stack; gives each one's number and model, or why there is none, when it ends.

    Jobs with the same array of rows share it on the device. `on_epoch` is told of the first job's epochs. `checkpoint`
    is as for `train_members`. Raises ValueError for jobs of several recipes.
    """
    recipe = jobs[0].recipe
    if any(job.recipe != recipe for job in jobs):
        raise ValueError("only jobs of one recipe can be stacked")
    shared: dict[int, FeatureVectors] = {}
    members = []
    for job in jobs:
        if id(job.rows) not in shared:
            shared[id(job.rows)] = FeatureVectors(torch.from_numpy(job.rows), torch.arange(len(job.rows)), 1)
        settings = job.settings
        member = Member(shared[id(job.rows)], job.seed, settings.epochs, settings.gamma, settings.gamma_initialisations)
        members.append(member)
    members[0] = replace(members[0], on_epoch=on_epoch)
    fits = train_members(members, recipe, choose_device(device), checkpoint=checkpoint, on_step=on_step)
    for number, trained in fits:
        yield number, trained if isinstance(trained, DataError) else _fitted(trained, recipe)


def members_at_once(recipe: Recipe, wanted: int | None, device: torch.device) -> int:
    """How many models of `recipe` are trained as one: `wanted`, or what pays on `device`."""
    if wanted is not None:
        return wanted
    if device.type != "cuda":
        return SMALL_AT_ONCE if parameters(recipe) <= SMALL_PARAMETERS else 1
    activations = 8 * recipe.batch_rows * sum((recipe.features, *recipe.widths, recipe.latent))
    free, _ = torch.cuda.mem_get_info(device)
    return max(1, int(SHARE_OF_DEVICE * free) // (4 * (5 * parameters(recipe) + activations)))


def parameters(recipe: Recipe) -> int:
    """Parameters of one model's networks."""
    sizes = (recipe.features, *recipe.widths, recipe.latent)
    return sum(2 * inputs * outputs + inputs + outputs for inputs, outputs in pairwise(sizes))


def _fitted(trained: Trained, recipe: Recipe) -> Fitted:
    features, widths, latent = recipe.features, recipe.widths, recipe.latent
    encoder = build_encoder(features=features, widths=widths, latent=latent, code=recipe.code)
    decoder = build_decoder(features=features, widths=widths, latent=latent, output=recipe.output)
    for module, parameters in ((encoder, trained.encoder), (decoder, trained.decoder)):
        module.to(trained.center.device).load_state_dict(parameters)
        module.eval().requires_grad_(False)
    return Fitted(encoder, decoder, trained.center, trained.gamma, trained.history[-1].seconds)
