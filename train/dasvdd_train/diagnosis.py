"""What a finished training must be told off for: pure functions from figures to warnings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from .features import FeatureVectors
from .metrics import EpochMetrics
from .model import DasvddModel

FALL = 0.95
"""The loss must end below this share of the first epoch's."""
COLLAPSED = 1e-6
"""Variance of the codes against that of the feature vectors below which the latent space has collapsed."""
DEAD = 1e-3
"""Share of gamma * center_distance in the score below which the latent term decides nothing."""
EXPLAINED = 0.02
"""Share of the variance below which the autoencoder reconstructs nothing but the mean."""
FEW_BATCHES = 5
SHORT_SECONDS = 60.0


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
    indices = torch.linspace(0, len(vectors) - 1, min(len(vectors), 4096)).long()
    x = vectors.rows(indices)
    z = model.encoder(x)
    error = (model.decoder(z) - x).square().sum(dim=1).mean()
    distance = float(model.gamma) * (z - model.center).square().sum(dim=1).mean()
    variance = x.var(dim=0, correction=0).sum().clamp_min(1e-30)
    return LatentFigures(
        relative_variance=float(z.var(dim=0, correction=0).sum() / variance),
        latent_share=float(distance / (error + distance).clamp_min(1e-30)),
        explained=float(1 - error / variance),
    )


def warnings_of(
    history: Sequence[EpochMetrics],
    latent: LatentFigures,
    *,
    vectors: int,
    batch_rows: int,
    training_seconds: float,
    constant_bands: Sequence[str],
) -> list[str]:
    """One sentence for each thing that makes the model doubtful; empty when nothing does."""
    warnings = []
    first, last = (m.reconstruction_error + m.gamma * m.center_distance for m in (history[0], history[-1]))
    if len(history) > 1 and last > FALL * first:
        warnings.append(
            f"the loss did not fall: {first:.4g} in the first epoch, {last:.4g} in the last. Train for more epochs, "
            "or try another learning rate; a model that learned nothing detects nothing."
        )
    if latent.relative_variance < COLLAPSED:
        warnings.append(
            f"the latent space has collapsed: its variance is {latent.relative_variance:.1e} of the data's. Every "
            "input gets the same code. Lower training.gamma, or train for longer."
        )
    elif latent.explained < EXPLAINED:
        warnings.append(
            f"the autoencoder reconstructs nothing: it explains {latent.explained:.1%} of the data's variance, so that "
            f"every input gets the mean back. gamma ({history[0].gamma:.3g}) outweighs the reconstruction: raise "
            "network.latent, or lower training.gamma."
        )
    if latent.latent_share < DEAD:
        warnings.append(
            f"the latent term is dead: gamma * center_distance is {latent.latent_share:.1e} of the score, so that the "
            "reconstruction error alone decides. Raise training.gamma."
        )
    if vectors < FEW_BATCHES * batch_rows or training_seconds < SHORT_SECONDS:
        warnings.append(
            f"little data: {training_seconds:.0f} s in {vectors} feature vectors. Record at least "
            f"{SHORT_SECONDS:.0f} s, better an hour, over every way the machine runs when healthy."
        )
    if constant_bands:
        shown = ", ".join(constant_bands[:5]) + (" and more" if len(constant_bands) > 5 else "")
        warnings.append(
            f"{len(constant_bands)} constant band(s) or channel(s) in the training data: {shown}. Any change there "
            "will count in its raw unit. Leave a dead channel out with data.columns or data.channel."
        )
    return warnings
