"""Slaney's mel scale and its triangular filters."""

from __future__ import annotations

import numpy as np
from dasvdd_runtime.errors import ConfigError
from numpy.typing import NDArray


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
