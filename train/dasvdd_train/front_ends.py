"""Window of samples -> frames: torch modules that also export to ONNX (no STFT, DFT, Pad or Loop operator).

A front end maps its input to frames `[batch, frames, bands]`; standardisation, stacking and the autoencoder follow in
`model.py`. No frame looks outside its window and nothing is normalised over a window, so that the frames of a long
recording are those of its windows.
"""

from __future__ import annotations

from typing import Any, Protocol, cast

import numpy as np
import torch
from dasvdd_runtime.errors import ConfigError
from dasvdd_runtime.recording_types import Kind
from numpy.typing import NDArray
from torch import Tensor, nn

POWER_FLOOR = 1e-12
"""Lowest power before the logarithm, relative to a full-scale sine: -120 dB."""


class FrontEnd(Protocol):
    """What every front end offers beside `forward`."""

    kind: Kind
    bands: int
    band_names: list[str]
    frame_hop_samples: int
    frame_samples: int

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
            f"channel '{channel}' where the recordings have {channels} channel(s): "
            f"choose 0 to {channels - 1}, 'mean' or 'all'"
        )
    return np.eye(channels, dtype=np.float32)[int(channel) : int(channel) + 1]


def hann_dft_basis(n_fft: int) -> NDArray[np.float32]:
    """Real and imaginary DFT basis, shape [n_fft, 2 * (n_fft // 2 + 1)], times the periodic Hann window.

    Scaled so that a full-scale sine at a bin's centre has power re**2 + im**2 = 1 in that bin.
    """
    n = np.arange(n_fft)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * n / n_fft)
    # n * k modulo n_fft keeps the angle exact where n * k is large.
    angle = 2 * np.pi * (np.outer(n, np.arange(n_fft // 2 + 1)) % n_fft) / n_fft
    scale = hann[:, None] * 2 / hann.sum()
    return np.concatenate([np.cos(angle) * scale, -np.sin(angle) * scale], axis=1).astype(np.float32)


def mel_from_hz(frequency_hz: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """Slaney's mel scale (Auditory Toolbox, 1998): linear below 1000 Hz, logarithmic above."""
    hz = np.asarray(frequency_hz, np.float64)
    above = 15 + 27 * np.log(np.maximum(hz, 1000) / 1000) / np.log(6.4)
    return np.where(hz < 1000, hz * 3 / 200, above)


def hz_from_mel(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    """Inverse of `mel_from_hz`."""
    return np.where(mel < 15, mel * 200 / 3, 1000 * 6.4 ** ((np.maximum(mel, 15) - 15) / 27))


def mel_filters(
    *, sample_rate_hz: float, n_fft: int, mel_bands: int
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Triangular filters [n_fft // 2 + 1, mel_bands] of peak 1, and their centre frequencies [mel_bands] in Hz.

    Raises ConfigError if the lowest bands are narrower than the DFT's resolution, which would leave them empty.
    """
    top = mel_from_hz(sample_rate_hz / 2)
    edges_hz = hz_from_mel(np.linspace(0, float(top), mel_bands + 2))
    bins_hz = np.arange(n_fft // 2 + 1) * sample_rate_hz / n_fft
    rising = (bins_hz[:, None] - edges_hz[:-2]) / (edges_hz[1:-1] - edges_hz[:-2])
    falling = (edges_hz[2:] - bins_hz[:, None]) / (edges_hz[2:] - edges_hz[1:-1])
    filters = np.maximum(0, np.minimum(rising, falling))
    empty = int((filters.sum(axis=0) == 0).sum())
    if empty:
        raise ConfigError(
            f"{empty} of {mel_bands} mel bands are narrower than the {sample_rate_hz / n_fft:.1f} Hz resolution of "
            f"n_fft = {n_fft} at {sample_rate_hz:g} Hz and would always be empty. "
            "Use fewer mel_bands or a larger n_fft."
        )
    return filters.astype(np.float32), edges_hz[1:-1]


class LogMel(nn.Module):
    """Log-mel spectrum: frames [batch, frames, bands] in dB relative to a full-scale sine.

    Input `[batch, channels, samples]`, float32, full scale 1.0, with a whole number of frame hops of samples.
    frames = samples / frame_hop_samples - n_fft / frame_hop_samples + 1: every sample is in a frame, none is padded.
    Raises ConfigError if `n_fft` is no multiple of `frame_hop_samples`.
    """

    kind: Kind = "audio"

    def __init__(
        self,
        *,
        sample_rate_hz: float,
        channels: int,
        channel: str = "0",
        n_fft: int = 1024,
        frame_hop_samples: int = 512,
        mel_bands: int = 128,
    ) -> None:
        super().__init__()
        if n_fft % frame_hop_samples:
            raise ConfigError(
                f"n_fft = {n_fft} is no multiple of frame_hop_samples = {frame_hop_samples}, so the last samples of a "
                f"window would lie in no frame. Use n_fft = {-(-n_fft // frame_hop_samples) * frame_hop_samples}, or "
                "another hop."
            )
        mix = channel_mix(channel, channels)
        filters, centers_hz = mel_filters(sample_rate_hz=sample_rate_hz, n_fft=n_fft, mel_bands=mel_bands)
        self._settings = {
            "type": "log_mel",
            "sample_rate_hz": sample_rate_hz,
            "channels": channels,
            "channel": channel,
            "n_fft": n_fft,
            "frame_hop_samples": frame_hop_samples,
            "mel_bands": mel_bands,
        }
        self.selected = len(mix)
        self.keeps_channels = self.selected == channels
        self.bands = self.selected * mel_bands
        names = [f"{hz:.0f} Hz" for hz in centers_hz]
        self.band_names = (
            [f"channel {i} {name}" for i in range(self.selected) for name in names] if self.selected > 1 else names
        )
        self.frame_hop_samples = frame_hop_samples
        self.frame_samples = n_fft
        # Constants of the settings: rebuilt when a model is loaded, so they are not stored with it.
        self.register_buffer("mix", torch.from_numpy(mix), persistent=False)
        self.register_buffer("basis", torch.from_numpy(hann_dft_basis(n_fft)), persistent=False)
        self.register_buffer("filters", torch.from_numpy(filters), persistent=False)

    def settings(self) -> dict[str, Any]:
        """The arguments that build this front end again, with its `type`."""
        return dict(self._settings)

    def forward(self, window: Tensor) -> Tensor:
        """Frames [batch, frames, bands] in dB of `window` [batch, channels, samples]."""
        hop = self.frame_hop_samples
        chunks_per_frame = self.frame_samples // hop
        chunk_count = window.shape[2] // hop
        frame_count = chunk_count - chunks_per_frame + 1
        selected = window if self.keeps_channels else torch.matmul(cast(Tensor, self.mix), window)
        chunks = selected.reshape(-1, chunk_count, hop)
        frames = torch.cat([chunks[:, i : i + frame_count] for i in range(chunks_per_frame)], dim=2)
        spectrum = torch.matmul(frames, cast(Tensor, self.basis))
        real, imaginary = torch.split(spectrum, self.frame_samples // 2 + 1, dim=2)
        power = torch.matmul(real * real + imaginary * imaginary, cast(Tensor, self.filters))
        level_db = 10 * torch.log10(power.clamp_min(POWER_FLOOR))
        if self.selected == 1:
            return level_db
        by_channel = level_db.reshape(-1, self.selected, frame_count, self.bands // self.selected)
        return by_channel.transpose(1, 2).reshape(-1, frame_count, self.bands)


class Rows(nn.Module):
    """Sensor rows as they are: frames [batch, rows, channels] in the channels' units; `model.py` standardises them.

    Input `[batch, samples, channels]`, float32.
    """

    kind: Kind = "sensor"
    frame_hop_samples = 1
    frame_samples = 1

    def __init__(self, *, channels: int, channel_names: list[str], channel: str = "all") -> None:
        super().__init__()
        mix = channel_mix(channel, channels)
        self._settings = {
            "type": "rows",
            "channels": channels,
            "channel_names": list(channel_names),
            "channel": channel,
        }
        self.bands = len(mix)
        self.keeps_channels = self.bands == channels
        chosen = {"all": list(channel_names), "mean": ["mean"]}
        self.band_names = chosen[channel] if channel in chosen else [channel_names[int(channel)]]
        self.register_buffer("mix", torch.from_numpy(mix.T.copy()), persistent=False)

    def settings(self) -> dict[str, Any]:
        """The arguments that build this front end again, with its `type`."""
        return dict(self._settings)

    def forward(self, window: Tensor) -> Tensor:
        """Frames [batch, rows, bands] of `window` [batch, rows, channels]."""
        return window if self.keeps_channels else torch.matmul(window, cast(Tensor, self.mix))


FRONT_ENDS: dict[str, type[nn.Module]] = {"log_mel": LogMel, "rows": Rows}


def build_front_end(settings: dict[str, Any]) -> FrontEnd:
    """The front end that `settings()` describes. Raises ConfigError for an unknown type."""
    arguments = dict(settings)
    name = arguments.pop("type", None)
    if name not in FRONT_ENDS:
        raise ConfigError(f"unknown front end {name!r}; this version has {', '.join(FRONT_ENDS)}")
    return cast(FrontEnd, FRONT_ENDS[name](**arguments))
