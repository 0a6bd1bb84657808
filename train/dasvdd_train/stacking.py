"""Many networks of one shape as one: every layer is one batched matrix product for all members.

Explicit parameters with a leading member axis rather than torch.func: `vmap` over `functional_call` takes up to twice
the time of `baddbmm` where networks are small and no less where they are large. One network is a stack of one member.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class StackedLinear(nn.Module):
    """`members` linear layers side by side: [members, rows, inputs] -> [members, rows, outputs].

    weight is [members, inputs, outputs], so that its gradient, x^T g of each member, is made in place of a transposed
    copy; bias is [members, 1, outputs].
    """

    def __init__(self, members: int, inputs: int, outputs: int, device: torch.device) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(members, inputs, outputs, device=device))
        self.bias = nn.Parameter(torch.empty(members, 1, outputs, device=device))

    def forward(self, x: Tensor) -> Tensor:
        """[members, rows, inputs], or [1, rows, inputs] for all alike -> [members, rows, outputs]."""
        return torch.baddbmm(self.bias, x.expand(len(self.weight), -1, -1), self.weight)


class NetworkStack(nn.Sequential):
    """A sequence of StackedLinear and elementwise layers."""

    @torch.no_grad()
    def put(self, member: int, network: nn.Sequential) -> None:
        """Make `network` the member number `member`."""
        for stacked, layer in zip(self, network, strict=True):
            if isinstance(stacked, StackedLinear) and isinstance(layer, nn.Linear):
                stacked.weight[member].copy_(layer.weight.t())
                stacked.bias[member, 0].copy_(layer.bias)

    @torch.no_grad()
    def take(self, members: Tensor) -> NetworkStack:
        """A stack of copies of `members`, an index [n]; a member may be taken more than once."""
        layers = [_taken(layer, members) if isinstance(layer, StackedLinear) else layer for layer in self]
        return NetworkStack(*layers)


def empty_stack(members: int, like: nn.Sequential, device: torch.device) -> NetworkStack:
    """A stack for `members` networks of the shape of `like`, on `device`, its parameters not yet set."""
    layers = [
        StackedLinear(members, layer.in_features, layer.out_features, device) if isinstance(layer, nn.Linear) else layer
        for layer in like
    ]
    return NetworkStack(*layers)


def plain_parameters(stacked: dict[str, Tensor]) -> dict[str, Tensor]:
    """Parameters of one member as `NetworkStack.state_dict` has them -> as nn.Linear has them; not copied."""
    return {name: value[0].t() if name.endswith("weight") else value[0, 0] for name, value in stacked.items()}


def _taken(layer: StackedLinear, members: Tensor) -> StackedLinear:
    _, inputs, outputs = layer.weight.shape
    taken = StackedLinear(len(members), inputs, outputs, layer.weight.device)
    taken.weight.copy_(layer.weight[members])
    taken.bias.copy_(layer.bias[members])
    return taken
