"""What `--recenter` does for a new microphone.  python benchmarks/recenter.py [FOLDER]

Claim: where a new microphone (half as loud, with another tilt of its spectrum) costs a model its AUC, recentring on
six minutes of healthy running brings it back to within 0.02, with at most 1 % of healthy windows above the threshold.

The machine is the demonstration's simulated one. FOLDER takes the recordings and the models; default: a temporary one.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import click
import numpy as np
import soundfile
from dasvdd_runtime import Scorer
from numpy.typing import NDArray
from scipy.signal import lfilter
from sklearn.metrics import roc_auc_score

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))

import simulated_machine

AUC_BAR, FALSE_BAR = 0.02, 0.01
EPOCHS = 30


def new_microphone(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """`samples` [samples] as another microphone has them: 6 dB less, and a first-order low pass."""
    return np.asarray(0.5 * lfilter([0.6], [1, -0.4], samples), np.float32)


def write(path: Path, samples: NDArray[np.float32]) -> None:
    """A mono WAV of `samples` [samples]."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, simulated_machine.SAMPLE_RATE_HZ, subtype="PCM_16")


def program(module: str, *arguments: str | Path) -> None:
    """Run one of the programs; its words go to standard error."""
    code = f"from {module}.cli import main; main()"
    subprocess.run([sys.executable, "-c", code, *map(str, arguments)], check=True, stdout=sys.stderr)


def figures(model: Path, healthy: NDArray[np.float32], broken: NDArray[np.float32]) -> tuple[float, float]:
    """AUC over windows, and the share of healthy ones above the threshold."""
    scorer = Scorer(model, provider="cpu")
    scores = [scorer.score_signal(samples[:, None]).score for samples in (healthy, broken)]
    auc = roc_auc_score(np.repeat([0, 1], [len(s) for s in scores]), np.concatenate(scores))
    return float(auc), float(np.mean(scores[0] > scorer.metadata.calibration.threshold))


def measure(folder: Path) -> bool:
    """Print the figures; whether they meet the bars."""
    for seed in range(5):
        write(folder / "healthy" / f"{seed}.wav", simulated_machine.healthy(seconds=60, seed=seed))
        write(folder / "new" / f"{seed}.wav", new_microphone(simulated_machine.healthy(seconds=90, seed=100 + seed)))
    healthy = simulated_machine.healthy(seconds=60, seed=50)
    broken = simulated_machine.developing_fault(seconds=30, fault_onset_seconds=0.0, seed=51)
    run = folder / "run"
    program("dasvdd_train", folder / "healthy", "--out", run, "--epochs", str(EPOCHS))
    program("dasvdd_export", run / "model.pt")
    program("dasvdd_export", run / "model.pt", "--recenter", folder / "new")
    before = figures(run / "model.onnx", healthy, broken)
    heard = new_microphone(healthy), new_microphone(broken)
    without = figures(run / "model.onnx", *heard)
    after = figures(run / "recentred" / "model.onnx", *heard)
    for name, (auc, above) in (
        ("the microphone of the training", before),
        ("the new microphone, as trained", without),
        ("the new microphone, recentred", after),
    ):
        click.echo(f"{name}: AUC {auc:.3f}, {above:.1%} of healthy windows above the threshold")
    return after[0] >= before[0] - AUC_BAR and after[1] <= FALSE_BAR


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), required=False)
def main(folder: Path | None) -> None:
    """Print the figures; exit 1 if a bar is not met."""
    with tempfile.TemporaryDirectory() as temporary:
        if not measure(folder or Path(temporary)):
            sys.exit(1)


if __name__ == "__main__":
    main()
