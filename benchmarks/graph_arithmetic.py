"""What the matrix products of a graph cost at least, for the benchmarks that print a limit beside their figure."""

from __future__ import annotations

import math
import time
from pathlib import Path

import numpy as np
import onnx
from dasvdd_runtime.model_files.onnxruntime_session import import_onnxruntime
from onnx import TensorProto, helper, numpy_helper

ROWS, INNER, COLUMNS = 832, 1024, 1024
"""A product as large as the largest of the default audio model on a batch of 32 windows."""


def flop_a_window(path: Path) -> float:
    """Floating-point operations of the matrix products (Gemm, MatMul) of the model at `path` on one window."""
    model = onnx.load(path)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    sizes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in [*inferred.value_info, *inferred.input, *inferred.output]
    }
    sizes |= {constant.name: list(constant.dims) for constant in inferred.initializer}
    products = [node for node in inferred.node if node.op_type in ("Gemm", "MatMul")]
    return 2.0 * sum(int(math.prod(sizes[node.output[0]])) * int(sizes[node.input[0]][-1]) for node in products)


class MatrixProduct:
    """One large fp32 product in a bare onnxruntime session with one thread."""

    def __init__(self) -> None:
        random = np.random.default_rng(0)
        weights = numpy_helper.from_array(random.standard_normal((INNER, COLUMNS)).astype(np.float32), "w")
        graph = helper.make_graph(
            [helper.make_node("MatMul", ["x", "w"], ["y"])],
            "product",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [ROWS, INNER])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [ROWS, COLUMNS])],
            [weights],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
        onnxruntime = import_onnxruntime()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        self._x = random.standard_normal((ROWS, INNER)).astype(np.float32)

    def flop_a_second(self, repeats: int = 10) -> float:
        """Floating-point operations in a second of processor time, over `repeats` products."""
        begin = time.process_time()
        for _ in range(repeats):
            self._session.run(None, {"x": self._x})
        return repeats * 2.0 * ROWS * INNER * COLUMNS / (time.process_time() - begin)
