"""A few of many, evenly spread."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def evenly_spaced(count: int, *most: int) -> NDArray[np.int64]:
    """Indices of at most the smallest of `most` out of `count` items, evenly spaced, but of at least one."""
    chosen = min(count, max(1, min(most)))
    return np.linspace(0, count - 1, chosen).round().astype(np.int64)
