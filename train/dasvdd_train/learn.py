"""The training itself: prepared recordings -> a trained model, and what is known of its training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from dasvdd_runtime.errors import DataError
from dasvdd_runtime.words import count

from .checkpoint import PROGRESS_NAME, checkpoint_of_run
from .corpus import fingerprint
from .diagnosis import LatentFigures, latent_figures, refuse_diverged
from .features import FeatureVectors, feature_vectors, fit_standardisation, frame_table
from .metrics import EpochMetrics
from .outputs import MetricsLog
from .prepare import Listener, Prepared
from .trainer import train


@dataclass(frozen=True)
class Learned:
    """A trained model, and what is known of its training."""

    prepared: Prepared
    """With `prepared.model` trained."""
    vectors: FeatureVectors
    """Those that it was trained on."""
    constant_bands: list[str]
    data_fingerprint: str
    history: list[EpochMetrics]
    latent: LatentFigures


def learn(
    prepared: Prepared,
    out: Path,
    *,
    listener: Listener,
    resume: bool,
    watchers: Sequence[Callable[[EpochMetrics], None]],
) -> Learned:
    """Train the model of `prepared`, or go on with its training. Raises DataError where it diverged."""
    corpus, model, config, training = prepared.corpus, prepared.model, prepared.config, prepared.training
    listener.working("computing features", 0, 1)
    frames = frame_table(model.front_end, [stretch.samples for stretch in training])
    constant_bands = fit_standardisation(model, frames)
    vectors = feature_vectors(model, frames)
    held_out = corpus.with_role("holdout")
    held_vectors = (
        feature_vectors(model, frame_table(model.front_end, [s.samples for s in held_out])) if held_out else None
    )
    data_fingerprint = fingerprint(training)
    checkpoint = checkpoint_of_run(out, config, data_fingerprint)
    log = MetricsLog(out / PROGRESS_NAME)
    if checkpoint.exists():
        done = checkpoint.history()
        log.start(done)
        listener.say(f"going on after epoch {len(done)} of {config.training.epochs}")
    else:
        log.start([])
        if resume:
            listener.say(f"{out} holds nothing to resume: training from the beginning")

    def on_epoch(metrics: EpochMetrics) -> None:
        for told in (log.append, listener.epoch, *watchers):
            told(metrics)

    initialisations = count(config.training.gamma_initialisations, "initialisation")
    listener.working("computing features", 1, 1)
    history = train(
        model,
        vectors,
        held_vectors,
        config.training,
        checkpoint=checkpoint,
        on_epoch=on_epoch,
        on_gamma=partial(listener.working, f"choosing gamma over {initialisations}"),
    )
    if len(history) < config.training.epochs:
        listener.say(f"stopped early after epoch {len(history)}: the held-out score no longer fell")

    latent = latent_figures(model, vectors)
    try:
        refuse_diverged(history, latent, learning_rate=config.training.learning_rate)
    except DataError:
        checkpoint.remove()  # there is nothing in it to go on with, and it would bar the next attempt
        raise
    return Learned(prepared, vectors, constant_bands, data_fingerprint, history, latent)
