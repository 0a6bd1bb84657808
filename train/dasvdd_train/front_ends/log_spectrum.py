"""Log spectrum with equally spaced bins or bands, for vibration: a line keeps its width at every frequency."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from dasvdd_runtime.errors import ConfigError
from dasvdd_runtime.reading.recording_types import Kind
from numpy.typing import NDArray
from torch import Tensor

from .base import FramedFrontEnd, without_mean
from .dft import periodic_hann
from .two_step_dft import TwoStepDft


def band_averages(bins: int, bands: int) -> NDArray[np.float32]:
    """Matrix [bins, bands] that averages `bins` adjacent bins into `bands` of equal width.

    A bin counts for as much as of its width lies in the band. Raises ConfigError for more bands than bins.
    """
    if bands > bins:
        raise ConfigError(
            f"spectrum_bands = {bands} where a frame has {bins} bins: a band would hold less than one. Use at most "
            f"{bins}, 0 for the bins themselves, or a larger n_fft."
        )
    edges = np.linspace(0, bins, bands + 1)
    low = np.arange(bins)[:, None]
    overlap = np.minimum(low + 1, edges[1:]) - np.maximum(low, edges[:-1])
    result: NDArray[np.float32] = (np.maximum(0, overlap) * bands / bins).astype(np.float32)
    return result


class LogSpectrum(FramedFrontEnd):
    """Power of the Hann-windowed DFT per channel: frames [batch, frames, bands] in dB, float64.

    0 dB is a full-scale sine for audio and a sine of 1 unit rms for sensors. The mean of every frame is removed and
    bin 0 left out: what gravity, the mounting angle or an offset do there is no vibration, and would leak into bin 1.
    Per selected channel there are the bins 1 to n_fft / 2, or with `spectrum_bands` > 0 so many bands of equal width,
    power averaged over each. All is computed in float64: beside a strong line, the rotation, float32 loses what
    is 60 dB weaker, a tooth or a bearing, to its own rounding, and no two programs round alike.

    `floor_db`, one a selected channel, is the lowest level, in the same dB. `n_fft` must be even and a multiple of
    `frame_hop_samples`. Raises ConfigError for settings that cannot work.
    """

    length_key = "n_fft"

    def __init__(
        self,
        *,
        kind: Kind,
        sample_rate_hz: float,
        channels: int,
        channel: str,
        channel_names: Sequence[str],
        n_fft: int,
        frame_hop_samples: int,
        spectrum_bands: int,
        floor_db: Sequence[float],
    ) -> None:
        super().__init__(
            {
                "type": "log_spectrum",
                "kind": kind,
                "sample_rate_hz": sample_rate_hz,
                "channels": channels,
                "channel": channel,
                "channel_names": list(channel_names),
                "n_fft": n_fft,
                "frame_hop_samples": frame_hop_samples,
                "spectrum_bands": spectrum_bands,
                "floor_db": list(floor_db),
            },
            kind=kind,
            channels=channels,
            channel=channel,
            channel_names=channel_names,
            frame_samples=n_fft,
            frame_hop_samples=frame_hop_samples,
        )
        if n_fft % 2:
            raise ConfigError(f"n_fft = {n_fft} is odd; use {n_fft + 1}, so that the last bin is half the sample rate")
        bins = n_fft // 2
        power_scale = np.full(bins, 1.0 if kind == "audio" else 0.5)  # of the amplitude squared, or of its rms squared
        power_scale[-1] /= 2  # half the sample rate stands once in a two-sided spectrum, every other bin twice
        hann = periodic_hann(n_fft)
        scale = np.concatenate([[0.0], np.sqrt(power_scale) * 2 / hann.sum()])
        self.dft = TwoStepDft(hann, scale=scale, dtype=torch.float64)
        self.averages_bands = spectrum_bands > 0
        if self.averages_bands:
            averages = np.concatenate([np.zeros((1, spectrum_bands)), band_averages(bins, spectrum_bands)])
            self.register_buffer("averages", torch.from_numpy(self.dft.by_column(averages)), persistent=False)
        self.register_buffer("bin_columns", torch.from_numpy(self.dft.column_of_bin[1:]), persistent=False)
        width = bins / (spectrum_bands or bins)
        centers_hz = (0.5 + (np.arange(spectrum_bands or bins) + 0.5) * width) * sample_rate_hz / n_fft
        self.name_bands([f"{hz:.4g} Hz" for hz in centers_hz])
        floor = 10 ** (np.asarray(floor_db, np.float64) / 10)
        self.register_buffer("floor", torch.from_numpy(floor).reshape(1, -1, 1, 1), persistent=False)

    def forward(self, window: Tensor) -> Tensor:
        """Frames [batch, frames, bands] in dB of `window`."""
        power = self.dft(without_mean(self.frames_of(window).double()))
        if self.averages_bands:
            power = torch.matmul(power, cast(Tensor, self.averages))
        else:
            power = power.index_select(2, cast(Tensor, self.bin_columns))
        by_channel = power.reshape(-1, self.selected, power.shape[1], power.shape[2])
        level_db = 10 * torch.log10(torch.maximum(by_channel, cast(Tensor, self.floor)))
        return self.side_by_side(level_db.reshape(-1, power.shape[1], power.shape[2]))
