"""Where onnxruntime can run a graph: one entry a provider. `verify` knows whatever stands in this table."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .onnxruntime_session import CPU_PROVIDER, CUDA_OPTIONS, CUDA_PROVIDER


@dataclass(frozen=True)
class ExecutionProvider:
    """One provider, set so that it computes in full single precision: no TF32, no fp16, no bf16."""

    onnxruntime_name: str
    package: str
    """The Python package whose onnxruntime has it."""
    options: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    """What must be in the environment before its libraries are loaded."""
    relative_tolerance: float | None = None
    """Largest relative difference of a golden score; None for the one in the model file."""


NO_TF32 = {"NVIDIA_TF32_OVERRIDE": "0"}

PROVIDERS: dict[str, ExecutionProvider] = {
    "cpu": ExecutionProvider(CPU_PROVIDER, "onnxruntime"),
    "cuda": ExecutionProvider(CUDA_PROVIDER, "onnxruntime-gpu", CUDA_OPTIONS, NO_TF32),
    # It fuses the graph and chooses kernels by their speed; half precision or TF32 is off by far more than 1e-3.
    "tensorrt": ExecutionProvider(
        "TensorrtExecutionProvider", "onnxruntime-gpu", {"trt_fp16_enable": "0"}, NO_TF32, relative_tolerance=1e-3
    ),
    "openvino": ExecutionProvider(
        "OpenVINOExecutionProvider", "onnxruntime-openvino", {"device_type": "CPU", "precision": "FP32"}
    ),
    "xnnpack": ExecutionProvider("XnnpackExecutionProvider", "an onnxruntime built with XNNPACK"),
}
"""By the name that `--provider` takes."""
