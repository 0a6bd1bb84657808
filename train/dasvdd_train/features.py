"""Stretches of samples -> standardised feature vectors, indexed and never copied until a batch needs them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from dasvdd_runtime.condition.levels import SlicedSamples
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

    def windows_in(self, samples: int) -> int:
        """Whole windows in a stretch of `samples`."""
        return max(0, (samples - self.window_samples) // self.window_hop_samples + 1)


def geometry(
    model: DasvddModel, *, window_seconds: float, window_hop_seconds: float, sample_rate_hz: float
) -> Geometry:
    """The wanted seconds rounded to whole frame hops. Raises ConfigError if a window holds no feature vector."""
    hop, minimum = model.front_end.frame_hop_samples, model.vector_samples
    window_samples = max(1, round(window_seconds * sample_rate_hz / hop)) * hop
    window_hop_samples = max(1, round(window_hop_seconds * sample_rate_hz / hop)) * hop
    if window_samples < minimum:
        raise ConfigError(
            f"a window of {window_samples} samples ({window_samples / sample_rate_hz:g} s) is shorter than one feature "
            f"vector of {model.stacked_frames} stacked frames ({minimum} samples, {minimum / sample_rate_hz:g} s). Use "
            "a longer window_seconds, fewer stacked_frames or a smaller n_fft."
        )
    return Geometry(window_samples, window_hop_samples, minimum)


def as_input(samples: NDArray[np.float32], kind: str) -> Tensor:
    """Windows [windows, samples, channels] in the layout of the graph's input for `kind`."""
    return torch.from_numpy(np.array(samples.swapaxes(1, 2) if kind == "audio" else samples, np.float32, order="C"))


@dataclass(frozen=True)
class FrameTable:
    """Frames of several stretches below each other."""

    frames: Tensor
    """[frames, bands], float32, before or after standardisation."""
    counts: list[int]
    """Frames of each stretch, in order."""


@torch.no_grad()
def frame_table(front_end: FrontEnd, stretches: Sequence[SlicedSamples]) -> FrameTable:
    """Frames of whole `stretches`, each [samples, channels], computed piece by piece into one tensor."""
    hop, frame = front_end.frame_hop_samples, front_end.frame_samples
    counts = [max(0, (len(samples) - frame) // hop + 1) for samples in stretches]
    frames = torch.empty(sum(counts), front_end.bands)
    filled = 0
    for samples, count in zip(stretches, counts, strict=True):
        for first in range(0, count, FRAMES_AT_ONCE):
            last = min(first + FRAMES_AT_ONCE, count)
            part = samples[first * hop : (last - 1) * hop + frame]
            frames[filled + first : filled + last] = front_end(as_input(part[None], front_end.kind))[0]
        filled += count
    return FrameTable(frames, counts)


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
        """The vectors `indices` [..., rows] as x [..., rows, stacked_frames * bands]."""
        offsets = torch.arange(self.stacked_frames, device=self.frames.device)
        stacked = self.frames[self.first_frame[indices][..., None] + offsets]
        return stacked.flatten(start_dim=-2)

    def chunks(self, rows_at_once: int = 16384) -> Iterator[Tensor]:
        """All vectors in order, at most `rows_at_once` at a time."""
        for indices in torch.split(torch.arange(len(self), device=self.frames.device), rows_at_once):
            yield self.rows(indices)

    def to(self, device: torch.device) -> FeatureVectors:
        """The same vectors on `device`."""
        return FeatureVectors(self.frames.to(device), self.first_frame.to(device), self.stacked_frames)


def join(parts: Sequence[FeatureVectors]) -> tuple[FeatureVectors, list[int]]:
    """All `parts` below each other, one that occurs several times only once, and the number of each one's first vector.

    One part alone is not copied.
    """
    distinct = list({id(part): part for part in parts}.values())
    starts, vectors, frames = {}, 0, 0
    first_frames = []
    for part in distinct:
        starts[id(part)] = vectors
        first_frames.append(part.first_frame + frames)
        vectors, frames = vectors + len(part), frames + len(part.frames)
    joined = distinct[0]
    if len(distinct) > 1:
        tables = torch.cat([part.frames for part in distinct])
        joined = FeatureVectors(tables, torch.cat(first_frames), joined.stacked_frames)
    return joined, [starts[id(part)] for part in parts]


def fit_standardisation(model: DasvddModel, table: FrameTable) -> list[str]:
    """Set the model's mean and std per band from the training frames alone; returns the names of constant bands.

    A band that is not constant has at least the front end's `least_deviation`.
    """
    parts = torch.split(table.frames, FRAMES_AT_ONCE)
    mean = torch.stack([part.sum(dim=0, dtype=torch.float64) for part in parts]).sum(dim=0) / len(table.frames)
    squares = torch.stack([(part.double() - mean).square().sum(dim=0) for part in parts]).sum(dim=0)
    std = (squares / len(table.frames)).sqrt()
    constant = std <= 1e-6 * mean.abs().clamp_min(1e-6)
    model.mean.copy_(mean)
    model.std.copy_(torch.where(constant, torch.ones_like(std), std.clamp_min(model.least_deviation)))
    return [name for name, flat in zip(model.residual_names, constant.tolist(), strict=True) if flat]


def feature_vectors(model: DasvddModel, table: FrameTable) -> FeatureVectors:
    """Standardise the frames of `table`, in place, with the model's constants, and index their vectors."""
    starts, offset = [torch.empty(0, dtype=torch.int64)], 0
    for count in table.counts:
        starts.append(torch.arange(max(0, count - model.stacked_frames + 1)) + offset)
        offset += count
    table.frames.sub_(model.mean).div_(model.std)
    return FeatureVectors(table.frames, torch.cat(starts), model.stacked_frames)
