"""Make the tiny models of the current schema: python tests/data/make_tiny_models.py tests/data/schema_1.0

Every released schema keeps its files; they must load and score the same for ever. Recordings are made from a seed, so
that the script needs nothing but the project.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import soundfile

AUDIO_RATE_HZ = 8000
SENSOR_RATE_HZ = 50
TINY = [
    "--set", "front_end.n_fft=128", "--set", "front_end.frame_hop_samples=64", "--set", "front_end.mel_bands=8",
    "--set", "front_end.stacked_frames=2", "--set", "network.widths=[12]", "--set", "network.latent=4",
    "--set", "window.window_seconds=0.5", "--set", "window.window_hop_seconds=0.25",
    "--set", "training.batch_rows=50", "--epochs", "8",
]  # fmt: skip


def write_audio(folder: Path, *, files: int = 3, seconds: float = 12.0, tone_hz: float = 440.0, seed: int = 0) -> None:
    """Mono 16-bit WAVs of a tone in noise."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * AUDIO_RATE_HZ)) / AUDIO_RATE_HZ
    for number in range(files):
        samples = 0.2 * np.sin(2 * np.pi * tone_hz * time) + 0.02 * rng.standard_normal(len(time))
        soundfile.write(folder / f"normal_{number}.wav", samples, AUDIO_RATE_HZ, subtype="PCM_16")


def write_sensor(folder: Path, *, files: int = 3, seconds: float = 60.0, swing: float = 1.0, seed: int = 0) -> None:
    """CSVs of a three-axis accelerometer in g, with a header, on a machine that turns at 7 Hz."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * SENSOR_RATE_HZ)) / SENSOR_RATE_HZ
    for number in range(files):
        turn = 2 * np.pi * 7 * time
        rows = np.stack([0.1 * np.sin(turn), 0.1 * np.cos(turn), np.ones_like(time)], axis=1) * [swing, swing, 1]
        rows += 0.01 * rng.standard_normal(rows.shape)
        np.savetxt(folder / f"normal_{number}.csv", rows, fmt="%.5f", delimiter=",", header="x,y,z", comments="")


def train_and_export(data: Path, out: Path, *options: str) -> None:
    """Train a tiny model on `data` and export it, with the real programs."""
    for module, arguments in (
        ("dasvdd_train.cli", [str(data), "--out", str(out), *TINY, *options]),
        ("dasvdd_export.cli", [str(out / "model.pt")]),
    ):
        code = f"from {module} import main; main()"
        done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{module} {' '.join(arguments)} exited with {done.returncode}:\n{done.stderr}")


def make_audio(folder: Path) -> Path:
    """A tiny audio model in `folder`/run; returns that run's folder."""
    write_audio(folder / "recordings")
    train_and_export(folder / "recordings", folder / "run", "--name", "tiny audio")
    return folder / "run"


def make_sensor(folder: Path) -> Path:
    """A tiny sensor model in `folder`/run; returns that run's folder."""
    write_sensor(folder / "recordings")
    train_and_export(
        folder / "recordings",
        folder / "run",
        "--name",
        "tiny sensor",
        "--rate",
        str(SENSOR_RATE_HZ),
        "--units",
        "g,g,g",
    )
    return folder / "run"


def main(target: Path) -> None:
    """Write audio and sensor models and the scores of a seeded window, for the test that loads them for ever."""
    import tempfile

    from dasvdd_runtime import Scorer

    for kind, make in (("audio", make_audio), ("sensor", make_sensor)):
        with tempfile.TemporaryDirectory() as folder:
            run = make(Path(folder))
            for suffix in ("pt", "onnx"):
                (target / f"{kind}.{suffix}").write_bytes((run / f"model.{suffix}").read_bytes())
        scorer = Scorer(target / f"{kind}.onnx", provider="cpu")
        windows = seeded_windows(scorer.metadata.window_samples, scorer.metadata.channels)
        expected = {"scores": scorer.score_windows(windows).score.tolist()}
        (target / f"{kind}.json").write_text(json.dumps(expected, indent=1) + "\n")


def seeded_windows(window_samples: int, channels: int) -> np.ndarray:  # type: ignore[type-arg]  # a test's array
    """Two windows of noise, the same for ever."""
    grid = np.arange(2 * window_samples * channels, dtype=np.float64)
    return (
        (0.1 * np.sin(grid * 12.9898) * np.cos(grid * 78.233)).astype(np.float32).reshape(2, window_samples, channels)
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
