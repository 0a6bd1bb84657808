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
    windows = cut_windows(stretch.samples, window_samples=sizes.window_samples, hop_samples=sizes.window_hop_samples)
    scores, residuals = score_windows(model, windows)
    ends = np.arange(len(scores)) * sizes.window_hop_samples + sizes.window_samples
    stream = ScoredStream(
        name=stretch.name,
        role=stretch.role,
        machine=stretch.machine,
        condition=stretch.condition,
        times_seconds=stretch.start_seconds + ends / sample_rate_hz,
        scores=scores,
    )
    return stream, residuals


def all_windows(stretches: Sequence[Stretch], sizes: Geometry) -> NDArray[np.float32]:
    """Every window of `stretches`, shape [windows, window_samples, channels]."""
    return np.concatenate(
        [
            cut_windows(s.samples, window_samples=sizes.window_samples, hop_samples=sizes.window_hop_samples)
            for s in stretches
        ]
    )
