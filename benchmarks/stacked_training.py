"""What does training many models at once gain?  python benchmarks/stacked_training.py

Random data, batches of 200, three sizes of network: the paper's for tables, a middle one, and its 784-1024-256-256 for
images. In one run, in turns, the best turn of each counts; all figures are one step of all members:

- single: the trainer, one model after the other
- stack: the trainer, all members as one stack
- products: the batched matrix products of Algorithm 1 alone (forward, both gradients, the center's forward)
- memory: parameters, gradients and Adam's moments read and written once, at the bandwidth that a copy of 256 MiB has;
  what fits into a cache can be faster

The limit is the larger of the last two.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Literal

import click

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch is imported, as dasvdd-train does

import torch
from dasvdd_train.batches import split_batch
from dasvdd_train.features import FeatureVectors
from dasvdd_train.steps import train_to_epoch_end
from dasvdd_train.trainer import choose_device
from dasvdd_train.training_state import Member, Recipe, initial_state

SHAPES = {"table": (8, (10, 10), 4), "middle": (64, (128,), 32), "image": (784, (1024, 256), 256)}
STEPS, BATCH, KAPPA, GAMMA = 5, 200, 0.9, 0.1
BYTES_A_PARAMETER = 32
"""Parameter and two moments read and written, the gradient written and read, 4 bytes each."""
COPY_BYTES = 256 * 2**20

Precision = Literal["fp32", "bf16"]


def recipe_of(shape: str, precision: Precision) -> Recipe:
    """A recipe for networks of `shape`."""
    features, widths, latent = SHAPES[shape]
    return Recipe(features, widths, latent, BATCH, KAPPA, 1e-3, 1e-7, precision=precision)


def layers(recipe: Recipe) -> list[tuple[int, int]]:
    """(inputs, outputs) of every layer."""
    widths, latent = recipe.widths, recipe.latent
    return [*pairwise((recipe.features, *widths, latent)), *pairwise((latent, *reversed(widths), recipe.features))]


def trainer(recipe: Recipe, members: int, device: torch.device) -> Callable[[], object]:
    """STEPS steps of a stack of `members`."""
    rows = torch.rand(STEPS * BATCH, recipe.features, generator=torch.Generator().manual_seed(0))
    vectors = FeatureVectors(rows, torch.arange(len(rows)), 1)
    state = initial_state([Member(vectors, seed, 1, GAMMA, 1) for seed in range(members)], recipe, device)
    return lambda: train_to_epoch_end(state, recipe)


def products(recipe: Recipe, members: int, device: torch.device) -> Callable[[], object]:
    """The batched products of one step."""
    dtype = torch.bfloat16 if recipe.precision == "bf16" else torch.float32
    rows = split_batch(BATCH, KAPPA)

    def some(*shape: int) -> torch.Tensor:
        return torch.randn(members, *shape, dtype=dtype, device=device)

    sizes = layers(recipe)
    operands = [(some(rows, i), some(i, o), some(rows, o)) for i, o in sizes]
    center_operands = [(some(BATCH - rows, i), w) for (i, _), (_, w, _) in zip(sizes, operands, strict=True)]

    def step() -> None:
        for layer, (x, weight, gradient) in enumerate(operands):
            torch.bmm(x, weight)
            torch.bmm(x.transpose(1, 2), gradient)
            if layer:  # the data itself needs no gradient
                torch.bmm(gradient, weight.transpose(1, 2))
        for x, weight in center_operands[: len(recipe.widths) + 1]:
            torch.bmm(x, weight)

    return step


def copy(device: torch.device) -> Callable[[], object]:
    """A copy that reads and writes COPY_BYTES."""
    source = torch.ones(COPY_BYTES // 4, device=device)
    target = torch.empty_like(source)
    return lambda: target.copy_(source)


def memory_seconds(recipe: Recipe, members: int, copy_seconds: float) -> float:
    """Time of one step's traffic of parameters and optimiser, from that of a `copy`."""
    parameters = sum(i * o + o for i, o in layers(recipe))
    return members * parameters * BYTES_A_PARAMETER * copy_seconds / (2 * COPY_BYTES)


def best_seconds(ways: dict[str, Callable[[], object]], turns: int, device: torch.device) -> dict[str, float]:
    """The shortest of `turns` of each way, taken in turns after one that is not timed."""
    best = dict.fromkeys(ways, float("inf"))
    for turn in range(turns + 1):
        for name, way in ways.items():
            _wait(device)
            start = time.perf_counter()
            way()
            _wait(device)
            if turn:
                best[name] = min(best[name], time.perf_counter() - start)
    return best


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@click.command()
@click.option("--shapes", default="table,middle,image", show_default=True)
@click.option("--members", default="4,16", show_default=True, help="Sizes of the stack, separated by commas.")
@click.option("--precision", type=click.Choice(["fp32", "bf16"]), default="fp32", show_default=True)
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option("--turns", default=5, show_default=True)
def main(shapes: str, members: str, precision: Precision, device: str, turns: int) -> None:
    """Print the ratios."""
    place = choose_device(device)
    torch.set_flush_denormal(True)
    bandwidth = best_seconds({"copy": copy(place)}, turns, place)["copy"]
    click.echo(f"{place}, {precision}, copy at {2 * COPY_BYTES / bandwidth / 1e9:.1f} GB/s; ms a step of all members")
    click.echo("shape   members   single    stack  products   memory  single/stack  stack/products  stack/limit")
    for shape in shapes.split(","):
        recipe = recipe_of(shape, precision)
        for count in map(int, members.split(",")):
            ways = {
                "single": trainer(recipe, 1, place),
                "stack": trainer(recipe, count, place),
                "products": products(recipe, count, place),
            }
            best = best_seconds(ways, turns, place)
            single, stack, bare = count * best["single"] / STEPS, best["stack"] / STEPS, best["products"]
            memory = memory_seconds(recipe, count, bandwidth)
            figures = " ".join(f"{1000 * seconds:8.3f}" for seconds in (single, stack, bare, memory))
            click.echo(
                f"{shape:8}{count:7}  {figures}  {single / stack:12.2f}  {stack / bare:14.2f}  "
                f"{stack / max(bare, memory):11.2f}"
            )


if __name__ == "__main__":
    main()
