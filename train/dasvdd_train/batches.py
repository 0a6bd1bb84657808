"""Which rows train what, step by step: each member shuffles its own rows and keeps its own epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


def split_batch(rows: int, kappa: float) -> int:
    """Rows of a batch that train the networks, floor(kappa * rows); the rest trains c. 0 if one part gets none.

    With kappa = 1 all of a batch of two rows and more trains the networks, and nothing trains c.
    """
    if kappa == 1:
        return rows if rows > 1 else 0
    # A float such as 0.9 * 10 = 9.000000000000002 or 0.7 * 10 = 6.999999999999999 must not move a row.
    for_networks = int(kappa * rows + 1e-9)
    return for_networks if 0 < for_networks < rows else 0


class BatchOrder:
    """The batches of one member: `count` rows shuffled anew each epoch, `batch_rows` at a time.

    A final batch too small for both of its parts is dropped. A batch is a row of a table [batches, batch_rows]: the
    first split_batch(batch_rows, kappa) columns train the networks, the others c, and a short final batch leaves the
    end of both parts empty: index 0 with weight 0. `generator` is a CPU one, so that a seed gives the same order on
    every device. Raises ValueError where no batch can be made.
    """

    def __init__(self, count: int, batch_rows: int, kappa: float, generator: torch.Generator) -> None:
        self.generator = generator
        self._count = count
        sizes = [batch_rows] * (count // batch_rows) + [count % batch_rows]
        self._parts = [(part, size - part) for size in sizes if (part := split_batch(size, kappa))]
        self.batches = len(self._parts)
        """Batches of an epoch."""
        if not self.batches:
            raise ValueError(f"{count} rows make no batch that kappa = {kappa:g} can split: one part gets no row")
        self._share = split_batch(batch_rows, kappa)
        self._weights = torch.zeros(self.batches, batch_rows)
        for batch, (for_networks, for_center) in enumerate(self._parts):
            self._weights[batch, :for_networks] = 1 / for_networks
            self._weights[batch, self._share : self._share + for_center] = 1 / max(1, for_center)
        self._filled = self._weights > 0
        self._table = torch.zeros(self.batches, batch_rows, dtype=torch.int64)
        self._done = 0

    @property
    def left(self) -> int:
        """Batches until the end of the epoch; at least one."""
        return self.batches - self._done

    def take(self, batches: int) -> tuple[Tensor, Tensor, list[tuple[int, int]]]:
        """The next `batches`, at most `left`: row indices and weights in their part's mean, each [batches, batch_rows].

        And of each batch its (rows for the networks, rows for c).
        """
        if self._done == 0:
            shuffled = torch.randperm(self._count, generator=self.generator)
            self._table[self._filled] = self._in_table_order(shuffled)
        here = slice(self._done, self._done + batches)
        self._done = (self._done + batches) % self.batches
        return self._table[here], self._weights[here], self._parts[here]

    def state(self) -> dict[str, Any]:
        """All that the batches to come depend on, for `restore`."""
        return {"generator": self.generator.get_state(), "table": self._table, "done": self._done}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Go on from what `state` gave."""
        self.generator.set_state(saved["generator"].cpu())
        self._table.copy_(saved["table"])
        self._done = saved["done"]

    def _in_table_order(self, shuffled: Tensor) -> Tensor:
        """The rows that are used: the shuffled ones in order, since the table is filled row by row."""
        return shuffled[: sum(for_networks + for_center for for_networks, for_center in self._parts)]


@dataclass(frozen=True)
class Schedule:
    """The next steps of a stack of members."""

    indices: Tensor
    """Rows, [steps, members, batch_rows]."""
    weights: Tensor
    """Their weights, likewise; 0 where a member's batch is shorter than another's."""
    columns: list[tuple[slice, slice]]
    """Of each step, the columns that train the networks and those that train c."""


def schedule(orders: Sequence[BatchOrder], first_rows: Sequence[int], *, share: int, device: torch.device) -> Schedule:
    """The steps until one of `orders` ends its epoch; the rows of a member begin at its `first_rows`.

    `share` is split_batch of a whole batch. Copied to the `device` at once, without waiting for it.
    """
    steps = min(order.left for order in orders)
    taken = [order.take(steps) for order in orders]
    indices = torch.stack([table + first for (table, _, _), first in zip(taken, first_rows, strict=True)], dim=1)
    weights = torch.stack([weight for _, weight, _ in taken], dim=1)
    most = [
        (max(parts[step][0] for _, _, parts in taken), max(parts[step][1] for _, _, parts in taken))
        for step in range(steps)
    ]
    columns = [(slice(0, networks), slice(share, share + center)) for networks, center in most]
    return Schedule(_to(device, indices), _to(device, weights), columns)


def _to(device: torch.device, tensor: Tensor) -> Tensor:
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor
