"""A tiny model that keeps the contract and whose scores can be worked out by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from dasvdd_runtime import contract
from dasvdd_runtime.calibration import Calibration
from dasvdd_runtime.condition.levels import baseline_of
from dasvdd_runtime.detector import DecisionSettings
from numpy.typing import NDArray
from onnx import TensorProto, helper

GAMMA = 0.5


def expected_scores(windows: NDArray[np.float32]) -> dict[str, NDArray[np.float64]]:
    """What the tiny model computes for `windows` [windows, window_samples, channels], in float64.

    residual = mean square per channel; reconstruction_error = its sum; center_distance = square of the mean sample.
    """
    samples = windows.astype(np.float64)
    residual = np.mean(samples**2, axis=1)
    error = residual.sum(axis=1)
    distance = samples.mean(axis=(1, 2)) ** 2
    return {
        "score": error + GAMMA * distance,
        "reconstruction_error": error,
        "center_distance": distance,
        "residual": residual,
    }


def tiny_graph(*, kind: Literal["audio", "sensor"], channels: int, window_samples: int) -> onnx.GraphProto:
    """The graph behind `expected_scores`."""
    time_axis = 2 if kind == "audio" else 1
    shape = ["batch", channels, window_samples] if kind == "audio" else ["batch", window_samples, channels]

    def axes(name: str, *values: int) -> onnx.TensorProto:
        return helper.make_tensor(name, TensorProto.INT64, [len(values)], values)

    return helper.make_graph(
        [
            helper.make_node("Mul", ["window", "window"], ["squared"]),
            helper.make_node("ReduceMean", ["squared", "time_axis"], ["residual"], keepdims=0),
            helper.make_node("ReduceSum", ["residual", "last_axis"], ["reconstruction_error"], keepdims=0),
            helper.make_node("ReduceMean", ["window", "both_axes"], ["mean"], keepdims=0),
            helper.make_node("Mul", ["mean", "mean"], ["center_distance"]),
            helper.make_node("Mul", ["center_distance", "gamma"], ["weighted"]),
            helper.make_node("Add", ["reconstruction_error", "weighted"], ["score"]),
        ],
        "tiny",
        [helper.make_tensor_value_info("window", TensorProto.FLOAT, shape)],
        [
            helper.make_tensor_value_info("score", TensorProto.FLOAT, ["batch"]),
            helper.make_tensor_value_info("reconstruction_error", TensorProto.FLOAT, ["batch"]),
            helper.make_tensor_value_info("center_distance", TensorProto.FLOAT, ["batch"]),
            helper.make_tensor_value_info("residual", TensorProto.FLOAT, ["batch", channels]),
        ],
        [
            axes("time_axis", time_axis),
            axes("last_axis", 1),
            axes("both_axes", 1, 2),
            helper.make_tensor("gamma", TensorProto.FLOAT, [], [GAMMA]),
        ],
    )


def tiny_metadata(
    *,
    kind: Literal["audio", "sensor"] = "audio",
    channels: int = 1,
    sample_rate_hz: float = 16000.0,
    window_samples: int = 1600,
    window_hop_samples: int = 800,
    threshold: float = 0.1,
    decision: DecisionSettings | None = None,
    channel_names: list[str] | None = None,
    **fields: Any,
) -> contract.ModelMetadata:
    """Metadata for the tiny model; `fields` replace whole fields."""
    random = np.random.default_rng(0)
    windows = (0.1 * random.standard_normal((3, window_samples, channels))).astype(np.float32)
    names = channel_names or [f"channel {i}" for i in range(channels)]
    values: dict[str, Any] = {
        "schema_version": f"{contract.SCHEMA_MAJOR}.{contract.SCHEMA_MINOR}",
        "name": "tiny",
        "kind": kind,
        "sample_rate_hz": sample_rate_hz,
        "channels": channels,
        "channel_names": names,
        "units": ["full scale" if kind == "audio" else "g"] * channels,
        "window_samples": window_samples,
        "window_hop_samples": window_hop_samples,
        "front_end": {"kind": "mean square"},
        "gamma": GAMMA,
        "residual_names": names,
        "residual_baseline": [0.01] * channels,
        "decision": decision or DecisionSettings(),
        "calibration": Calibration(
            threshold=threshold,
            false_alarms_per_day=1.0,
            episodes_per_day_upper=3.0,
            confidence=0.95,
            hours=24.0,
            windows=1000,
            extrapolates=True,
            method="fitted tail",
            usual_score=0.0,
        ),
        "baseline": baseline_of(
            [windows.reshape(-1, channels)], sample_rate_hz, kind=kind, used_channels=range(channels)
        ),
        "training": contract.TrainingSummary(recordings=1, seconds=60.0, data_fingerprint="0" * 64),
        "golden": contract.GoldenWindows.encode(
            windows.swapaxes(1, 2) if kind == "audio" else windows,
            expected_scores(windows)["score"],
            relative_tolerance=1e-4,
        ),
        "versions": {"dasvdd": "0.1.0"},
        "model_fingerprint": "f" * 64,
        "created": "2026-01-01T00:00:00Z",
    }
    return contract.ModelMetadata(**(values | fields))


class TinyModel:
    """Writes tiny models. A call returns the path; its keywords are those of `metadata`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.gamma = GAMMA
        self.expected_scores = expected_scores
        self.metadata = tiny_metadata
        self.graph = tiny_graph

    def __call__(self, path: Path | None = None, **settings: Any) -> Path:
        metadata = tiny_metadata(**settings)
        graph = tiny_graph(kind=metadata.kind, channels=metadata.channels, window_samples=metadata.window_samples)
        return self.write(path or self.folder / "model.onnx", graph, contract.encode(metadata))

    def write(self, path: Path, graph: onnx.GraphProto, properties: dict[str, str]) -> Path:
        """Write `graph` with the metadata `properties` as an ONNX file, as the exporter does (opset 18, IR 8)."""
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
        helper.set_model_props(model, properties)
        path.write_bytes(model.SerializeToString())
        return path
