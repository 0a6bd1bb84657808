"""How far is an epoch from its matrix products, and how far ahead of a plain loop?  python benchmarks/training_speed.py

Data of MNIST's shape (6 000 rows of 784, random), the network 784-1024-256-256 of the paper's image experiments,
batches of 200. The ways to spend an epoch take turns, so that a busy machine is as unkind to each, and the best turn of
each counts:

- products: the matrix products of Algorithm 1 alone (forward, both gradients, the center's forward), nothing else
- Adam: its steps alone, on parameters and gradients that are there
- ours: dasvdd_train's epoch, in fp32 and in bf16
- plain: the same steps written plainly: a DataLoader over single samples, torch's default Adam, a loss read each step
- ours compiled, with --compile: ours, with torch.compile for both networks (needs a C++ compiler)
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from itertools import pairwise

import click

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch is imported, as dasvdd-train does

import torch
from dasvdd_train.batches import split_batch
from dasvdd_train.config import TrainingSettings
from dasvdd_train.features import FrameTable, feature_vectors
from dasvdd_train.front_ends import Rows
from dasvdd_train.model import DasvddModel
from dasvdd_train.network import build_decoder, build_encoder
from dasvdd_train.steps import train_to_epoch_end
from dasvdd_train.trainer import member_for, recipe_for
from dasvdd_train.training_state import initial_state
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

ROWS, PIXELS, BATCH, WIDTHS, LATENT, KAPPA, GAMMA = 6000, 28 * 28, 200, (1024, 256), 256, 0.9, 100.0
PRODUCTS_BAR, PLAIN_BAR, PLAIN_BF16_BAR = 1.4, 2.5, 5.0
CPU = torch.device("cpu")

Epoch = Callable[[], object]


def ours(rows: Tensor, precision: str, *, compiled: bool = False) -> Epoch:
    """The trainer's epoch."""
    front_end = Rows(channels=PIXELS, channel_names=[f"pixel {i}" for i in range(PIXELS)])
    model = DasvddModel(front_end, stacked_frames=1, widths=WIDTHS, latent=LATENT)
    settings = TrainingSettings.model_validate(
        {"batch_rows": BATCH, "kappa": KAPPA, "gamma": GAMMA, "precision": precision, "device": "cpu"}
    )
    vectors = feature_vectors(model, FrameTable(rows.clone(), [len(rows)]))
    recipe = recipe_for(model, settings)
    state = initial_state([member_for(vectors, settings)], recipe, CPU)
    if compiled:
        state.encoder.compile()
        state.decoder.compile()
    return lambda: train_to_epoch_end(state, recipe)


def plain(rows: Tensor) -> Epoch:
    """Algorithm 1 as a tutorial would write it."""
    encoder = build_encoder(features=PIXELS, widths=WIDTHS, latent=LATENT)
    decoder = build_decoder(features=PIXELS, widths=WIDTHS, latent=LATENT)
    center = torch.randn(LATENT, requires_grad=True)
    networks = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=1e-3, weight_decay=1e-7)
    centers = torch.optim.Adagrad([center], lr=1, lr_decay=0.1)
    loader = DataLoader(TensorDataset(rows), batch_size=BATCH, shuffle=True)
    for_networks = split_batch(BATCH, KAPPA)

    def epoch() -> float:
        total = 0.0
        for (batch,) in loader:
            x = batch[:for_networks]
            z = encoder(x)
            loss = ((decoder(z) - x) ** 2).sum(1).mean() + GAMMA * ((z - center.detach()) ** 2).sum(1).mean()
            networks.zero_grad()
            loss.backward()
            networks.step()
            center_loss = ((encoder(batch[for_networks:]) - center) ** 2).sum(1).mean()
            centers.zero_grad()
            center_loss.backward()
            centers.step()
            total += loss.item()
        return total

    return epoch


def products(dtype: torch.dtype) -> Epoch:
    """The products of one epoch: x W^T forward, d^T x and d W back, and the center's forward."""
    sizes = [*pairwise((PIXELS, *WIDTHS, LATENT)), *pairwise((LATENT, *reversed(WIDTHS), PIXELS))]
    for_networks = split_batch(BATCH, KAPPA)
    weights = [torch.randn(outputs, inputs, dtype=dtype) for inputs, outputs in sizes]
    inputs = [torch.randn(for_networks, width, dtype=dtype) for width, _ in sizes]
    gradients = [torch.randn(for_networks, width, dtype=dtype) for _, width in sizes]
    center_inputs = [torch.randn(BATCH - for_networks, width, dtype=dtype) for width, _ in sizes[: len(WIDTHS) + 1]]

    def epoch() -> None:
        for _ in range(ROWS // BATCH):
            for layer, (weight, x, gradient) in enumerate(zip(weights, inputs, gradients, strict=True)):
                torch.mm(x, weight.t())
                torch.mm(gradient.t(), x)
                if layer:  # the data itself needs no gradient
                    torch.mm(gradient, weight)
            for weight, x in zip(weights, center_inputs, strict=False):
                torch.mm(x, weight.t())

    return epoch


def adam() -> Epoch:
    """Adam's steps of one epoch, in fp32, as ours takes them: parameters, gradients and moments once through memory."""
    networks = [build(features=PIXELS, widths=WIDTHS, latent=LATENT) for build in (build_encoder, build_decoder)]
    parameters = [parameter for network in networks for parameter in network.parameters()]
    for parameter in parameters:
        parameter.grad = torch.randn_like(parameter)
    optimiser = torch.optim.Adam(parameters, fused=True)

    def epoch() -> None:
        for _ in range(ROWS // BATCH):
            optimiser.step()

    return epoch


def best_seconds(ways: dict[str, Epoch], turns: int) -> dict[str, float]:
    """The shortest of `turns` epochs of each way, taken in turns after one that is not timed."""
    best = dict.fromkeys(ways, float("inf"))
    for turn in range(turns + 1):
        for name, epoch in ways.items():
            start = time.perf_counter()
            epoch()
            if turn:
                best[name] = min(best[name], time.perf_counter() - start)
    return best


@click.command()
@click.option("--turns", default=8, show_default=True)
@click.option("--compile", "with_compile", is_flag=True, help="Time torch.compile, too.")
def main(turns: int, with_compile: bool) -> None:
    """Print the ratios beside their bars; exit 1 if one is not met."""
    torch.set_flush_denormal(True)
    rows = torch.rand(ROWS, PIXELS, generator=torch.Generator().manual_seed(0))
    ways = {
        "products": products(torch.float32),
        "Adam": adam(),
        "ours": ours(rows, "fp32"),
        "plain": plain(rows),
        "products bf16": products(torch.bfloat16),
        "ours bf16": ours(rows, "bf16"),
    }
    if with_compile:
        ways |= {"ours compiled": ours(rows, "fp32", compiled=True)}
    best = best_seconds(ways, turns)
    for name, seconds in best.items():
        click.echo(f"{name}: {1000 * seconds:.0f} ms an epoch of {ROWS} rows")
    to_products = best["ours"] / best["products"]
    to_plain = best["plain"] / best["ours"]
    to_plain_bf16 = best["plain"] / best["ours bf16"]
    click.echo(f"ours takes {to_products:.2f} times its matrix products (bar {PRODUCTS_BAR})")
    click.echo(f"plain takes {to_plain:.2f} times ours in fp32 (bar {PLAIN_BAR})")
    click.echo(f"plain takes {to_plain_bf16:.2f} times ours in bf16 (bar {PLAIN_BF16_BAR})")
    limit, limit_bf16 = (best["plain"] / (best[name] + best["Adam"]) for name in ("products", "products bf16"))
    click.echo(f"limits: plain takes {limit:.2f} times products and Adam alone, {limit_bf16:.2f} times in bf16")
    if with_compile:
        click.echo(f"ours compiled takes {best['ours compiled'] / best['ours']:.2f} times ours")
    if to_products > PRODUCTS_BAR or to_plain < PLAIN_BAR or to_plain_bf16 < PLAIN_BF16_BAR:
        sys.exit(1)


if __name__ == "__main__":
    main()
