"""Does the exported graph say what the trained model says? torch and onnxruntime on the same windows."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from dasvdd_runtime.contract import OUTPUT_NAMES
from dasvdd_runtime.errors import DasvddError
from dasvdd_runtime.golden import relative_difference, relative_differences
from dasvdd_train.features import as_input
from dasvdd_train.model import DasvddModel
from dasvdd_train.model_file import TrainedModel
from numpy.typing import NDArray

STRICT = 1e-5
LOOSE = 1e-4
"""Tones, squares and clipped input put bins onto the log's floor, where fp32 rounding shows (measured: 1.6e-4 with a
floor nearer the rounding; 1e-5 with ours)."""
ROUNDING = 8.0
"""fp32 rounding errors of a reconstructed feature, in units of 2**-23: six matrix products in two programs. Against
float64, torch and onnxruntime were each seen to be off by up to 5. It matters only where the reconstruction is so good
that the score is the square of little else, as on a sensor that stands still."""
AS_FAR_FROM_FLOAT64 = 4.0
"""The graph may be this much further from float64 than torch's float32 is. For usual sounds that lies far below STRICT;
it counts where noise lies 60 dB and more below a steady tone, a transformer's hum say, whose rounding it drowns in."""
BATCHES = (1, 3, 64)
LATENCY_TURNS = 30
"""Times that torch and the graph score a window in turns."""

Run = Callable[[NDArray[np.float32]], dict[str, NDArray[np.float64]]]
"""The graph: windows in its input's layout -> outputs by name."""


class ParityError(DasvddError):
    """The graph does not say what the model says; nothing was written."""


@dataclass(frozen=True)
class Finding:
    """One kind of input, compared."""

    name: str
    windows: int
    difference: float
    """Relative difference of the score in the window that comes closest to its limit, over every batch size."""
    limit: float
    """What is allowed there: the limit of this kind of input, or what fp32 rounding alone can make of that score."""

    @property
    def agrees(self) -> bool:
        """False also for a difference that is not a number, and where float32 itself has no finite score to compare."""
        return math.isfinite(self.limit) and self.difference <= self.limit

    @property
    def fault(self) -> str:
        """Why it does not agree, in words."""
        if not math.isfinite(self.limit):
            return (
                f"{self.name}: torch's own scores do not fit into float32, so nothing can be compared with them. "
                "Is a channel of the training almost constant?"
            )
        return f"{self.name}: relative difference {self.difference:.2g}, allowed {self.limit:.0e}"


def compare(trained: TrainedModel, run: Run, held_out: NDArray[np.float32]) -> list[Finding]:
    """Compare torch and `run` on `held_out` [windows, samples, channels] and on synthetic windows.

    Silence, noise and real windows must agree to 1e-5 relative, tones, squares and clipped input to 1e-4; a score so
    small that rounding shows must agree to `rounding_limit`; and input of which float32 itself knows less, as torch's
    own distance from float64 shows, to AS_FAR_FROM_FLOAT64 times that distance.
    """
    findings = []
    features = trained.model.bands * trained.model.stacked_frames
    exact = copy.deepcopy(trained.model).double()
    for name, windows, limit in cases(trained, held_out):
        batch = as_input(windows, trained.kind).numpy()
        expected = _torch_scores(trained.model, batch)
        own = relative_difference(expected, _torch_scores(exact, batch.astype(np.float64)))
        limits = np.maximum(max(limit, AS_FAR_FROM_FLOAT64 * own), rounding_limit(expected, features))
        differences = np.concatenate(
            [relative_differences(_in_batches(run, batch, size), expected)[None] for size in BATCHES]
        ).max(axis=0)
        worst = int(np.argmax(differences / limits))
        findings.append(Finding(name, len(windows), float(differences[worst]), float(limits[worst])))
    return findings


def rounding_limit(scores: NDArray[np.float64], features: int) -> NDArray[np.float64]:
    """Relative error that fp32 rounding alone can make of `scores` [windows].

    A rounding error d in each residual r changes sum r^2 by up to 2 |r| |d|; standardised features are of size 1, so
    |d| is ROUNDING * 2**-23 * sqrt(features).
    """
    error = ROUNDING * float(np.finfo(np.float32).eps) * np.sqrt(features)
    limits: NDArray[np.float64] = 2 * error / np.sqrt(np.maximum(scores, np.finfo(np.float32).tiny))
    return limits


def nan_findings(trained: TrainedModel, run: Run, held_out: NDArray[np.float32]) -> list[str]:
    """Faults in how the graph treats a NaN; empty if each window with a NaN, and no other, is NaN in every output.

    In the residual it may be in one band alone.

    Tries the first, a middle and the last sample of every channel.
    """
    faults = []
    clean = held_out[:1].repeat(3, axis=0)
    for channel in range(trained.channels):
        for sample in sorted({0, trained.window_samples // 2, trained.window_samples - 1}):
            windows = clean.copy()
            windows[1, sample, channel] = np.nan
            out = run(as_input(windows, trained.kind).numpy())
            lost = [name for name, values in out.items() if not np.isnan(values[1]).any()]
            if lost:
                faults.append(f"NaN in sample {sample} of channel {channel} is lost in {', '.join(lost)}")
            if any(np.isnan(values[[0, 2]]).any() for values in out.values()):
                faults.append(f"NaN in sample {sample} of channel {channel} reaches other windows of the batch")
    return faults


def decision_flips(
    trained: TrainedModel, run: Run, held_out: NDArray[np.float32], threshold: float, tolerance: float = STRICT
) -> int:
    """Held-out windows further than `tolerance`, relative, from `threshold` that lie on its other side in the graph."""
    batch = as_input(held_out, trained.kind).numpy()
    expected = _torch_scores(trained.model, batch)
    found = np.concatenate([run(batch[start : start + 64])["score"] for start in range(0, len(batch), 64)])
    apart = np.abs(expected - threshold) > tolerance * abs(threshold)
    return int(((found > threshold) != (expected > threshold))[apart].sum())


def inconsistency(run: Run, windows: NDArray[np.float32], gamma: float) -> float:
    """Largest relative fault in score = reconstruction_error + gamma * center_distance and in the residual's sum.

    `windows` are laid out as the graph's input.
    """
    out = run(windows)
    error, distance = out["reconstruction_error"], out["center_distance"]
    return max(
        relative_difference(error + gamma * distance, out["score"]),
        relative_difference(out["residual"].sum(axis=1), error),
    )


def latency_milliseconds(trained: TrainedModel, run: Run) -> tuple[float, float]:
    """Median time of one window in torch and in the graph, interleaved, one thread each."""
    window = as_input(np.zeros((1, trained.window_samples, trained.channels), np.float32), trained.kind)

    def in_torch() -> None:
        trained.model(window)

    def in_graph() -> None:
        run(window.numpy())

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    times: list[list[float]] = [[], []]
    try:
        with torch.no_grad():
            for _ in range(LATENCY_TURNS):
                for column, score in enumerate((in_torch, in_graph)):
                    started = time.perf_counter()
                    score()
                    times[column].append(1000 * (time.perf_counter() - started))
    finally:
        torch.set_num_threads(threads)
    return float(np.median(times[0])), float(np.median(times[1]))


def session_runner(session: object) -> Run:
    """`Run` over an onnxruntime InferenceSession."""

    def run(windows: NDArray[np.float32]) -> dict[str, NDArray[np.float64]]:
        outputs = session.run(list(OUTPUT_NAMES), {"window": windows})  # type: ignore[attr-defined]
        return {name: np.asarray(out, np.float64) for name, out in zip(OUTPUT_NAMES, outputs, strict=True)}

    return run


def _torch_scores(model: DasvddModel, batch: NDArray[Any]) -> NDArray[np.float64]:
    with torch.no_grad():
        return np.concatenate([model(part)[0].double().numpy() for part in torch.split(torch.from_numpy(batch), 64)])


def _in_batches(run: Run, batch: NDArray[np.float32], size: int) -> NDArray[np.float64]:
    """Scores of all windows of `batch`, the graph run with exactly `size` windows at a time."""
    parts = [batch[start : start + size] for start in range(0, len(batch), size)]
    return np.concatenate([run(_filled(part, size))["score"][: len(part)] for part in parts])


def _filled(part: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """`part` repeated up to `size` windows, so that the graph really runs at that batch."""
    return np.resize(part, (size, *part.shape[1:]))


def cases(trained: TrainedModel, held_out: NDArray[np.float32]) -> Iterator[tuple[str, NDArray[np.float32], float]]:
    """Name, windows [windows, samples, channels] and limit. Sensors: synthetic signals around the training mean."""
    samples, channels = trained.window_samples, trained.channels
    audio = trained.kind == "audio"
    # Audio swings over full scale; a sensor over ten standard deviations about its mean.
    middle = np.zeros(channels) if audio else np.array(trained.baseline.channel_mean)
    swing = np.ones(channels) if audio else 10 * np.array(trained.baseline.channel_std) + 1e-6
    rng = np.random.default_rng(0)
    time_samples = np.arange(samples)[:, None]

    def scaled(unit: NDArray[np.float64]) -> NDArray[np.float32]:
        return (middle + unit * swing * np.ones(channels)).astype(np.float32)

    tones = [np.sin(2 * np.pi * f * time_samples) for f in (0.003, 0.0101, 0.0625, 0.13, 0.25, 0.41)]
    noise = rng.standard_normal((8, samples, channels))
    loud = middle + (held_out[:64] - middle) * 50
    yield "held-out windows", held_out, STRICT
    yield "silence", scaled(np.zeros((samples, 1)))[None], STRICT
    yield "noise", np.concatenate([scaled(level * n)[None] for level in (1e-3, 0.1) for n in noise]), STRICT
    yield "full-scale tones", np.stack([scaled(tone) for tone in tones]), LOOSE
    yield "full-scale squares", np.stack([scaled(np.sign(tone)) for tone in tones]), LOOSE
    yield "clipped", np.clip(loud, middle - swing, middle + swing).astype(np.float32), LOOSE
