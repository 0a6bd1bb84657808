"""AUC on recordings of brushless motors: does it hear a damaged propeller?  python benchmarks/bldc_motor_audio.py DATA

Data: "BLDC motor audio" (Mendeley Data j4yr5fmhv4, CC BY 4.0); DATA is the folder that holds `Healthy` and `Propeller`.
Protocol: motors M1 and M2; train on the first 6 s of each healthy recording, test on what follows in them (normal) and
on the propeller recordings (anomalous), over windows of 1 s. Default settings only, mean of three seeds.
"""

from __future__ import annotations

import csv
import subprocess
import sys
import tempfile
from pathlib import Path

import click
from dasvdd_train.model_file import load_model

MOTORS = ("M1", "M2")
TRAIN_SECONDS = 6
BAR = 0.97


def write_manifest(data: Path, path: Path) -> None:
    """The protocol as a manifest for dasvdd-train."""
    rows: list[tuple[object, ...]] = []
    for motor in MOTORS:
        for file in sorted((data / "Healthy" / motor).glob("*.wav")):
            rows.append((file.resolve(), 0, TRAIN_SECONDS, "train", motor, "healthy"))
            rows.append((file.resolve(), TRAIN_SECONDS, "", "test_normal", motor, "healthy"))
        for file in sorted((data / "Propeller" / motor).glob("*.wav")):
            rows.append((file.resolve(), 0, "", "test_anomalous", motor, "propeller"))
    if not rows:
        raise click.ClickException(f"{data} holds no Healthy/M1/*.wav: give the folder of the data set")
    with path.open("w", newline="") as manifest:
        writer = csv.writer(manifest)
        writer.writerow(("path", "start_seconds", "end_seconds", "role", "machine", "condition"))
        writer.writerows(rows)


def mahalanobis_auc(manifest: Path, run: Path) -> float:
    """AUC of a cheap rival on the same split and features: Mahalanobis distance of the mean feature vector."""
    import numpy as np
    from dasvdd_runtime.reading.manifest import Role, find_segments
    from dasvdd_runtime.windows import cut_windows
    from dasvdd_train.corpus import load_corpus
    from dasvdd_train.features import as_input
    from dasvdd_train.split import hold_out
    from numpy.typing import NDArray
    from sklearn.covariance import LedoitWolf
    from sklearn.metrics import roc_auc_score

    trained = load_model(run / "model.pt")
    corpus = load_corpus(find_segments(manifest), trained.config.data)
    corpus = hold_out(
        corpus, trained.config.data, window_samples=trained.window_samples, minimum_train_samples=trained.window_samples
    )

    def means(role: Role) -> NDArray[np.float32]:
        rows = []
        for stretch in corpus.with_role(role):
            windows = cut_windows(
                stretch.samples[:], window_samples=trained.window_samples, hop_samples=trained.window_hop_samples
            )
            if len(windows):
                rows.append(trained.model.frames(as_input(windows, trained.kind)).mean(dim=1).numpy())
        return np.concatenate(rows)

    fitted = LedoitWolf().fit(means("train"))
    distances = [fitted.mahalanobis(means(role)) for role in ("test_normal", "test_anomalous")]
    labels = [0] * len(distances[0]) + [1] * len(distances[1])
    return float(roc_auc_score(labels, np.concatenate(distances)))


@click.command()
@click.argument("data", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--seeds", default=3, show_default=True)
@click.option("--precision", type=click.Choice(["fp32", "bf16"]), default="fp32", show_default=True)
def main(data: Path, seeds: int, precision: str) -> None:
    """Train with the defaults, once a seed, and print the AUC of each and their mean."""
    program = Path(sys.executable).with_name("dasvdd-train")
    aucs = []
    with tempfile.TemporaryDirectory() as folder:
        manifest = Path(folder) / "protocol.csv"
        write_manifest(data, manifest)
        for seed in range(seeds):
            out = Path(folder) / f"seed{seed}"
            done = subprocess.run(
                [program, manifest, "--out", out, "--seed", str(seed), "--precision", precision],
                check=True,
                stdout=subprocess.PIPE,
                text=True,
            )
            line = next(line for line in done.stdout.splitlines() if line.startswith("AUC"))
            click.echo(f"seed {seed}: {line}")
            aucs.append(float(line.split()[1].rstrip(",")))
        rival = mahalanobis_auc(manifest, out)
    mean = sum(aucs) / len(aucs)
    click.echo(f"mean AUC {mean:.4f} of {seeds} seeds, bar {BAR}; Mahalanobis on the same features {rival:.4f}")
    if mean < BAR:
        sys.exit(1)


if __name__ == "__main__":
    main()
