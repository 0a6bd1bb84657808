"""The fused graph with its networks in int8 or fp16; front end, residual, distance and score stay fp32."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import onnx
from dasvdd_runtime.model_files.onnxruntime_session import import_onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from .fused import check_graph, quiet

VariantName = Literal["fp32", "fp16", "int8"]
VARIANTS: tuple[VariantName, ...] = get_args(VariantName)
ACTIVATIONS = {"LeakyRelu", "Sigmoid"}
CALIBRATION_BATCH = 64
LARGEST_FEATURE = 1000.0
"""fp16 networks see features within so many standard deviations: beyond, their sums could overflow to infinity. The
residual takes the feature as it is."""


def network_gemms(graph: onnx.ModelProto) -> list[onnx.NodeProto]:
    """The matrix products of encoder and decoder, in order."""
    return [
        node
        for node in graph.graph.node
        if node.op_type in ("Gemm", "MatMul") and any(name.startswith(("encoder.", "decoder.")) for name in node.input)
    ]


def int8_graph(graph: onnx.ModelProto, windows: NDArray[np.float32]) -> onnx.ModelProto:
    """`graph` with static 8-bit matrix products in its networks, their ranges taken from `windows` (graph layout).

    Weights have a scale per output and 7 bits: processors without VNNI add two 8-bit products in 16 bits, which eight
    bits would overflow, so the score would depend on the processor. Outputs of the products stay float.
    """
    import_onnxruntime()
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Batches(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime ships no types
        def __init__(self) -> None:
            self._starts = iter(range(0, len(windows), CALIBRATION_BATCH))

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            start = next(self._starts, None)
            return None if start is None else {"window": windows[start : start + CALIBRATION_BATCH]}

    prepared = _copy(graph)
    names = _branch_off(prepared)
    # Quiet: its advice to pre-process would fuse away the names of the networks' nodes.
    with tempfile.TemporaryDirectory() as folder, quiet():
        source, target = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        source.write_bytes(prepared.SerializeToString())
        quantize_static(
            str(source),
            str(target),
            Batches(),
            quant_format=QuantFormat.QDQ,
            nodes_to_quantize=names,
            op_types_to_quantize=["Gemm", "MatMul"],
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            reduce_range=True,
            extra_options={"OpTypesToExcludeOutputQuantization": ["Gemm", "MatMul"]},
        )
        quantised = onnx.load(target)
    _guard_distance(quantised)
    return _finished(quantised, graph)


def fp16_graph(graph: onnx.ModelProto) -> onnx.ModelProto:
    """`graph` with the layers of its networks, and their weights, in half precision."""
    half = _copy(graph)
    products = {node.output[0] for node in network_gemms(half)}
    weights = {name for node in network_gemms(half) for name in node.input[1:]}
    inside = set[str]()
    for node in half.graph.node:
        if node.output[0] in products or (node.op_type in ACTIVATIONS and node.input[0] in inside):
            inside.add(node.output[0])
    read_outside = {name for node in half.graph.node if node.output[0] not in inside for name in node.input} & inside
    nodes = list[onnx.NodeProto]()
    for node in half.graph.node:
        if node.output[0] not in inside:
            nodes.append(node)
            continue
        name, result = node.input[0], node.output[0]
        if name not in inside:
            nodes += [
                helper.make_node("Clip", [name, "lowest_feature", "largest_feature"], [f"{name}_clipped"]),
                helper.make_node("Cast", [f"{name}_clipped"], [f"{name}_half"], to=TensorProto.FLOAT16),
            ]
        node.input[0], node.output[0] = f"{name}_half", f"{result}_half"
        nodes.append(node)
        if result in read_outside:
            nodes.append(helper.make_node("Cast", [f"{result}_half"], [result], to=TensorProto.FLOAT))
    del half.graph.node[:]
    half.graph.node.extend(nodes)
    for initializer in half.graph.initializer:
        if initializer.name in weights:
            values = numpy_helper.to_array(initializer).astype(np.float16)
            initializer.CopyFrom(numpy_helper.from_array(values, initializer.name))
    for name, value in (("lowest_feature", -LARGEST_FEATURE), ("largest_feature", LARGEST_FEATURE)):
        half.graph.initializer.append(numpy_helper.from_array(np.array(value, np.float32), name))
    return _finished(half, graph)


def _branch_off(graph: onnx.ModelProto) -> list[str]:
    """Give each network product an input of its own, so that only what it reads is quantised; the products' names.

    The quantiser rounds a tensor for all who read it: the residual would be taken from rounded features, in which a
    NaN is a number, and the distance from a rounded code.
    """
    nodes, products = list[onnx.NodeProto](), network_gemms(graph)
    for node in graph.graph.node:
        if node in products:
            nodes.append(helper.make_node("Identity", [node.input[0]], [f"{node.input[0]}_to_network"]))
            node.input[0] = f"{node.input[0]}_to_network"
        nodes.append(node)
    names = [node.name for node in products]
    del graph.graph.node[:]
    graph.graph.node.extend(nodes)
    return names


def _guard_distance(graph: onnx.ModelProto) -> None:
    """Let a NaN through to center_distance: in a whole number, as which the code was computed, it is lost.

    The reconstruction error has it, since the residual is taken from the features themselves; 0 times it is added.
    """
    for node in graph.graph.node:
        for names in (node.input, node.output):
            names[:] = ["distance_of_code" if name == "center_distance" else name for name in names]
    graph.graph.node.append(helper.make_node("Mul", ["reconstruction_error", "nothing"], ["nan_or_0"]))
    graph.graph.node.append(helper.make_node("Add", ["distance_of_code", "nan_or_0"], ["center_distance"]))
    graph.graph.initializer.append(numpy_helper.from_array(np.array(0, np.float32), "nothing"))


def _finished(changed: onnx.ModelProto, original: onnx.ModelProto) -> onnx.ModelProto:
    """`changed` under the same constraints as `original`. Raises DasvddError where it breaks them."""
    del changed.graph.value_info[:]
    del changed.metadata_props[:]
    changed.ir_version = original.ir_version
    changed.producer_name, changed.producer_version = original.producer_name, original.producer_version
    check_graph(changed)
    return changed


def _copy(graph: onnx.ModelProto) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(graph)
    return copy
