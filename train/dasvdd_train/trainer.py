"""Algorithm 1 over all epochs: feature vectors -> a trained encoder, decoder, center and gamma."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import torch
from dasvdd_runtime.errors import ConfigError, DataError, Unavailable
from torch import Tensor, nn

from .checkpoint import Best, Checkpoint, TrainingState
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
    checkpoint: Checkpoint | None = None,
    on_epoch: Callable[[EpochMetrics], None] = lambda _: None,
) -> list[EpochMetrics]:
    """Train `model` in place on `vectors`; its front end and standardisation stay. Returns one entry an epoch.

    With a `checkpoint` the state is saved after every epoch, and training goes on from what was saved there, bit for
    bit on a CPU; `on_epoch` is told of the epochs from there on. With `settings.early_stopping_epochs` it ends when the
    held-out score has not fallen for so many epochs, and keeps the networks of its lowest point.

    Raises DataError for fewer vectors than one batch and for a loss that is not finite, ConfigError for early stopping
    without held-out vectors.
    """
    if len(vectors) < settings.batch_rows:
        raise DataError(
            f"too little data: {len(vectors)} feature vectors, and one batch takes {settings.batch_rows}. "
            "Record the machine for longer, or lower training.batch_rows."
        )
    if settings.early_stopping_epochs and not (holdout is not None and len(holdout)):
        raise ConfigError("training.early_stopping_epochs needs held-out data: use --holdout tail or recordings")
    torch.set_flush_denormal(True)
    device = choose_device(settings.device)
    vectors = vectors.to(device)
    holdout_rows = _evenly_spaced(holdout.to(device)) if holdout is not None and len(holdout) else None
    state = initial_state(model, vectors, settings, device, saved=checkpoint is not None and checkpoint.exists())
    if checkpoint is not None and checkpoint.exists():
        checkpoint.restore(state)
    seconds_before = state.history[-1].seconds if state.history else 0.0
    started = time.monotonic()
    while state.epoch < settings.epochs and not _should_stop(state, settings):
        error, distance = train_epoch(state, vectors, settings, device)
        metrics = EpochMetrics(
            epoch=state.epoch,
            reconstruction_error=error,
            center_distance=distance,
            gamma=state.gamma,
            seconds=seconds_before + time.monotonic() - started,
            holdout_score=_mean_score(state, holdout_rows),
        )
        if not math.isfinite(error + state.gamma * distance):
            raise DataError(
                f"the loss is {error + state.gamma * distance} after epoch {state.epoch}: training diverged. Lower "
                f"training.learning_rate (now {settings.learning_rate:g}), or look for outliers in the recordings."
            )
        state.history.append(metrics)
        if settings.early_stopping_epochs:
            state.best = _better(state, metrics)
        if checkpoint is not None:
            checkpoint.save(state)
        on_epoch(metrics)
    _finish(model, state)
    return state.history


def initial_state(
    model: DasvddModel, vectors: FeatureVectors, settings: TrainingSettings, device: torch.device, *, saved: bool
) -> TrainingState:
    """Networks and center as Algorithm 1 initialises them; where a `saved` state follows, gamma is not computed."""
    torch.manual_seed(settings.seed)

    def build() -> tuple[nn.Module, nn.Module]:
        features = model.bands * model.stacked_frames
        encoder = build_encoder(features=features, widths=model.widths, latent=model.latent)
        decoder = build_decoder(features=features, widths=model.widths, latent=model.latent)
        return encoder.to(device), decoder.to(device)

    gamma = settings.gamma or 0.0
    if not gamma and not saved:
        gamma = automatic_gamma(vectors.chunks, build, initialisations=settings.gamma_initialisations)
    encoder, decoder = build()
    center = torch.randn(model.latent).to(device).requires_grad_()
    optimisers = Optimisers(
        encoder, decoder, center, learning_rate=settings.learning_rate, weight_decay=settings.weight_decay
    )
    order = torch.Generator().manual_seed(settings.seed)
    return TrainingState(encoder, decoder, center, optimisers, order, gamma)


def train_epoch(
    state: TrainingState, vectors: FeatureVectors, settings: TrainingSettings, device: torch.device
) -> tuple[float, float]:
    """One pass over `vectors`; the means of reconstruction error and center distance. Waits for the device once."""

    def autocast() -> torch.autocast:
        return torch.autocast(device.type, dtype=torch.bfloat16, enabled=settings.precision == "bf16")

    terms = [
        torch.stack(
            step(
                state.encoder,
                state.decoder,
                state.center,
                vectors.rows(indices),
                state.optimisers,
                gamma=state.gamma,
                kappa=settings.kappa,
                autocast=autocast,
            )
        )
        for indices in batches(len(vectors), settings.batch_rows, settings.kappa, state.order, device)
    ]
    error, distance = torch.stack(terms).mean(dim=0).tolist()
    state.epoch += 1
    return error, distance


def _should_stop(state: TrainingState, settings: TrainingSettings) -> bool:
    patience = settings.early_stopping_epochs
    return bool(patience and state.best and state.epoch - state.best.epoch >= patience)


def _better(state: TrainingState, metrics: EpochMetrics) -> Best | None:
    """The networks of now, if the held-out score is the lowest yet, else those of before."""
    score = metrics.holdout_score
    if score is None or (state.best is not None and score >= state.best.holdout_score):
        return state.best
    return Best(metrics.epoch, score, {name: value.clone() for name, value in state.networks().items()})


def _finish(model: DasvddModel, state: TrainingState) -> None:
    """Put what was trained into `model`: the last networks, or the best where early stopping kept them."""
    if state.best is not None:
        state.load_networks(state.best.networks)
    model.encoder.load_state_dict(state.encoder.state_dict())
    model.decoder.load_state_dict(state.decoder.state_dict())
    model.center.copy_(state.center.detach())
    model.gamma.fill_(state.gamma)
    model.eval().requires_grad_(False)


def _evenly_spaced(vectors: FeatureVectors) -> Tensor:
    count = min(len(vectors), HOLDOUT_ROWS)
    indices = torch.linspace(0, len(vectors) - 1, count, device=vectors.frames.device).long()
    return vectors.rows(indices)


@torch.no_grad()
def _mean_score(state: TrainingState, x: Tensor | None) -> float | None:
    if x is None:
        return None
    z = state.encoder(x)
    scores = reconstruction_error(x, state.decoder(z)) + state.gamma * center_distance(z, state.center)
    return float(scores.mean())
