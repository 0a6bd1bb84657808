"""One digit as the normal class: does training reproduce the paper?  python benchmarks/mnist_one_class.py DATA

DATA holds the four original idx files, gzip. Train on the digit's training images, raw pixels from 0 to 1; test on the
whole test set, every other digit anomalous (section 4.1). About five minutes on one core. Table 2 of the paper has, by
digit: 99.7 99.9 95.4 96.2 98.1 97.2 99.6 98.1 94.2 98.3.
"""

from __future__ import annotations

import gzip
from pathlib import Path

import click
import numpy as np
import torch
from dasvdd_train.config import TrainingSettings
from dasvdd_train.features import FrameTable, feature_vectors
from dasvdd_train.front_ends import Rows
from dasvdd_train.model import DasvddModel
from dasvdd_train.trainer import train
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

PIXELS = 28 * 28
PAPER_AUC = (99.7, 99.9, 95.4, 96.2, 98.1, 97.2, 99.6, 98.1, 94.2, 98.3)


def read_images(path: Path) -> torch.Tensor:
    """Images of an idx3 file as rows [images, 784], 0 to 1."""
    raw = np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=16)
    return torch.from_numpy(raw.reshape(-1, PIXELS) / np.float32(255))


def read_labels(path: Path) -> NDArray[np.uint8]:
    """Labels of an idx1 file."""
    return np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=8)


def aucs(
    data: Path, digit: int, epochs: int, seed: int, precision: str, train_images: int
) -> tuple[float, float, float]:
    """AUC in points of the score and of its reconstruction term, and gamma, after training on the digit."""
    images = read_images(data / "train-images-idx3-ubyte.gz")[read_labels(data / "train-labels-idx1-ubyte.gz") == digit]
    images = images[: train_images or None]
    front_end = Rows(channels=PIXELS, channel_names=[f"pixel {i}" for i in range(PIXELS)])
    model = DasvddModel(front_end, stacked_frames=1, widths=(1024, 256), latent=256)
    vectors = feature_vectors(model, FrameTable(images, [len(images)]))
    history = train(
        model, vectors, None, TrainingSettings.model_validate({"epochs": epochs, "seed": seed, "precision": precision})
    )
    with torch.no_grad():
        score, error, _, _ = model(read_images(data / "t10k-images-idx3-ubyte.gz")[:, None])
    anomalous = read_labels(data / "t10k-labels-idx1-ubyte.gz") != digit
    of_score, of_error = (100 * float(roc_auc_score(anomalous, values)) for values in (score, error))
    return of_score, of_error, history[0].gamma


@click.command()
@click.argument("data", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--digit", type=click.IntRange(0, 9), default=8, show_default=True)
@click.option("--epochs", type=click.IntRange(min=1), default=300, show_default=True)
@click.option("--seed", default=0, show_default=True, help="The first seed.")
@click.option(
    "--seeds", type=click.IntRange(min=1), default=1, show_default=True, help="How many seeds, from --seed on."
)
@click.option("--train-images", type=click.IntRange(min=0), default=0, show_default=True, help="The first N; 0 = all.")
@click.option("--precision", type=click.Choice(["fp32", "bf16", "both"]), default="fp32", show_default=True)
def main(data: Path, digit: int, epochs: int, seed: int, seeds: int, train_images: int, precision: str) -> None:
    """Train on one digit and print the AUC of the score and of its reconstruction term beside the paper's.

    With --precision both, print what bf16 adds to the AUC of the score: mean over the seeds and standard deviation.
    """
    differences = []
    for this_seed in range(seed, seed + seeds):
        of_seed = []
        for one in ("fp32", "bf16") if precision == "both" else (precision,):
            of_score, of_error, gamma = aucs(data, digit, epochs, this_seed, one, train_images)
            of_seed.append(of_score)
            click.echo(
                f"digit {digit}, {epochs} epochs, seed {this_seed}, {one}: AUC {of_score:.2f} (paper "
                f"{PAPER_AUC[digit]}), reconstruction alone {of_error:.2f}, gamma {gamma:.0f} "
                f"(per feature {gamma / PIXELS:.2f})"
            )
        differences.append(of_seed[-1] - of_seed[0])
    if precision == "both":
        spread = f", standard deviation {np.std(differences, ddof=1):.3f}" if seeds > 1 else ""
        click.echo(f"bf16 - fp32 over {seeds} seeds: {np.mean(differences):+.3f} points{spread}")


if __name__ == "__main__":
    main()
