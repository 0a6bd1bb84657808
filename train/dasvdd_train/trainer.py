"""Algorithm 1 over all epochs, for one model or for many at once: feature vectors -> trained networks, c and gamma."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

import torch
from dasvdd_runtime.errors import ConfigError, DataError, Unavailable
from torch import Tensor

from .checkpoint import Checkpoint
from .config import TrainingSettings
from .dasvdd import center_distance, reconstruction_error
from .features import FeatureVectors
from .metrics import EpochMetrics
from .model import DasvddModel
from .spacing import evenly_spaced
from .stacking import plain_parameters
from .steps import StepObserver, denormals_flushed, train_to_epoch_end
from .training_state import Best, Member, Recipe, Run, TrainingState, initial_state

HOLDOUT_ROWS = 4096
"""At most this many held-out vectors, evenly spaced, are scored after each epoch for the held-out curve."""


@dataclass(frozen=True)
class Trained:
    """A member that has been trained."""

    encoder: dict[str, Tensor]
    """Parameters by the names that network.build_encoder gives them, on the device that trained them."""
    decoder: dict[str, Tensor]
    center: Tensor
    """[latent]."""
    gamma: float
    history: list[EpochMetrics]


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
    on_gamma: Callable[[int, int], None] = lambda _done, _of: None,
) -> list[EpochMetrics]:
    """Train `model` in place on `vectors`; its front end and standardisation stay. Returns one entry an epoch.

    With a `checkpoint` the state is saved after every epoch, and training goes on from what was saved there, bit for
    bit on a CPU; `on_epoch` is told of the epochs from there on, `on_gamma` how far the choice of gamma is before them.
    With `settings.early_stopping_epochs` it ends when the held-out score has not fallen for so many epochs, and keeps
    the networks of its lowest point.

    Raises DataError for fewer vectors than one batch and for a loss that is not finite, ConfigError for early stopping
    without held-out vectors.
    """
    if settings.early_stopping_epochs and not (holdout is not None and len(holdout)):
        raise ConfigError("training.early_stopping_epochs needs held-out data: use --holdout tail or recordings")
    member = member_for(vectors, settings, holdout=holdout, on_epoch=on_epoch, on_gamma=on_gamma)
    ((_, trained),) = train_members(
        [member], recipe_for(model, settings), choose_device(settings.device), checkpoint=checkpoint
    )
    if isinstance(trained, Exception):
        raise trained
    model.encoder.load_state_dict(trained.encoder)
    model.decoder.load_state_dict(trained.decoder)
    model.center.copy_(trained.center)
    model.gamma.fill_(trained.gamma)
    model.eval().requires_grad_(False)
    return trained.history


def recipe_for(model: DasvddModel, settings: TrainingSettings) -> Recipe:
    """How `settings` train a network of the sizes of `model`."""
    return Recipe(
        features=model.bands * model.stacked_frames,
        widths=model.widths,
        latent=model.latent,
        **settings.model_dump(
            include={
                "batch_rows",
                "kappa",
                "learning_rate",
                "weight_decay",
                "precision",
                "early_stopping_epochs",
            }
        ),
    )


def member_for(
    vectors: FeatureVectors,
    settings: TrainingSettings,
    *,
    holdout: FeatureVectors | None = None,
    on_epoch: Callable[[EpochMetrics], None] = lambda _: None,
    on_gamma: Callable[[int, int], None] = lambda _done, _of: None,
) -> Member:
    """The one model that `settings` ask for."""
    own = settings.model_dump(include={"seed", "epochs", "gamma", "gamma_initialisations"})
    return Member(vectors, **own, holdout=holdout, on_epoch=on_epoch, on_gamma=on_gamma)


def require_a_batch(vectors: int, batch_rows: int) -> None:
    """Raises DataError for fewer feature vectors than one batch takes."""
    if vectors < batch_rows:
        raise DataError(
            f"too little data: {vectors} feature vectors, and one batch takes {batch_rows}. "
            "Record the machine for longer, or lower training.batch_rows."
        )


def train_members(
    members: Sequence[Member],
    recipe: Recipe,
    device: torch.device,
    *,
    checkpoint: Checkpoint | None = None,
    on_step: StepObserver | None = None,
) -> Iterator[tuple[int, Trained | DataError]]:
    """Train all `members` as one stack; gives each one's number and result when it is finished.

    Members take their steps together and end their epochs apart, each after its own number of batches; what one
    becomes depends on no other, to rounding. A member whose training diverges gives a DataError. With a `checkpoint`
    the state is kept, and where there is one of the same members they go on from it, bit for bit on a CPU; those that
    had been given before it was written are not given again. Raises DataError for fewer vectors than one batch,
    ModelError and ConfigError for a checkpoint that is damaged or another's.
    """
    for member in members:
        require_a_batch(len(member.vectors), recipe.batch_rows)
    with closing(_train(members, recipe, device, checkpoint, on_step)) as training:
        while True:
            with denormals_flushed():  # and not in what the caller does with a result
                result = next(training, None)
            if result is None:
                return
            yield result


def _train(
    members: Sequence[Member],
    recipe: Recipe,
    device: torch.device,
    checkpoint: Checkpoint | None,
    on_step: StepObserver | None,
) -> Generator[tuple[int, Trained | DataError]]:
    goes_on = checkpoint is not None and checkpoint.exists()
    state = initial_state(members, recipe, device, saved=goes_on)
    if checkpoint is not None and goes_on:
        checkpoint.restore(state)
    holdouts = [_some_rows(member.holdout, device) for member in members]
    started = time.monotonic() - (state.members[0].history[-1].seconds if state.members[0].history else 0.0)
    while True:
        for position, run in enumerate(state.members):
            if _ended(run, recipe):
                yield run.number, run.error if isinstance(run.error, DataError) else _trained(state, position)
        state.keep([position for position, run in enumerate(state.members) if not _ended(run, recipe)])
        if not state.members:
            return
        ended: list[Run] = []
        for position, (error, distance) in train_to_epoch_end(state, recipe, on_step).items():
            run = state.members[position]
            run.epoch += 1
            metrics = EpochMetrics(
                epoch=run.epoch,
                reconstruction_error=error,
                center_distance=distance,
                gamma=run.gamma,
                seconds=time.monotonic() - started,
                holdout_score=_mean_score(state, position, holdouts[run.number]),
            )
            run.error = _divergence(metrics, recipe)
            if run.error is not None:
                continue
            run.history.append(metrics)
            if recipe.early_stopping_epochs:
                run.best = _better(state, position, metrics)
            ended.append(run)
        # One that has diverged would diverge again: without it, the next state is worth keeping.
        if checkpoint is not None and not any(run.error for run in state.members):
            checkpoint.save(state)
        for run in ended:
            run.member.on_epoch(run.history[-1])


def _ended(run: Run, recipe: Recipe) -> bool:
    patience = recipe.early_stopping_epochs
    stopped = patience is not None and run.best is not None and run.epoch - run.best.epoch >= patience
    return run.error is not None or run.epoch >= run.member.epochs or stopped


def _divergence(metrics: EpochMetrics, recipe: Recipe) -> DataError | None:
    loss = metrics.reconstruction_error + metrics.gamma * metrics.center_distance
    if math.isfinite(loss):
        return None
    return DataError(
        f"the loss is {loss} after epoch {metrics.epoch}: training diverged. Lower training.learning_rate (now "
        f"{recipe.learning_rate:g}), or look for outliers in the recordings."
    )


def _better(state: TrainingState, position: int, metrics: EpochMetrics) -> Best | None:
    """The networks of now, if the held-out score is the lowest yet, else those of before."""
    best, score = state.members[position].best, metrics.holdout_score
    if score is None or (best is not None and score >= best.holdout_score):
        return best
    return Best(metrics.epoch, score, state.networks_of(position))


def _trained(state: TrainingState, position: int) -> Trained:
    """What has become of a member: its last networks, or the best where early stopping kept them."""
    run = state.members[position]
    networks = run.best.networks if run.best is not None else state.networks_of(position)
    plain = plain_parameters(networks)

    def named(prefix: str) -> dict[str, Tensor]:
        return {name.removeprefix(prefix): value for name, value in plain.items() if name.startswith(prefix)}

    return Trained(named("encoder."), named("decoder."), plain["center"], run.gamma, run.history)


def _some_rows(vectors: FeatureVectors | None, device: torch.device) -> Tensor | None:
    """Some held-out vectors, [rows, features]."""
    if vectors is None or not len(vectors):
        return None
    indices = torch.from_numpy(evenly_spaced(len(vectors), HOLDOUT_ROWS)).to(vectors.frames.device)
    return vectors.rows(indices).to(device)


@torch.no_grad()
def _mean_score(state: TrainingState, position: int, x: Tensor | None) -> float | None:
    if x is None:
        return None
    index = torch.tensor([position], device=x.device)
    encoder, decoder = state.encoder.take(index), state.decoder.take(index)
    z = encoder(x[None])
    scores = reconstruction_error(x, decoder(z)) + state.gamma[index] * center_distance(z, state.center[index])
    return float(scores.mean())
