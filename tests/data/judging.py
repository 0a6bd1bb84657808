"""One pipeline alone, as the service runs many."""

from __future__ import annotations

from typing import Any

import numpy as np
from dasvdd_runtime.pipeline import Pipeline
from dasvdd_runtime.running.scoring import score_waiting
from numpy.typing import NDArray


def judge(pipeline: Pipeline, samples: NDArray[np.float32]) -> list[dict[str, Any]]:
    """The events that the next `samples` [samples, channels] of its source cause."""
    caused: list[dict[str, Any]] = []
    pipeline.cut(samples)
    score_waiting([pipeline], caused.extend)
    return caused
