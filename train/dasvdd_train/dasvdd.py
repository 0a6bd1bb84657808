"""The method: score (eq. 2), objective (eq. 3), gamma (eq. 6) and one step of Algorithm 1.

Hojjati and Armanfard, "DASVDD: Deep Autoencoding Support Vector Data Descriptor for Anomaly Detection". Norms are sums
over features, as eq. 2 writes them. x are feature vectors [rows, features], z codes [rows, latent], c [latent].
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor, nn

CENTER_LEARNING_RATE = 1.0
CENTER_LEARNING_RATE_DECAY = 0.1
Autocast = Callable[[], torch.autocast]


def reconstruction_error(x: Tensor, x_hat: Tensor) -> Tensor:
    """||x_hat - x||^2 per row, [rows]."""
    return (x_hat - x).square().sum(dim=1)


def center_distance(z: Tensor, center: Tensor) -> Tensor:
    """||z - c||^2 per row, [rows]."""
    return (z - center).square().sum(dim=1)


@torch.no_grad()
def automatic_gamma(
    chunks: Callable[[], Iterable[Tensor]],
    build: Callable[[], tuple[nn.Module, nn.Module]],
    *,
    initialisations: int,
) -> float:
    """gamma of eq. 6: mean over T = `initialisations` fresh networks of mean_i ||x_hat_i - x_i||^2 / ||z_i||^2.

    `chunks` returns the training vectors, a few x [rows, features] at a time; `build` a newly initialised (encoder,
    decoder) on their device. c is zero, as section 3.3 says.
    """
    total = 0.0
    for _ in range(initialisations):
        encoder, decoder = build()
        ratio_sum, count = 0.0, 0
        for x in chunks():
            z = encoder(x)
            ratio = reconstruction_error(x, decoder(z)) / center_distance(z, torch.zeros_like(z[0]))
            ratio_sum += float(ratio.sum(dtype=torch.float64))
            count += len(x)
        total += ratio_sum / count
    return total / initialisations


class Optimisers:
    """Adam for encoder and decoder, AdaGrad for the center c (section 4.3)."""

    def __init__(
        self, encoder: nn.Module, decoder: nn.Module, center: Tensor, *, learning_rate: float, weight_decay: float
    ) -> None:
        self.networks = torch.optim.Adam(
            [*encoder.parameters(), *decoder.parameters()], lr=learning_rate, weight_decay=weight_decay, fused=True
        )
        self.center = torch.optim.Adagrad([center], lr=CENTER_LEARNING_RATE, lr_decay=CENTER_LEARNING_RATE_DECAY)


def split_batch(rows: int, kappa: float) -> int:
    """Rows of a batch that train the networks, floor(kappa * rows); the rest trains c. 0 if one part gets none."""
    # A float such as 0.9 * 10 = 9.000000000000002 or 0.7 * 10 = 6.999999999999999 must not move a row.
    for_networks = int(kappa * rows + 1e-9)
    return for_networks if 0 < for_networks < rows else 0


def step(
    encoder: nn.Module,
    decoder: nn.Module,
    center: Tensor,
    batch: Tensor,
    optimisers: Optimisers,
    *,
    gamma: float,
    kappa: float,
    autocast: Autocast,
) -> tuple[Tensor, Tensor]:
    """Algorithm 1 for one `batch` [rows, features]: the networks with c fixed, then c with the networks fixed.

    Updates networks and `center` (a leaf tensor that requires a gradient) in place. Returns the batch means of
    reconstruction error and center distance before the update, detached scalars on the batch's device. Raises
    ValueError for a batch too small to give both parts a row.
    """
    for_networks = split_batch(len(batch), kappa)
    if not for_networks:
        raise ValueError(f"a batch of {len(batch)} rows cannot be split by kappa = {kappa}: one part gets no row")
    x = batch[:for_networks]
    with autocast():
        z = encoder(x)
        x_hat = decoder(z)
    error = reconstruction_error(x, x_hat.float()).mean()
    distance = center_distance(z.float(), center.detach()).mean()
    optimisers.networks.zero_grad(set_to_none=True)
    torch.autograd.backward(error + gamma * distance)
    optimisers.networks.step()

    with torch.no_grad(), autocast():
        z = encoder(batch[for_networks:])
    center_loss = center_distance(z.float(), center).mean()
    optimisers.center.zero_grad(set_to_none=True)
    torch.autograd.backward(center_loss)
    optimisers.center.step()
    return error.detach(), distance.detach()


def batches(
    count: int, batch_rows: int, kappa: float, generator: torch.Generator, device: torch.device
) -> Iterator[Tensor]:
    """Shuffled row indices, `batch_rows` at a time; a final batch too small for both of its parts is dropped.

    `generator` is a CPU one, so that a seed gives the same order on every device.
    """
    order = torch.randperm(count, generator=generator).to(device)
    for indices in torch.split(order, batch_rows):
        if split_batch(len(indices), kappa):
            yield indices
