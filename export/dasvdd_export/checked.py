"""A model whose graph was found to say what it says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import onnx
from dasvdd_runtime.calibration import Calibration
from dasvdd_train.holdout import Holdout
from dasvdd_train.model_file import TrainedModel

from . import parity

FileFormat = Literal["onnx", "ort"]


@dataclass(frozen=True)
class Checked:
    """A graph that says what the trained model says, and what it was checked with."""

    model_path: Path
    trained: TrainedModel
    graph: onnx.ModelProto
    """fp32, without metadata."""
    run: parity.Run
    """The graph in onnxruntime, on the CPU."""
    holdout: Holdout
    residual_baseline: Sequence[float]
    calibration: Calibration
    findings: list[parity.Finding]
    file_format: FileFormat
