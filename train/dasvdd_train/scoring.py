"""Score stretches of samples with a trained model in torch, window by window as the device does."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from dasvdd_runtime.windows import cut_windows
from numpy.typing import NDArray

from .corpus import Stretch
from .evaluation import ScoredStream
from .features import Geometry, as_input
from .model import DasvddModel
from .spacing import evenly_spaced

WINDOWS_AT_ONCE = 64


@torch.no_grad()
def score_windows(model: DasvddModel, windows: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scores [windows] and residuals [windows, bands] of `windows` [windows, window_samples, channels]."""
    scores, residuals = [np.empty(0)], [np.empty((0, model.bands))]
    for first in range(0, len(windows), WINDOWS_AT_ONCE):
        score, _, _, residual = model(as_input(windows[first : first + WINDOWS_AT_ONCE], model.kind))
        scores.append(score.double().numpy())
        residuals.append(residual.double().numpy())
    return np.concatenate(scores), np.concatenate(residuals)


def score_stretch(
    model: DasvddModel, stretch: Stretch, sizes: Geometry, sample_rate_hz: float
) -> tuple[ScoredStream, NDArray[np.float64]]:
    """The scores of every window of `stretch` in time order, and their residuals [windows, bands].

    Times are the windows' ends in seconds of the recording, when the device would know the score.
    """
    window, hop = sizes.window_samples, sizes.window_hop_samples
    count = sizes.windows_in(len(stretch.samples))
    scores, residuals = [np.empty(0)], [np.empty((0, model.bands))]
    for first in range(0, count, WINDOWS_AT_ONCE):
        last = min(first + WINDOWS_AT_ONCE, count)
        samples = stretch.samples[first * hop : (last - 1) * hop + window]
        score, residual = score_windows(model, cut_windows(samples, window_samples=window, hop_samples=hop))
        scores.append(score)
        residuals.append(residual)
    stream = ScoredStream(
        name=stretch.name,
        role=stretch.role,
        machine=stretch.machine,
        condition=stretch.condition,
        times_seconds=stretch.start_seconds + (np.arange(count) * hop + window) / sample_rate_hz,
        scores=np.concatenate(scores),
    )
    return stream, np.concatenate(residuals)


def sample_windows(stretches: Sequence[Stretch], sizes: Geometry, most: int, most_bytes: int) -> NDArray[np.float32]:
    """At most `most` windows of `stretches` and `most_bytes`, evenly spaced, [windows, window_samples, channels]."""
    window, hop = sizes.window_samples, sizes.window_hop_samples
    starts = [(s.samples, i * hop) for s in stretches for i in range(sizes.windows_in(len(s.samples)))]
    if not starts:
        return np.empty((0, window, 0), np.float32)
    channels = starts[0][0].shape[1]
    chosen = evenly_spaced(len(starts), most, most_bytes // (4 * window * channels))
    return np.stack([samples[start : start + window] for samples, start in map(starts.__getitem__, chosen)])
