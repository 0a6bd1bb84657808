"""Levels in third-octave bands, eight times a second or more rarely: what a machine sounds like, without its words.

One number a band and step keeps neither phase nor the harmonics of a voice, and a step is longer than most speech
sounds, so what is said cannot be rebuilt; that somebody speaks may show.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FLOOR_POWER = 1e-12
"""-120 dB: quieter is written as that."""
LEAST_BINS = 2
"""Bins of the spectrum that a band spans at least; everything below the first such band is one band."""


class BandLevels:
    """The bands of a stream: third octaves around 1000 Hz * 2**(k/3), and one band below them."""

    def __init__(self, sample_rate_hz: float, *, step_seconds: float) -> None:
        self.step_samples = max(4, round(step_seconds * sample_rate_hz))
        self.step_seconds = self.step_samples / sample_rate_hz
        bin_hz = sample_rate_hz / self.step_samples
        half = 2 ** (1 / 6)
        centres = [1000 * 2 ** (k / 3) for k in range(-30, 31)]
        fitting = [
            c for c in centres if c * (half - 1 / half) >= LEAST_BINS * bin_hz and c * half <= sample_rate_hz / 2
        ]
        upper = [fitting[0] / half, *(c * half for c in fitting)] if fitting else [sample_rate_hz / 2]
        self.edges_hz = [bin_hz / 2, *upper]
        """Limits of the bands, one more than there are bands."""
        self.count = len(upper)
        self._bins = np.searchsorted(np.fft.rfftfreq(self.step_samples, 1 / sample_rate_hz), self.edges_hz)
        hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(self.step_samples) / self.step_samples)
        self._hann = (hann * np.sqrt(4 / (self.step_samples * np.sum(hann**2)))).astype(np.float32)

    def levels_db(self, steps: NDArray[np.float32]) -> NDArray[np.float32]:
        """Levels [steps, channels, bands] of `steps` [steps, step_samples, channels], dB of a full-scale sine.

        Sensors: dB of a sine of one unit. NaN where a sample is not finite.
        """
        power = np.abs(np.fft.rfft(steps * self._hann[None, :, None], axis=1)) ** 2
        bands = np.add.reduceat(power[:, : self._bins[-1]], self._bins[:-1], axis=1).swapaxes(1, 2)
        return (10 * np.log10(np.maximum(bands, FLOOR_POWER))).astype(np.float32)
