"""Samples as 16-bit integers, as files hold them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def to_int16(samples: NDArray[np.float32]) -> NDArray[np.int16]:
    """`samples` with full scale 1.0 as little-endian int16; beyond full scale they are clipped, NaN becomes 0."""
    within = np.clip(np.nan_to_num(samples, nan=0.0), -1.0, 1.0)
    return np.minimum(np.rint(within * 32768), 32767).astype("<i2")
