"""Envelope spectrum: how often a band of high frequencies swells, for bearings and gears.

A damaged bearing strikes its housing each time a ball passes the damage. Each strike rings a resonance of some kHz: a
faint hiss in the spectrum but a strong line, at the rate of the strikes, in the spectrum of the band's squared
envelope (Randall and Antoni, "Rolling element bearing diagnostics - a tutorial", MSSP 25, 2011, sections 2.2 and 5).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from dasvdd_runtime.errors import ConfigError
from dasvdd_runtime.reading.recording_types import Kind
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import conv1d

from .base import FramedFrontEnd, without_mean
from .dft import hann_dft_bins

LEAST_DEPTH = 1e-3
"""Modulation depth that is added in power to every bin: a steady tone's is fp32 rounding, noise's is ten times this."""
TRANSITION_SHARE = 0.25
"""Width of each edge of the band-pass filter as a share of the band; a Hamming-windowed FIR needs 3.3 / width taps."""
RATE_PER_HZ = 2.56
"""Envelope rate over the highest envelope frequency, as in spectrum analysers: room for the averaging to fall off."""


def analytic_taps(*, low: float, high: float, taps: int) -> NDArray[np.complex128]:
    """Complex FIR band-pass [taps] whose output is the analytic signal of the band; frequencies in units of the rate.

    A Hamming-windowed low-pass of unit gain, shifted to the band's middle and doubled, less what it lets through at 0.
    """
    n = np.arange(taps) - (taps - 1) / 2
    hamming = np.hamming(taps)
    low_pass = hamming * np.sinc((high - low) * n)
    shifted = 2 * low_pass / low_pass.sum() * np.exp(1j * np.pi * (low + high) * n)
    result: NDArray[np.complex128] = shifted - shifted.sum() * hamming / hamming.sum()
    return result


class EnvelopeSpectrum(FramedFrontEnd):
    """Level of a band and the spectrum of its squared envelope, per channel: frames [batch, frames, bands] in dB.

    In a frame, its mean removed: a = the analytic signal between `envelope_low_hz` and `envelope_high_hz`; e = |a|^2,
    averaged over `envelope_step_samples` at a time; E_0 the mean of e and E_k the amplitude of e at k times the frame's
    frequency resolution. The features are the level 10 log10(E_0 / r), with r that of a full-scale sine (audio) or of a
    sine of 1 unit rms (sensors), no lower than `floor_db`; and for every k up to `envelope_max_hz` the depth of
    modulation 5 log10(LEAST_DEPTH^2 + (E_k / max(E_0, floor))^2), 0 dB being a band that swells from nothing to twice
    its mean. The depth does not change with loudness.

    The filter needs a few samples before its first value, so that a frame's resolution is a little coarser than
    1 / its length. Raises ConfigError for a band that does not fit, and for frames that are too short for it.
    """

    def __init__(
        self,
        *,
        kind: Kind,
        sample_rate_hz: float,
        channels: int,
        channel: str,
        channel_names: Sequence[str],
        frame_samples: int,
        frame_hop_samples: int,
        envelope_low_hz: float,
        envelope_high_hz: float,
        envelope_max_hz: float,
        floor_db: Sequence[float],
    ) -> None:
        super().__init__(
            {
                "type": "envelope",
                "kind": kind,
                "sample_rate_hz": sample_rate_hz,
                "channels": channels,
                "channel": channel,
                "channel_names": list(channel_names),
                "frame_samples": frame_samples,
                "frame_hop_samples": frame_hop_samples,
                "envelope_low_hz": envelope_low_hz,
                "envelope_high_hz": envelope_high_hz,
                "envelope_max_hz": envelope_max_hz,
                "floor_db": list(floor_db),
            },
            kind=kind,
            channels=channels,
            channel=channel,
            channel_names=channel_names,
            frame_samples=frame_samples,
            frame_hop_samples=frame_hop_samples,
        )
        low, high = envelope_low_hz / sample_rate_hz, envelope_high_hz / sample_rate_hz
        if not 0 < low < high <= 0.5:
            raise ConfigError(
                f"the envelope's band from {envelope_low_hz:g} to {envelope_high_hz:g} Hz does not lie between 0 and "
                f"half the sample rate, {sample_rate_hz / 2:g} Hz"
            )
        if envelope_max_hz > envelope_high_hz - envelope_low_hz:
            raise ConfigError(
                f"envelope_max_hz = {envelope_max_hz:g} is more than the band is wide "
                f"({envelope_high_hz - envelope_low_hz:g} Hz); a band cannot swell faster than that"
            )
        step = _largest_divisor(frame_hop_samples, sample_rate_hz / (RATE_PER_HZ * envelope_max_hz))
        # One tap more than whole steps: an envelope value then takes whole steps of samples, and none is left over.
        filter_steps = int(np.ceil(3.3 / (TRANSITION_SHARE * (high - low)) / step))
        taps = filter_steps * step + 1
        points = frame_samples // step - filter_steps
        last_bin = int(envelope_max_hz / sample_rate_hz * step * points) if points > 0 else 0
        if last_bin < 1:
            raise ConfigError(
                f"frames of {frame_samples} samples are too short for an envelope spectrum up to {envelope_max_hz:g} "
                f"Hz of the band from {envelope_low_hz:g} to {envelope_high_hz:g} Hz: its filter takes {taps} samples. "
                "Use a larger frame_samples (and window_seconds), or a wider band."
            )
        self.envelope_step_samples, self.points, self.last_bin = step, points, last_bin
        complex_taps = analytic_taps(low=low, high=high, taps=taps)[::-1]  # conv1d correlates
        reference = np.sqrt(1.0 if kind == "audio" else 0.5)
        filters = reference * np.stack([complex_taps.real, complex_taps.imag])[:, None]
        resolution_hz = sample_rate_hz / (step * points)
        self.resolution_hz = resolution_hz
        self.name_bands(
            [
                f"level {envelope_low_hz:g}-{envelope_high_hz:g} Hz",
                *(f"envelope {k * resolution_hz:.4g} Hz" for k in range(1, last_bin + 1)),
            ]
        )
        floor = 10 ** (np.asarray(floor_db, np.float64) / 10)
        self.register_buffer("filters", torch.from_numpy(filters.astype(np.float32)), persistent=False)
        self.register_buffer("basis", torch.from_numpy(hann_dft_bins(points, 1, last_bin)), persistent=False)
        self.register_buffer("floor", torch.from_numpy(floor.astype(np.float32)).reshape(1, -1, 1, 1), persistent=False)

    def squared_envelope(self, frames: Tensor) -> Tensor:
        """Squared envelope [n, frames, points] of `frames` [n, frames, frame_samples], relative to the reference."""
        frame_count = frames.shape[1]
        single = without_mean(frames).reshape(-1, 1, self.frame_samples)
        analytic = conv1d(single, cast(Tensor, self.filters))
        squared = analytic.square().sum(dim=1)
        return squared.reshape(-1, frame_count, self.points, self.envelope_step_samples).mean(dim=3)

    def forward(self, window: Tensor) -> Tensor:
        """Frames [batch, frames, bands] in dB of `window`."""
        envelope = self.squared_envelope(self.frames_of(window))
        frame_count = envelope.shape[1]
        mean = envelope.mean(dim=2).reshape(-1, self.selected, frame_count, 1)
        level = torch.maximum(mean, cast(Tensor, self.floor)).reshape(-1, frame_count, 1)
        # Divided before it is squared: the square of a low level is too small for float32.
        spectrum = torch.matmul(without_mean(envelope), cast(Tensor, self.basis)) / level
        real, imaginary = torch.split(spectrum, self.last_bin, dim=2)
        depth_db = 5 * torch.log10(LEAST_DEPTH**2 + real * real + imaginary * imaginary)
        return self.side_by_side(torch.cat([10 * torch.log10(level), depth_db], dim=2))


def _largest_divisor(number: int, most: float) -> int:
    """The largest divisor of `number` that is at most `most`, at least 1."""
    return next(d for d in range(max(1, min(number, int(most))), 0, -1) if number % d == 0)
