"""All of MNIST as the paper trains it: how long, and how good?  python benchmarks/mnist_complete.py DATA --device cuda

Ten digits, ten seeds, 300 epochs: a hundred models, as many at once as dasvdd-reproduce would take. DATA holds the
folder mnist/ with the four idx files. The bar is two minutes on one GPU for everything but reading the files; on a CPU,
choose a part of it: --classes 8 --seeds 1 --epochs 5. The limit is that of stacked_training.py, the batched matrix
products or the traffic of parameters and optimiser, for as many steps as were taken.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from pathlib import Path

import click

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch is imported, as dasvdd-train does

import numpy as np
import torch
from dasvdd_runtime.errors import DataError
from dasvdd_train.reproduction.datasets import OneClassSplit, load_dataset
from dasvdd_train.reproduction.methods import item_auc
from dasvdd_train.reproduction.paper import TABLE_2
from dasvdd_train.reproduction.preprocessing import preprocess
from dasvdd_train.reproduction.settings import settings_for
from dasvdd_train.reproduction.training import Job, fit_many, members_at_once
from dasvdd_train.trainer import choose_device
from stacked_training import Precision, best_seconds, copy, memory_seconds, products

BAR_SECONDS = 120


def limit_seconds(jobs: list[Job], at_once: int, device: torch.device) -> float:
    """Least time for the steps of all `jobs`, of which `at_once` are one stack."""
    recipe = jobs[0].recipe
    steps = sum(job.settings.epochs * len(job.rows) / recipe.batch_rows for job in jobs) / at_once
    ways = {"products": products(recipe, at_once, device), "copy": copy(device)}
    best = best_seconds(ways, 5, device)
    return steps * max(best["products"], memory_seconds(recipe, at_once, best["copy"]))


@click.command()
@click.argument("data", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--classes", default="0,1,2,3,4,5,6,7,8,9", show_default=True, help="Digits, separated by commas.")
@click.option("--seeds", type=click.IntRange(min=1), default=10, show_default=True)
@click.option("--epochs", type=click.IntRange(min=1), default=300, show_default=True)
@click.option("--stack", type=click.IntRange(min=1), default=None, help="Models at once; default: as dasvdd-reproduce.")
@click.option("--precision", type=click.Choice(["fp32", "tf32", "bf16"]), default="fp32", show_default=True)
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
def main(data: Path, classes: str, seeds: int, epochs: int, stack: int | None, precision: str, device: str) -> None:
    """Train and test, then print the time beside its limit and the mean AUC of each digit beside the paper's."""
    place = choose_device(device)
    torch.set_flush_denormal(True)
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    kind: Precision = "bf16" if precision == "bf16" else "fp32"
    settings = settings_for("mnist", {"epochs": epochs})
    images = load_dataset("mnist", data)
    splits: list[tuple[str, OneClassSplit]] = [
        (digit, preprocess(images.split(digit, seed=0), settings.preprocessing)) for digit in classes.split(",")
    ]
    work = [(digit, split, Job(split.train, settings, seed, kind)) for digit, split in splits for seed in range(seeds)]
    jobs = [job for _, _, job in work]
    at_once = min(len(jobs), members_at_once(jobs[0].recipe, stack, place))

    start = time.perf_counter()
    aucs: dict[str, list[float]] = defaultdict(list)
    scoring = 0.0
    for first in range(0, len(work), at_once):
        for number, fitted in fit_many(jobs[first : first + at_once], device=device):
            if isinstance(fitted, DataError):
                raise fitted
            scored = time.perf_counter()
            digit, split, _ = work[first + number]
            error, distance = fitted.terms(split.test)
            aucs[digit].append(item_auc(split.labels, error + fitted.gamma * distance))
            scoring += time.perf_counter() - scored
    seconds = time.perf_counter() - start

    for digit, values in aucs.items():
        paper = TABLE_2["mnist", digit]["DASVDD"]
        click.echo(
            f"digit {digit}: AUC {np.mean(values):.1f} +- {np.std(values):.1f} (paper {paper.mean}"
            f" +- {paper.deviation})"
        )
    limit = limit_seconds(jobs, at_once, place)
    click.echo(
        f"{len(jobs)} models, {at_once} at once, {epochs} epochs, {precision} on {place}: {seconds:.1f} s, of them "
        f"{scoring:.1f} s scoring; limit of training {limit:.1f} s, measured/limit {(seconds - scoring) / limit:.2f}"
    )
    if (len(splits), seeds, epochs, device) == (10, 10, 300, "cuda"):
        click.echo(f"bar {BAR_SECONDS} s: {'met' if seconds <= BAR_SECONDS else 'missed'}")
        raise SystemExit(seconds > BAR_SECONDS)


if __name__ == "__main__":
    main()
