"""The discrete Fourier transform as a constant matrix."""

from __future__ import annotations

import numpy as np
from dasvdd_runtime.errors import ConfigError
from numpy.typing import NDArray

MOST_SAMPLES = 2**14
"""Of a Fourier transform; its table grows with the square."""


def periodic_hann(n_fft: int) -> NDArray[np.float64]:
    """The Hann window of a DFT over `n_fft` samples, [n_fft]; its first value is 0. ConfigError above MOST_SAMPLES."""
    if n_fft > MOST_SAMPLES:
        raise ConfigError(
            f"a Fourier transform of {n_fft} samples, and at most {MOST_SAMPLES} fit: its table in the model grows "
            "with the square of that. Use a smaller front_end.n_fft, or shorter frames."
        )
    window: NDArray[np.float64] = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    return window


def hann_dft_basis(n_fft: int) -> NDArray[np.float32]:
    """Real and imaginary DFT basis, shape [n_fft, 2 * (n_fft // 2 + 1)], times the periodic Hann window.

    Scaled so that a full-scale sine at a bin's centre has power re**2 + im**2 = 1 in that bin. Raises ConfigError as
    periodic_hann.
    """
    hann = periodic_hann(n_fft)
    n = np.arange(n_fft)
    # n * k modulo n_fft keeps the angle exact where n * k is large.
    angle = 2 * np.pi * (np.outer(n, np.arange(n_fft // 2 + 1)) % n_fft) / n_fft
    scale = hann[:, None] * 2 / hann.sum()
    return np.concatenate([np.cos(angle) * scale, -np.sin(angle) * scale], axis=1).astype(np.float32)


def hann_dft_bins(n_fft: int, first: int, last: int) -> NDArray[np.float32]:
    """The columns of `hann_dft_basis` for the bins `first` to `last` inclusive: [n_fft, 2 * (last - first + 1)]."""
    real, imaginary = np.split(hann_dft_basis(n_fft), 2, axis=1)
    return np.concatenate([real[:, first : last + 1], imaginary[:, first : last + 1]], axis=1)
