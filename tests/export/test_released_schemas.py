"""Files of every released schema load and score the same for ever."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from dasvdd_runtime import Scorer
from dasvdd_train.model_file import load_model
from dasvdd_train.scoring import score_windows
from make_tiny_models import seeded_windows

RELEASED = sorted((Path(__file__).parents[1] / "data").glob("schema_*/*.json"))


@pytest.mark.parametrize("path", RELEASED, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_released_files_score_the_same_for_ever(path: Path) -> None:
    """Both the torch and the ONNX file of a released schema load, verify and give their scores of a fixed window."""
    expected = json.loads(path.read_text())["scores"]
    scorer = Scorer(path.with_suffix(".onnx"), provider="cpu")
    scorer.verify_golden()
    windows = seeded_windows(scorer.metadata.window_samples, scorer.metadata.channels)
    np.testing.assert_allclose(scorer.score_windows(windows).score, expected, rtol=1e-4)
    np.testing.assert_allclose(
        score_windows(load_model(path.with_suffix(".pt")).model, windows)[0], expected, rtol=1e-4
    )


def test_there_are_released_files() -> None:
    """The list above is not empty by accident."""
    assert {path.stem for path in RELEASED} == {"audio", "sensor"}
