"""Algorithm 1 over all epochs: feature vectors -> a trained encoder, decoder, center and gamma."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import torch
from dasvdd_runtime.errors import DataError, Unavailable
from torch import Tensor, nn

from .config import TrainingSettings
from .dasvdd import Optimisers, automatic_gamma, batches, center_distance, reconstruction_error, step
from .features import FeatureVectors
from .metrics import EpochMetrics
from .model import DasvddModel
from .network import build_decoder, build_encoder

HOLDOUT_ROWS = 4096
"""At most this many held-out vectors, evenly spaced, are scored after each epoch for the held-out curve."""


def choose_device(wanted: str) -> torch.device:
    """The torch device for 'auto', 'cpu' or 'cuda'. Raises Unavailable for a CUDA that is not there."""
    if wanted == "cuda" and not torch.cuda.is_available():
        raise Unavailable(
            f"--device cuda: torch {torch.__version__} finds no CUDA device. Use --device cpu, or install a CUDA build "
            "of torch and its driver."
        )
    return torch.device("cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu")


def train(
    model: DasvddModel,
    vectors: FeatureVectors,
    holdout: FeatureVectors | None,
    settings: TrainingSettings,
    *,
    on_epoch: Callable[[EpochMetrics], None] = lambda _: None,
) -> list[EpochMetrics]:
    """Train `model` in place on `vectors`; its front end and standardisation stay. Returns one entry an epoch.

    Raises DataError for fewer vectors than one batch and for a loss that is not finite.
    """
    if len(vectors) < settings.batch_rows:
        raise DataError(
            f"too little data: {len(vectors)} feature vectors, and one batch takes {settings.batch_rows}. "
            "Record the machine for longer, or lower training.batch_rows."
        )
    torch.set_flush_denormal(True)
    device = choose_device(settings.device)
    vectors = vectors.to(device)
    holdout_rows = _evenly_spaced(holdout.to(device)) if holdout is not None and len(holdout) else None
    torch.manual_seed(settings.seed)
    order = torch.Generator().manual_seed(settings.seed)

    def build() -> tuple[nn.Module, nn.Module]:
        features = model.bands * model.stacked_frames
        encoder = build_encoder(features=features, widths=model.widths, latent=model.latent)
        decoder = build_decoder(features=features, widths=model.widths, latent=model.latent)
        return encoder.to(device), decoder.to(device)

    gamma = settings.gamma or automatic_gamma(vectors.chunks, build, initialisations=settings.gamma_initialisations)
    encoder, decoder = build()
    center = torch.randn(model.latent).to(device).requires_grad_()
    optimisers = Optimisers(
        encoder, decoder, center, learning_rate=settings.learning_rate, weight_decay=settings.weight_decay
    )

    def autocast() -> torch.autocast:
        return torch.autocast(device.type, dtype=torch.bfloat16, enabled=settings.precision == "bf16")

    history = []
    started = time.monotonic()
    for epoch in range(1, settings.epochs + 1):
        terms = [
            torch.stack(
                step(
                    encoder,
                    decoder,
                    center,
                    vectors.rows(indices),
                    optimisers,
                    gamma=gamma,
                    kappa=settings.kappa,
                    autocast=autocast,
                )
            )
            for indices in batches(len(vectors), settings.batch_rows, settings.kappa, order, device)
        ]
        error, distance = torch.stack(terms).mean(dim=0).tolist()
        metrics = EpochMetrics(
            epoch=epoch,
            reconstruction_error=error,
            center_distance=distance,
            gamma=gamma,
            seconds=time.monotonic() - started,
            holdout_score=_mean_score(encoder, decoder, center, gamma, holdout_rows),
        )
        if not math.isfinite(error + gamma * distance):
            raise DataError(
                f"the loss is {error + gamma * distance} after epoch {epoch}: training diverged. Lower "
                f"training.learning_rate (now {settings.learning_rate:g}), or look for outliers in the recordings."
            )
        history.append(metrics)
        on_epoch(metrics)

    model.encoder.load_state_dict(encoder.state_dict())
    model.decoder.load_state_dict(decoder.state_dict())
    model.center.copy_(center.detach())
    model.gamma.fill_(gamma)
    model.eval().requires_grad_(False)
    return history


def _evenly_spaced(vectors: FeatureVectors) -> Tensor:
    count = min(len(vectors), HOLDOUT_ROWS)
    indices = torch.linspace(0, len(vectors) - 1, count, device=vectors.frames.device).long()
    return vectors.rows(indices)


@torch.no_grad()
def _mean_score(encoder: nn.Module, decoder: nn.Module, center: Tensor, gamma: float, x: Tensor | None) -> float | None:
    if x is None:
        return None
    z = encoder(x)
    return float((reconstruction_error(x, decoder(z)) + gamma * center_distance(z, center)).mean())
