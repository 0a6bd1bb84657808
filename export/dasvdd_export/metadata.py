"""A trained model and its calibration -> the metadata that the contract asks for."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import onnx
import torch
from dasvdd_runtime import __version__
from dasvdd_runtime.calibration import Calibration
from dasvdd_runtime.contract import SCHEMA_MAJOR, SCHEMA_MINOR, GoldenWindows, ModelMetadata, Variant
from dasvdd_runtime.model_files.curves import ScoreHistogram
from dasvdd_train.model_file import TrainedModel
from dasvdd_train.spacing import evenly_spaced
from numpy.typing import NDArray

GOLDEN_WINDOWS = 8
GOLDEN_BYTES = 2**20
GOLDEN_TOLERANCE = 1e-4
"""Other processors sum in another order; a wrong kernel or TF32 is off by far more."""


def choose_golden(windows: NDArray[np.float32]) -> NDArray[np.float32]:
    """At most 8 windows and 1 MiB of `windows` [windows, ...], evenly spaced, always at least one."""
    return windows[evenly_spaced(len(windows), GOLDEN_WINDOWS, GOLDEN_BYTES // max(1, windows[:1].nbytes))]


def build_metadata(
    trained: TrainedModel,
    calibration: Calibration,
    *,
    residual_baseline: Sequence[float],
    golden_windows: NDArray[np.float32],
    golden_scores: NDArray[np.float64],
    golden_tolerance: float,
    onnxruntime_version: str,
    model_path: Path,
    graph: onnx.ModelProto,
    variant: Variant | None,
    held_out_scores: Sequence[NDArray[np.float64]],
) -> ModelMetadata:
    """Metadata for the file of `graph`, which scores `held_out_scores`; `golden_windows` are laid out as its input."""
    return ModelMetadata(
        schema_version=f"{SCHEMA_MAJOR}.{SCHEMA_MINOR}",
        name=trained.name,
        kind=trained.kind,
        sample_rate_hz=trained.sample_rate_hz,
        channels=trained.channels,
        channel_names=list(trained.channel_names),
        units=list(trained.units),
        window_samples=trained.window_samples,
        window_hop_samples=trained.window_hop_samples,
        front_end=trained.model.front_end.settings() | {"stacked_frames": trained.model.stacked_frames},
        gamma=float(trained.model.gamma),
        residual_names=trained.model.residual_names,
        residual_baseline=list(residual_baseline),
        decision=trained.decision,
        calibration=calibration,
        baseline=trained.baseline,
        training=trained.training,
        golden=GoldenWindows.encode(golden_windows, golden_scores, relative_tolerance=golden_tolerance),
        versions={
            "dasvdd": __version__,
            "torch": torch.__version__,
            "onnx": onnx.__version__,
            "onnxruntime": onnxruntime_version,
        },
        model_fingerprint=fingerprint_of(graph if variant else None, model_path),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        variant=variant,
        recentred=trained.recentred,
        learning=trained.learning,
        held_out_scores=ScoreHistogram.of(held_out_scores),
    )


def fingerprint_of(variant_graph: onnx.ModelProto | None, model_path: Path) -> str:
    """SHA-256, hex, of the `model.pt`; of a variant, over that and its graph, which has other scores."""
    trained = hashlib.sha256(model_path.read_bytes())
    if variant_graph is not None:
        trained.update(variant_graph.graph.SerializeToString(deterministic=True))
    return trained.hexdigest()
