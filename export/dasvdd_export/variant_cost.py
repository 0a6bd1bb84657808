"""What a variant costs against the fp32 graph: scores, ranks, decisions, and its speed and memory on a machine."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from dasvdd_runtime.errors import DasvddError
from dasvdd_runtime.golden import relative_difference
from dasvdd_train.evaluation import Separation, separation
from dasvdd_train.features import as_input
from dasvdd_train.holdout import Holdout
from numpy.typing import NDArray

from . import parity

BENCH_SECONDS = 0.3
BENCH_ROUNDS = 3
SMALLEST_DIFFERENCE = 1e-6
"""Relative: by so much samples differ that were computed in another order, for instance after resampling."""
TOLERANCE_MARGIN = 4.0


@dataclass(frozen=True)
class WindowScores:
    """Scores of one graph; float64 [windows] each."""

    held_out: NDArray[np.float64]
    test_normal: NDArray[np.float64]
    """Empty without labelled windows, as the next."""
    test_anomalous: NDArray[np.float64]

    @property
    def joined(self) -> NDArray[np.float64]:
        """All of them."""
        return np.concatenate([self.held_out, self.test_normal, self.test_anomalous])

    def separation(self) -> Separation | None:
        """AUC and partial AUC over the labelled windows; None without them."""
        return separation(self.test_normal, self.test_anomalous)


@dataclass(frozen=True)
class Cost:
    """How the scores of a variant compare with those of fp32, over held-out and labelled windows."""

    windows: int
    shift_median: float
    """Of (score - fp32 score) / fp32 score."""
    shift_worst: float
    """The one furthest from 0."""
    rank_correlation: float
    """Spearman's; 0 where all scores of one graph are equal."""
    flipped_share: float
    """Windows on the other side of their own graph's threshold."""

    def excess(self, max_drop: float) -> str | None:
        """What is beyond `max_drop`, with both numbers; None if nothing is."""
        if self.flipped_share <= max_drop and 1 - self.rank_correlation <= max_drop:
            return None
        return (
            f"{self.flipped_share:.2%} of {self.windows} windows change sides of the threshold, and 1 - rank "
            f"correlation is {1 - self.rank_correlation:.2%}; each may be {max_drop:.2%} (--max-drop)"
        )


@dataclass(frozen=True)
class Speed:
    """One window, in a process of its own."""

    p50_milliseconds: float
    p99_milliseconds: float
    resident_megabytes: float | None
    """None where the system does not tell."""


def score_all(run: parity.Run, holdout: Holdout, kind: str) -> WindowScores:
    """The scores of everything that `holdout` keeps, by the graph `run`."""
    groups = [holdout.windows]
    empty = holdout.windows[:0]
    groups += [holdout.labelled.normal, holdout.labelled.anomalous] if holdout.labelled else [empty, empty]
    return WindowScores(*(_scores(run, windows, kind) for windows in groups))


def cost(found: NDArray[np.float64], fp32: NDArray[np.float64], *, threshold: float, fp32_threshold: float) -> Cost:
    """`Cost` of the scores `found` [windows] against `fp32` [windows] of the same windows."""
    from scipy.stats import spearmanr

    shift = (found - fp32) / np.maximum(fp32, np.finfo(np.float32).tiny)
    rank = float(spearmanr(found, fp32).statistic) if np.ptp(found) > 0 and np.ptp(fp32) > 0 else 0.0
    return Cost(
        windows=len(found),
        shift_median=float(np.median(shift)),
        shift_worst=float(shift[np.argmax(np.abs(shift))]),
        rank_correlation=rank,
        flipped_share=float(np.mean((found > threshold) != (fp32 > fp32_threshold))),
    )


def golden_tolerance(run: parity.Run, windows: NDArray[np.float32], least: float) -> float:
    """Relative difference that a device may show of the scores of `windows` (graph layout), at least `least`.

    A feature between two steps of a coarse number falls on either side as its last bit does: samples that differ by
    1e-6 show by how much a score moves then.
    """
    scores = run(windows)["score"]
    noise = np.random.default_rng(0).choice([-1.0, 1.0], windows.shape) * SMALLEST_DIFFERENCE
    moved = run((windows * (1 + noise)).astype(np.float32))["score"]
    return max(least, TOLERANCE_MARGIN * relative_difference(moved, scores))


def speeds(models: dict[str, Path], *, provider: Literal["cpu", "cuda"], threads: int) -> dict[str, Speed]:
    """Speed of each file by name: the best of rounds that take turns, since other programs only ever slow one down."""
    rounds = [{name: _bench(path, provider, threads) for name, path in models.items()} for _ in range(BENCH_ROUNDS)]
    return {name: min((found[name] for found in rounds), key=lambda speed: speed.p50_milliseconds) for name in models}


def _bench(path: Path, provider: str, threads: int) -> Speed:
    """`dasvdd-monitor bench` of the file at `path`."""
    program = [sys.executable, "-c", "from dasvdd_runtime.cli import main; main()", "bench", str(path)]
    options = ["--provider", provider, "--threads", str(threads), "--seconds", str(BENCH_SECONDS), "--format", "json"]
    done = subprocess.run([*program, *options], capture_output=True, text=True, check=False)
    if done.returncode:
        raise DasvddError(f"dasvdd-monitor bench of a variant on {provider} failed: {done.stderr.strip()}")
    single = json.loads(done.stdout)["timings"][0]
    return Speed(single["p50_milliseconds"], single["p99_milliseconds"], single["memory_megabytes"].get("resident"))


def _scores(run: parity.Run, windows: NDArray[np.float32], kind: str) -> NDArray[np.float64]:
    parts = [run(as_input(windows[i : i + 64], kind).numpy())["score"] for i in range(0, len(windows), 64)]
    return np.concatenate([*parts, np.empty(0)])
