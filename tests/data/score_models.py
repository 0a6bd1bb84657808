"""Score model files with whatever onnxruntime this Python has: python score_models.py FILES prints one JSON object."""

from __future__ import annotations

import json
import sys
from importlib import metadata
from typing import Any

import numpy as np
from dasvdd_runtime.scorer import Scorer
from numpy.typing import NDArray

NOISE_WINDOWS = 32


def windows_for(scorer: Scorer) -> NDArray[np.float32]:
    """The golden windows of a model and noise of the same shape: [windows, window_samples, channels]."""
    golden = scorer.metadata.golden.windows()
    golden = golden.swapaxes(1, 2) if scorer.metadata.kind == "audio" else golden
    noise = 0.1 * np.random.default_rng(0).standard_normal((NOISE_WINDOWS, *golden.shape[1:]))
    return np.concatenate([golden, noise.astype(np.float32)])


def score_file(path: str) -> dict[str, Any]:
    """How far the golden windows are from their stored scores, and the score of each of `windows_for`."""
    scorer = Scorer(path, provider="cpu")
    return {
        "golden_difference": scorer.verify_golden(),
        "scores": scorer.score_windows(windows_for(scorer)).score.tolist(),
    }


if __name__ == "__main__":
    installed = {distribution.name: distribution.version for distribution in metadata.distributions()}
    print(json.dumps({"installed": installed, "files": {path: score_file(path) for path in sys.argv[1:]}}))
