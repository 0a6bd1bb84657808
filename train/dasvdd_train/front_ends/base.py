"""What every front end offers, and what those that cut frames share: choice of channels, frames, names.

A front end is a torch module that also exports to ONNX, without STFT, DFT, Pad, Loop or ReduceMax operators.
It maps its input to frames `[batch, frames, bands]`; standardisation, stacking and autoencoder follow in `model.py`.
No frame looks outside its window and nothing is normalised over a window, so that the frames of a long recording are
those of its windows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, cast

import numpy as np
import torch
from dasvdd_runtime.errors import ConfigError
from dasvdd_runtime.reading.recording_types import Kind
from dasvdd_runtime.words import count
from numpy.typing import NDArray
from torch import Tensor, nn

POWER_FLOOR = 1e-12
"""Lowest power of audio before the logarithm, relative to a full-scale sine: -120 dB."""

LEAST_LEVEL_DEVIATION_DB = 0.1
"""Levels that vary by less count as if they varied by this much: the sensitivity of microphones and accelerometers
wanders more than that with the temperature, so nothing is known of smaller changes."""

MOST_BANDS = 2**16
"""Features of one frame, over all channels."""


class FrontEnd(Protocol):
    """What every front end offers beside `forward`."""

    kind: Kind
    bands: int
    band_names: list[str]
    band_noun: str
    """What one of them is: a band, a channel or a sample."""
    frame_hop_samples: int
    frame_samples: int
    least_deviation: float
    """Features that vary by less, in their own unit, are standardised as if they varied by this much."""

    def settings(self) -> dict[str, Any]:
        """The arguments that build this front end again, as plain data, with its `type`."""
        ...

    def __call__(self, window: Tensor) -> Tensor:
        """Frames [batch, frames, bands] of `window`."""
        ...


def channel_mix(channel: str, channels: int) -> NDArray[np.float32]:
    """Matrix [selected, channels] that picks a channel by its number from 0, averages ('mean') or keeps 'all'.

    Picking is a matrix product too, so that a NaN in any channel reaches the score.
    Raises ConfigError for a channel that the recordings do not have.
    """
    if channel == "mean":
        return np.full((1, channels), 1 / channels, np.float32)
    if channel == "all":
        return np.eye(channels, dtype=np.float32)
    if not channel.isdecimal() or int(channel) >= channels:
        raise ConfigError(
            f"channel '{channel}' where the recordings have {count(channels, 'channel')}: "
            f"choose 0 to {channels - 1}, 'mean' or 'all'"
        )
    return np.eye(channels, dtype=np.float32)[int(channel) : int(channel) + 1]


def selected_names(channel: str, channel_names: Sequence[str]) -> list[str]:
    """Name of each channel that `channel_mix` selects."""
    chosen = {"all": list(channel_names), "mean": ["mean"]}
    return chosen[channel] if channel in chosen else [channel_names[int(channel)]]


class FramedFrontEnd(nn.Module):
    """A front end that cuts the window of each selected channel into frames and makes features of each frame.

    Input `[batch, channels, samples]` for audio, `[batch, samples, channels]` for sensors, float32, with a whole number
    of frame hops of samples. frames = samples / frame_hop_samples - frame_samples / frame_hop_samples + 1: every sample
    is in a frame, none is padded. Raises ConfigError if `frame_samples` is no multiple of `frame_hop_samples`.
    """

    length_key = "frame_samples"
    """The setting that gives the frame's length, for messages."""
    band_noun = "band"
    least_deviation = LEAST_LEVEL_DEVIATION_DB

    def __init__(
        self,
        settings: dict[str, Any],
        *,
        kind: Kind,
        channels: int,
        channel: str,
        channel_names: Sequence[str],
        frame_samples: int,
        frame_hop_samples: int,
    ) -> None:
        super().__init__()
        if frame_samples % frame_hop_samples:
            raise ConfigError(
                f"{self.length_key} = {frame_samples} is no multiple of frame_hop_samples = {frame_hop_samples}, so "
                f"the last samples of a window would lie in no frame. Use {self.length_key} = "
                f"{-(-frame_samples // frame_hop_samples) * frame_hop_samples}, or another hop."
            )
        mix = channel_mix(channel, channels)
        self._settings = settings
        self._selected_names = selected_names(channel, channel_names)
        self.kind: Kind = kind
        self.selected = len(mix)
        self.keeps_channels = self.selected == channels
        self.frame_samples = frame_samples
        self.frame_hop_samples = frame_hop_samples
        self.bands = 0
        self.band_names: list[str] = []
        # Constants of the settings: rebuilt when a model is loaded, so they are not stored with it.
        self.register_buffer("mix", torch.from_numpy(mix), persistent=False)

    def settings(self) -> dict[str, Any]:
        """The arguments that build this front end again, with its `type`."""
        return dict(self._settings)

    def name_bands(self, names: list[str]) -> None:
        """Set `bands` and `band_names` from the `names` of one channel's features.

        Raises ConfigError where that makes more than MOST_BANDS.
        """
        if len(names) * self.selected > MOST_BANDS:
            raise ConfigError(
                f"{len(names)} features of each of {self.selected} channels, and at most {MOST_BANDS} fit in all. "
                "Use shorter frames, fewer bands, or fewer channels (data.channel)."
            )
        self.band_names = (
            [f"{channel} {name}" for channel in self._selected_names for name in names] if self.selected > 1 else names
        )
        self.bands = len(self.band_names)

    def signals_of(self, window: Tensor) -> Tensor:
        """Samples [batch * selected, samples] of the selected channels of `window`, laid out as the input."""
        by_channel = window if self.kind == "audio" else window.transpose(1, 2)
        selected = by_channel if self.keeps_channels else torch.matmul(cast(Tensor, self.mix), by_channel)
        return selected.reshape(-1, by_channel.shape[2])

    def frames_of(self, window: Tensor) -> Tensor:
        """Frames [batch * selected, frames, frame_samples] of `window`, laid out as the input."""
        return overlapping_pieces(self.signals_of(window), self.frame_samples, self.frame_hop_samples)

    def side_by_side(self, features: Tensor) -> Tensor:
        """Features [batch * selected, frames, n] of single channels as frames [batch, frames, selected * n]."""
        if self.selected == 1:
            return features
        frame_count = features.shape[1]
        by_channel = features.reshape(-1, self.selected, frame_count, self.bands // self.selected)
        return by_channel.transpose(1, 2).reshape(-1, frame_count, self.bands)


def audio_channel_names(channels: int) -> list[str]:
    """Names of `channels` audio channels in a band's name, counted from 0."""
    return [f"channel {i}" for i in range(channels)]


def overlapping_pieces(samples: Tensor, length: int, hop: int) -> Tensor:
    """Pieces [n, pieces, length] of `samples` [n, samples], one every `hop` samples, which divides both lengths."""
    chunk_count = samples.shape[1] // hop
    chunks = samples.reshape(-1, chunk_count, hop)
    if length == hop:
        return chunks
    piece_count = chunk_count - length // hop + 1
    return torch.cat([chunks[:, i : i + piece_count] for i in range(length // hop)], dim=2)


def without_mean(frames: Tensor) -> Tensor:
    """`frames` [..., frame_samples] less the mean of each: gravity, mounting angle and offset are no vibration."""
    return frames - frames.mean(dim=-1, keepdim=True)
