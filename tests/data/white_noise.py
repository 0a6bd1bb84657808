"""White noise as the tests' microphone hears it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

RATE_HZ = 16000


def noise(seconds: float, *, amplitude: float = 0.1, seed: int = 0) -> NDArray[np.float32]:
    """Uniform noise at RATE_HZ, shape [samples, 1], full scale 1.0."""
    random = np.random.default_rng(seed)
    return (amplitude * random.uniform(-1, 1, (round(seconds * RATE_HZ), 1))).astype(np.float32)
