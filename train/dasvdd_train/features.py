"""Stretches of samples -> standardised feature vectors, indexed and never copied until a batch needs them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from dasvdd_runtime.errors import ConfigError
from numpy.typing import NDArray
from torch import Tensor

from .front_ends import FrontEnd
from .model import DasvddModel

FRAMES_AT_ONCE = 2048


@dataclass(frozen=True)
class Geometry:
    """Sizes of a window in samples, all whole frame hops, so that every sample lies in a frame."""

    window_samples: int
    window_hop_samples: int
    minimum_samples: int
    """Samples of one feature vector: the least that can be trained on."""


def geometry(
    front_end: FrontEnd,
    *,
    stacked_frames: int,
    window_seconds: float,
    window_hop_seconds: float,
    sample_rate_hz: float,
) -> Geometry:
    """The wanted seconds rounded to whole frame hops. Raises ConfigError if a window holds no feature vector."""
    hop = front_end.frame_hop_samples
    window_samples = max(1, round(window_seconds * sample_rate_hz / hop)) * hop
    window_hop_samples = max(1, round(window_hop_seconds * sample_rate_hz / hop)) * hop
    minimum = front_end.frame_samples + (stacked_frames - 1) * hop
    if window_samples < minimum:
        raise ConfigError(
            f"a window of {window_samples} samples ({window_samples / sample_rate_hz:g} s) is shorter than one feature "
            f"vector of {stacked_frames} stacked frames ({minimum} samples, {minimum / sample_rate_hz:g} s). Use a "
            "longer window_seconds, fewer stacked_frames or a smaller n_fft."
        )
    return Geometry(window_samples, window_hop_samples, minimum)


def as_input(samples: NDArray[np.float32], kind: str) -> Tensor:
    """Windows [windows, samples, channels] in the layout of the graph's input for `kind`."""
    return torch.from_numpy(np.array(samples.swapaxes(1, 2) if kind == "audio" else samples, np.float32, order="C"))


@torch.no_grad()
def raw_frames(front_end: FrontEnd, samples: NDArray[np.float32]) -> Tensor:
    """Frames [frames, bands], before standardisation, of a whole stretch [samples, channels], in bounded memory."""
    hop, frame = front_end.frame_hop_samples, front_end.frame_samples
    count = (len(samples) - frame) // hop + 1
    if count < 1:
        return torch.empty(0, front_end.bands)
    pieces = []
    for first in range(0, count, FRAMES_AT_ONCE):
        last = min(first + FRAMES_AT_ONCE, count)
        part = samples[first * hop : (last - 1) * hop + frame]
        pieces.append(front_end(as_input(part[None], front_end.kind))[0])
    return torch.cat(pieces)


@dataclass(frozen=True)
class FeatureVectors:
    """Feature vectors of many stretches, as an index into their frames."""

    frames: Tensor
    """Standardised frames of all stretches, [frames, bands]."""
    first_frame: Tensor
    """Index of each vector's first frame, [vectors], int64; no vector crosses from one stretch to the next."""
    stacked_frames: int

    def __len__(self) -> int:
        return len(self.first_frame)

    def rows(self, indices: Tensor) -> Tensor:
        """The vectors `indices` [rows] as x [rows, stacked_frames * bands]."""
        offsets = torch.arange(self.stacked_frames, device=self.frames.device)
        stacked = self.frames[self.first_frame[indices][:, None] + offsets]
        return stacked.reshape(len(indices), -1)

    def chunks(self, rows_at_once: int = 16384) -> Iterator[Tensor]:
        """All vectors in order, at most `rows_at_once` at a time."""
        for indices in torch.split(torch.arange(len(self), device=self.frames.device), rows_at_once):
            yield self.rows(indices)

    def to(self, device: torch.device) -> FeatureVectors:
        """The same vectors on `device`."""
        return FeatureVectors(self.frames.to(device), self.first_frame.to(device), self.stacked_frames)


def fit_standardisation(model: DasvddModel, frames: Sequence[Tensor]) -> list[str]:
    """Set the model's mean and std per band from the training `frames` alone; returns the names of constant bands."""
    count = sum(len(part) for part in frames)
    mean = torch.stack([part.sum(dim=0, dtype=torch.float64) for part in frames]).sum(dim=0) / count
    squares = torch.stack([(part.double() - mean).square().sum(dim=0) for part in frames]).sum(dim=0)
    std = (squares / count).sqrt()
    constant = std <= 1e-6 * mean.abs().clamp_min(1e-6)
    model.mean.copy_(mean)
    model.std.copy_(torch.where(constant, torch.ones_like(std), std))
    return [name for name, flat in zip(model.residual_names, constant.tolist(), strict=True) if flat]


def feature_vectors(model: DasvddModel, frames: Sequence[Tensor]) -> FeatureVectors:
    """Standardise `frames` (one tensor a stretch) with the model's constants and index their vectors."""
    starts, offset = [], 0
    for part in frames:
        starts.append(torch.arange(max(0, len(part) - model.stacked_frames + 1)) + offset)
        offset += len(part)
    standardised = (torch.cat(list(frames)) - model.mean) / model.std
    return FeatureVectors(standardised, torch.cat(starts), model.stacked_frames)
