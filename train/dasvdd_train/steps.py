"""The steps of Algorithm 1 that a stack of members takes together, up to the end of an epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from .batches import schedule, split_batch
from .dasvdd import Part, step
from .training_state import Recipe, TrainingState

DENORMAL = 1e-40
"""A float32 that is next to nothing; 0 where such numbers are flushed."""

StepObserver = Callable[[TrainingState, Tensor, Tensor], None]
"""Told after each step of the state and of both terms before it, each [members]."""


@contextmanager
def denormals_flushed() -> Iterator[None]:
    """Numbers next to nothing count as zero meanwhile: a weight that dies away would slow every product."""
    before = bool(torch.tensor(DENORMAL) == 0)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


def train_to_epoch_end(
    state: TrainingState, recipe: Recipe, on_step: StepObserver | None = None
) -> dict[int, tuple[float, float]]:
    """Step until at least one member ends its epoch, and wait for the device only then.

    Returns of each member that does, by its position, the means of reconstruction error and center distance over its
    epoch.
    """
    train_steps(state, recipe, on_step)
    ended = [position for position, run in enumerate(state.members) if run.order.left == run.order.batches]
    batches = [state.members[position].order.batches for position in ended]
    sums = state.sums[:, ended].T.tolist()
    state.sums[:, ended] = 0
    return {
        position: (error / count, distance / count)
        for position, count, (error, distance) in zip(ended, batches, sums, strict=True)
    }


def train_steps(state: TrainingState, recipe: Recipe, on_step: StepObserver | None = None) -> None:
    """All steps until the first end of a member's epoch; nothing waits for the device."""
    device = state.center.device

    def autocast() -> torch.autocast:
        return torch.autocast(device.type, dtype=torch.bfloat16, enabled=recipe.precision == "bf16")

    share = split_batch(recipe.batch_rows, recipe.kappa)
    orders, first_rows = zip(*((run.order, run.first_row) for run in state.members), strict=True)
    plan = schedule(orders, first_rows, share=share, device=device)

    def part(number: int, columns: slice) -> Part:
        return Part(state.vectors.rows(plan.indices[number, :, columns]), plan.weights[number, :, columns])

    for number, (for_networks, for_center) in enumerate(plan.columns):
        terms = step(
            state.encoder,
            state.decoder,
            state.center,
            part(number, for_networks),
            part(number, for_center) if recipe.kappa < 1 else None,
            state.optimisers,
            gamma=state.gamma,
            autocast=autocast,
        )
        state.sums += torch.stack(terms)
        if on_step is not None:
            on_step(state, *terms)
