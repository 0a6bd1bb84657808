"""Log-mel spectrum, for what a microphone hears."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from torch import Tensor

from .base import POWER_FLOOR, FramedFrontEnd, audio_channel_names
from .dft import periodic_hann
from .mel import mel_filters
from .two_step_dft import TwoStepDft


class LogMel(FramedFrontEnd):
    """Log-mel spectrum: frames [batch, frames, bands] in dB relative to a full-scale sine.

    Input `[batch, channels, samples]`, float32, full scale 1.0, with a whole number of frame hops of samples.
    Raises ConfigError if `n_fft` is no multiple of `frame_hop_samples`, and for mel bands that would be empty.
    """

    length_key = "n_fft"

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
        super().__init__(
            {
                "type": "log_mel",
                "sample_rate_hz": sample_rate_hz,
                "channels": channels,
                "channel": channel,
                "n_fft": n_fft,
                "frame_hop_samples": frame_hop_samples,
                "mel_bands": mel_bands,
            },
            kind="audio",
            channels=channels,
            channel=channel,
            channel_names=audio_channel_names(channels),
            frame_samples=n_fft,
            frame_hop_samples=frame_hop_samples,
        )
        filters, centers_hz = mel_filters(sample_rate_hz=sample_rate_hz, n_fft=n_fft, mel_bands=mel_bands)
        self.name_bands([f"{hz:.0f} Hz" for hz in centers_hz])
        hann = periodic_hann(n_fft)
        of_full_scale = np.full(len(filters), 2 / hann.sum())  # a full-scale sine at a bin's center has the power 1
        self.dft = TwoStepDft(hann, scale=of_full_scale)
        self.register_buffer("filters", torch.from_numpy(self.dft.by_column(filters)), persistent=False)

    def forward(self, window: Tensor) -> Tensor:
        """Frames [batch, frames, bands] in dB of `window` [batch, channels, samples]."""
        power = torch.matmul(self.dft(self.frames_of(window)), cast(Tensor, self.filters))
        return self.side_by_side(10 * torch.log10(power.clamp_min(POWER_FLOOR)))
