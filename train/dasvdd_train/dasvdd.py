"""The method: score (eq. 2), objective (eq. 3), gamma (eq. 6) and one step of Algorithm 1.

Hojjati and Armanfard, "DASVDD: Deep Autoencoding Support Vector Data Descriptor for Anomaly Detection". Norms are sums
over features, as eq. 2 writes them. x are feature vectors [rows, features], z codes [rows, latent], c [latent]; in
training all have a leading axis of members, independent models of one shape, c then being [members, 1, latent].
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn

CENTER_LEARNING_RATE = 1.0
CENTER_LEARNING_RATE_DECAY = 0.1
Autocast = Callable[[], torch.autocast]


def reconstruction_error(x: Tensor, x_hat: Tensor) -> Tensor:
    """||x_hat - x||^2 per row, [..., rows]."""
    return (x_hat - x).square().sum(dim=-1)


def center_distance(z: Tensor, center: Tensor) -> Tensor:
    """||z - c||^2 per row, [..., rows]."""
    return (z - center).square().sum(dim=-1)


@torch.no_grad()
def automatic_gamma(chunks: Iterable[Tensor], encoder: nn.Module, decoder: nn.Module) -> Tensor:
    """gamma of eq. 6: mean over T fresh networks of mean_i ||x_hat_i - x_i||^2 / ||z_i||^2; scalar, float64.

    `chunks` are the training vectors, a few x [rows, features] at a time; `encoder` and `decoder` are T newly
    initialised ones, stacked. c is zero, as section 3.3 says.
    """
    total, count = torch.zeros((), dtype=torch.float64), 0
    for x in chunks:
        z = encoder(x[None])
        ratio = reconstruction_error(x, decoder(z)) / center_distance(z, torch.zeros_like(z[:, :1]))
        total = total.to(x.device) + ratio.mean(dim=0, dtype=torch.float64).sum()
        count += len(x)
    return total / count


class Optimisers:
    """Adam for encoders and decoders, AdaGrad for the centers c (section 4.3).

    Both work on each element by itself, so one for all members is the same as one for each: all have taken as many
    steps.
    """

    def __init__(
        self, encoder: nn.Module, decoder: nn.Module, center: Tensor, *, learning_rate: float, weight_decay: float
    ) -> None:
        self.networks = torch.optim.Adam(
            [*encoder.parameters(), *decoder.parameters()], lr=learning_rate, weight_decay=weight_decay, fused=True
        )
        self.center = torch.optim.Adagrad(
            [center], lr=CENTER_LEARNING_RATE, lr_decay=CENTER_LEARNING_RATE_DECAY, fused=center.device.type == "cpu"
        )

    @torch.no_grad()
    def keep(self, members: Tensor) -> None:
        """Go on with `members` alone, an index [n]: their parameters, in place, and what is known of each."""
        for optimiser in (self.networks, self.center):
            for parameter, known in optimiser.state.items():
                for name, value in known.items():
                    if value.shape == parameter.shape:
                        known[name] = value[members]
            for group in optimiser.param_groups:
                for parameter in group["params"]:
                    parameter.grad = None
                    parameter.data = parameter.data[members]


class Part(NamedTuple):
    """The rows of a batch that train one thing."""

    x: Tensor
    """[members, rows, features]."""
    weights: Tensor
    """Of each row in its member's mean, [members, rows]: they sum to 1, and are 0 where a member has fewer rows."""


def step(
    encoder: nn.Module,
    decoder: nn.Module,
    center: Tensor,
    for_networks: Part,
    for_center: Part | None,
    optimisers: Optimisers,
    *,
    gamma: Tensor,
    autocast: Autocast,
) -> tuple[Tensor, Tensor]:
    """Algorithm 1 for one batch of each member: the networks with c fixed, then c with the networks fixed.

    Updates networks and `center` (a leaf tensor that requires a gradient) in place; without `for_center` c stays.
    `gamma` is [members]. Returns the means over `for_networks` of reconstruction error and center distance before the
    update, each [members], detached, on the batch's device.
    """
    x, weights = for_networks
    with autocast():
        z = encoder(x)
        x_hat = decoder(z)
    error = (reconstruction_error(x, x_hat.float()) * weights).sum(dim=-1)
    distance = (center_distance(z.float(), center.detach()) * weights).sum(dim=-1)
    optimisers.networks.zero_grad(set_to_none=True)
    torch.autograd.backward((error + gamma * distance).sum())  # no member's loss knows another's parameters
    optimisers.networks.step()
    if for_center is not None:
        x, weights = for_center
        with torch.no_grad(), autocast():
            z = encoder(x)
        center_loss = (center_distance(z.float(), center) * weights).sum()
        optimisers.center.zero_grad(set_to_none=True)
        torch.autograd.backward(center_loss)
        optimisers.center.step()
    return error.detach(), distance.detach()
