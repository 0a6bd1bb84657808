"""model.onnx -> model.ort: the format of onnxruntime builds without an ONNX parser."""

from __future__ import annotations

import tempfile
from pathlib import Path

from dasvdd_runtime.errors import DasvddError
from dasvdd_runtime.model_files.graph_summary import summarise_graph
from dasvdd_runtime.model_files.onnxruntime_session import CPU_PROVIDER, import_onnxruntime, session_options

from .fused import IR_VERSION, OPSET


def to_ort(content: bytes, *, whole_numbers: bool) -> bytes:
    """The ONNX file `content`, with its metadata, in ORT format, at basic optimisation: the same on all processors.

    A file in ORT format is run as it is, so with `whole_numbers` the extended level joins the 8-bit products into nodes
    of onnxruntime's CPU provider; all but the code's, which is also read as it is. Raises DasvddError where opset or IR
    are not kept.
    """
    onnxruntime = import_onnxruntime()
    levels = onnxruntime.GraphOptimizationLevel
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "model.onnx", Path(folder) / "model.ort"
        source.write_bytes(content)
        options = session_options(onnxruntime, 1)
        options.graph_optimization_level = levels.ORT_ENABLE_EXTENDED if whole_numbers else levels.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(target)
        options.add_session_config_entry("session.save_model_format", "ORT")
        onnxruntime.InferenceSession(str(source), options, providers=[CPU_PROVIDER])
        converted = target.read_bytes()
    found = summarise_graph(converted)
    if (found.ir_version, found.opsets.get("")) != (IR_VERSION, OPSET):
        raise DasvddError(
            f"onnxruntime {onnxruntime.__version__} wrote IR {found.ir_version} and the operator sets {found.opsets} "
            f"into the ORT file, expected IR {IR_VERSION} and opset {OPSET}. Use the versions of constraints.txt."
        )
    return converted
