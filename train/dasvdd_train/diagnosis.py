"""What a finished training must be told off for: pure functions from figures to doubts, and one refusal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from dasvdd_runtime.errors import DataError
from dasvdd_runtime.words import count

from .evaluation import Evaluation
from .features import FeatureVectors
from .metrics import EpochMetrics
from .model import DasvddModel
from .spacing import evenly_spaced

FALL = 0.95
"""The loss must end below this share of the first epoch's."""
DIVERGED = -1.0
"""Explained variance below which training diverged: the reconstruction is twice as wrong as the mean would be."""
COLLAPSED = 1e-6
"""Variance of the codes against that of the feature vectors below which the latent space has collapsed."""
DEAD = 1e-3
"""Share of gamma * center_distance in the score below which the latent term decides nothing."""
EXPLAINED = 0.02
"""Share of the variance below which the autoencoder reconstructs nothing but the mean."""
FEW_STEPS = 500
"""Fewer gradient steps than this leave an autoencoder unfinished."""
STILL_FALLING = 0.98
"""A loss below this share of what it was a fifth of the epochs ago is still falling."""
USABLE_AUC = 0.8
"""AUC of the test recordings below which an alarm says little."""
MISSED = 0.5
"""Share of the faulty test recordings from which on a model misses too many to be used."""
JUMP = 2.0
"""A loss this many times its lowest value so far has jumped: the learning rate is too high."""


@dataclass(frozen=True)
class Doubt:
    """Something that makes a model doubtful."""

    code: str
    """Stable name, for instance 'loss-not-falling'."""
    text: str
    """What was found, with its figures, why it matters and what to do."""
    serious: bool = False
    """The model should not be used before this is mended."""

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class LatentFigures:
    """Figures of a trained model on its own training vectors."""

    relative_variance: float
    """Total variance of the codes z over that of the feature vectors x."""
    latent_share: float
    """Mean share of gamma * center_distance in the score."""
    explained: float
    """Share of the feature vectors' variance that the reconstruction explains; 0: it is their mean."""


@torch.no_grad()
def latent_figures(model: DasvddModel, vectors: FeatureVectors) -> LatentFigures:
    """`LatentFigures` of `model` over at most 4096 evenly spaced `vectors`."""
    x = vectors.rows(torch.from_numpy(evenly_spaced(len(vectors), 4096)))
    z = model.encoder(x)
    error = (model.decoder(z) - x).square().sum(dim=1).mean()
    distance = float(model.gamma) * (z - model.center).square().sum(dim=1).mean()
    variance = x.var(dim=0, correction=0).sum().clamp_min(1e-30)
    return LatentFigures(
        relative_variance=float(z.var(dim=0, correction=0).sum() / variance),
        latent_share=float(distance / (error + distance).clamp_min(1e-30)),
        explained=float(1 - error / variance),
    )


def refuse_diverged(history: Sequence[EpochMetrics], latent: LatentFigures, *, learning_rate: float) -> None:
    """Raises DataError where training diverged although every loss stayed finite: such a model must not be written."""
    if latent.explained >= DIVERGED:
        return
    first, last = _loss(history[0]), _loss(history[-1])
    raise DataError(
        f"training diverged: the loss was {first:.4g} in epoch {history[0].epoch} and {last:.4g} in epoch "
        f"{history[-1].epoch}, and the reconstruction is {1 - latent.explained:.3g} times as wrong as the mean of the "
        f"data would be. No model is written. Lower training.learning_rate (now {learning_rate:g}, usually 0.001), or "
        "look for outliers in the recordings."
    )


def training_doubts(
    history: Sequence[EpochMetrics], latent: LatentFigures, *, steps: int, evaluation: Evaluation | None = None
) -> list[Doubt]:
    """Loss that does not fall, collapsed latent space, autoencoder without effect, dead latent term.

    `steps` is the number of gradient steps that the training made; `evaluation`: how the scores do on labelled faults,
    by which an autoencoder without effect is judged where there are some: its score is a distance from the mean then.
    """
    doubts = []
    first, last = _loss(history[0]), _loss(history[-1])
    if len(history) > 1 and last > FALL * first:
        verb = "rose" if last > first else "did not fall"
        doubts.append(
            Doubt(
                "loss-not-falling",
                f"the loss {verb}: {first:.4g} in the first epoch, {last:.4g} in the last. A model that learned "
                f"nothing detects nothing. {_cause(history, latent, steps)}",
                serious=True,
            )
        )
    if latent.relative_variance < COLLAPSED:
        doubts.append(
            Doubt(
                "collapsed",
                f"the latent space has collapsed: its variance is {latent.relative_variance:.1e} of the data's. Every "
                f"input gets the same code. {_cause(history, latent, steps)} {_all_the_same(evaluation)}",
                serious=not _tells_faults(evaluation),
            )
        )
    elif latent.explained < EXPLAINED:
        doubts.append(
            Doubt(
                "nothing-reconstructed",
                f"the autoencoder reconstructs nothing: it explains {max(0.0, latent.explained):.1%} of the data's "
                f"variance, so that every input gets about the mean back. {_cause(history, latent, steps)} "
                f"{_all_the_same(evaluation)}",
                serious=not _tells_faults(evaluation),
            )
        )
    if latent.latent_share < DEAD:
        doubts.append(
            Doubt(
                "latent-term-dead",
                f"the latent term is dead: gamma * center_distance is {latent.latent_share:.1e} of the score, so that "
                "the reconstruction error alone decides. That is a plain autoencoder, which may do; for the method of "
                "the paper raise training.gamma.",
            )
        )
    return doubts


def separation_doubts(evaluation: Evaluation | None) -> list[Doubt]:
    """Labelled faults that the scores do not tell from normal running."""
    separation = evaluation.overall.separation if evaluation else None
    if separation is None or separation.auc >= USABLE_AUC:
        return []
    return [
        Doubt(
            "faults-not-told",
            f"the scores do not tell the faults of the test recordings from normal running: AUC {separation.auc:.3f}, "
            f"and below {USABLE_AUC:g} an alarm says little (0.5 is guessing). Look at the table of recordings in "
            "report.html: are the labels right, and is the fault audible at all? Then try more training data, another "
            "front end (front_end.type), or another position of the microphone.",
            serious=True,
        )
    ]


def missed_doubts(evaluation: Evaluation | None, *, epochs: int) -> list[Doubt]:
    """Labelled faults of which most raised no alarm; where the recordings are too short for one, most of their windows.

    `epochs` is how many the training took.
    """
    figures = evaluation.overall if evaluation else None
    if figures is None or figures.missed_alarm_rate is None:
        return []
    judged = figures.anomalous_recordings - figures.too_short_recordings
    if judged:
        missed = 1 - figures.detected_recordings / judged
        found = f"an alarm rose in {figures.detected_recordings} of {count(judged, 'faulty test recording')}"
    else:
        missed = figures.missed_alarm_rate
        found = (
            f"{missed:.0%} of the {count(figures.anomalous_windows, 'window')} of the faulty test recordings lie at or "
            "below the threshold"
        )
    if missed < MISSED:
        return []
    ways = (
        f"train for more epochs (this took {epochs}, the paper takes 300), or try another front end (front_end.type), "
        "more training data or another place for the sensor."
    )
    if figures.separation is None:
        ways += (
            " Also give healthy recordings that were not trained on (--test-normal): AUC and the comparison with cheap "
            "baselines then show whether the scores tell the faults at all, or only the threshold lies too high."
        )
    return [Doubt("faults-missed", f"the model misses faults: {found}. To mend it, {ways}", serious=True)]


def short_doubts(windows: Sequence[int], *, windows_to_alarm: int, seconds_to_alarm: float) -> list[Doubt]:
    """Test recordings in which no alarm can rise, whatever they hold; `windows` has the number of each."""
    short = sum(0 < number < windows_to_alarm for number in windows)
    if not short:
        return []
    return [
        Doubt(
            "too-short-to-alarm",
            f"{short} of {count(len(windows), 'test recording')} cannot show an alarm, whatever they hold: it takes "
            f"{windows_to_alarm} windows in a row, and so {seconds_to_alarm:.3g} s at least. A monitor that runs on "
            "is not concerned. Test with longer recordings, or make windows shorter (window.window_seconds, "
            "window.window_hop_seconds) or decision.k smaller.",
        )
    ]


def _tells_faults(evaluation: Evaluation | None) -> bool:
    separation = evaluation.overall.separation if evaluation else None
    return separation is not None and separation.auc >= USABLE_AUC


def _all_the_same(evaluation: Evaluation | None) -> str:
    """How a model that reconstructs nothing does on labelled faults."""
    separation = evaluation.overall.separation if evaluation else None
    if separation is None:
        return "Labelled recordings (--test-normal, --test-anomalous) would show whether it finds faults all the same."
    if not _tells_faults(evaluation):
        return f"Its scores do not tell the labelled faults either (AUC {separation.auc:.3f})."
    return (
        f"All the same its scores tell the labelled faults (AUC {separation.auc:.3f}), as distances from the mean of "
        "normal running, which is what a very steady noise leaves to learn: change it only for one with a higher AUC."
    )


def _cause(history: Sequence[EpochMetrics], latent: LatentFigures, steps: int) -> str:
    """What most likely kept the training from learning, and what to do."""
    losses = [_loss(metrics) for metrics in history]
    lowest = losses[0]
    for loss in losses[1:]:
        if loss > JUMP * lowest:
            return (
                f"The loss jumped from {lowest:.4g} to {loss:.4g} on the way: the learning rate is too high. Lower "
                "training.learning_rate."
            )
        lowest = min(lowest, loss)
    earlier = losses[-1 - max(1, len(losses) // 5)] if len(losses) > 1 else losses[0]
    if steps < FEW_STEPS:
        return (
            f"It made {steps} gradient steps in {len(history)} epochs, and needs at least {FEW_STEPS}: train with "
            f"--epochs {math.ceil(FEW_STEPS * len(history) / max(1, steps))}, or on more data."
        )
    if losses[-1] < STILL_FALLING * earlier:
        return f"The loss was still falling after {len(history)} epochs: train with --epochs {2 * len(history)}."
    if latent.explained < EXPLAINED or latent.relative_variance < COLLAPSED:
        return (
            f"gamma ({history[-1].gamma:.3g}) probably outweighs the reconstruction and pulls every code to the "
            f"center: train with a tenth of it, --set training.gamma={history[-1].gamma / 10:.2g}."
        )
    return "Try another training.learning_rate, a larger network.latent or wider network.widths."


def _loss(metrics: EpochMetrics) -> float:
    return metrics.reconstruction_error + metrics.gamma * metrics.center_distance
