"""model.pt -> one ONNX graph that takes samples and emits the score."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence

import onnx
import torch
from dasvdd_runtime.contract import OUTPUT_NAMES
from dasvdd_runtime.errors import DasvddError
from dasvdd_runtime.stream_scorer import STATE_NEXT
from dasvdd_train.model import DasvddModel
from dasvdd_train.model_file import TrainedModel

from .stream_form import StreamForm

OPSET = 18
IR_VERSION = 8
"""onnxruntime 1.17 refuses what the exporter writes by itself, IR 10."""
FORBIDDEN = {"STFT", "DFT", "Pad", "Loop", "If", "Scan", "ReduceMax", "ReduceMin"}
"""Operators that have no CUDA kernel, are slow, or lose a NaN."""


def export_graph(trained: TrainedModel) -> onnx.ModelProto:
    """The fused graph, without metadata. Raises DasvddError if the exporter made something a device cannot run."""
    return export_model(trained.model, input_shape(trained))


def export_model(model: DasvddModel, shape: tuple[int, int]) -> onnx.ModelProto:
    """The graph of `model` for windows of `shape`, without metadata. Raises DasvddError as `export_graph` does."""
    return export_module(model, {"window": shape}, OUTPUT_NAMES)


def export_stream_form(form: StreamForm, shape: tuple[int, int]) -> onnx.ModelProto:
    """The graph of `form` for hops of `shape`, without metadata. Raises DasvddError as `export_graph` does."""
    return export_module(form, {"samples": shape, "state": (form.state_size,)}, (*OUTPUT_NAMES, STATE_NEXT))


def export_module(
    module: torch.nn.Module, shapes: Mapping[str, tuple[int, ...]], output_names: Sequence[str]
) -> onnx.ModelProto:
    """The graph of `module` for inputs of `shapes` behind a batch. Raises DasvddError as `export_graph` does."""
    batch = torch.export.Dim("batch", min=1, max=65536)
    with quiet():
        program = torch.onnx.export(
            module,
            tuple(torch.zeros(2, *shape) for shape in shapes.values()),
            dynamo=True,
            opset_version=OPSET,
            input_names=list(shapes),
            output_names=list(output_names),
            dynamic_shapes=tuple({0: batch} for _ in shapes),
            external_data=False,
            verbose=False,
        )
    if program is None:
        raise DasvddError("torch's exporter returned nothing. Please report this with the versions of torch and onnx.")
    graph = program.model_proto
    graph.ir_version = IR_VERSION
    _strip_notes(graph)
    check_graph(graph)
    return graph


def input_shape(trained: TrainedModel) -> tuple[int, int]:
    """Shape of one window as the graph takes it: audio (channels, samples), sensor (samples, channels)."""
    sizes = (trained.channels, trained.window_samples)
    return sizes if trained.kind == "audio" else sizes[::-1]


def check_graph(graph: onnx.ModelProto) -> None:
    """Raise DasvddError unless `graph` is valid, of the opset, IR and operators that devices run."""
    onnx.checker.check_model(graph, full_check=True)
    operators = {node.op_type for node in graph.graph.node}
    if operators & FORBIDDEN:
        raise DasvddError(f"the exported graph holds {', '.join(sorted(operators & FORBIDDEN))}, which devices lack")
    if "Gemm" not in operators:
        raise DasvddError("the exported graph holds no Gemm: the networks did not get two-dimensional input")
    opsets = {entry.domain: entry.version for entry in graph.opset_import}
    if opsets != {"": OPSET}:
        raise DasvddError(f"the exported graph has the operator sets {opsets}, expected only opset {OPSET}")
    if graph.ir_version != IR_VERSION:
        raise DasvddError(f"the exported graph has IR version {graph.ir_version}, expected {IR_VERSION}")


def _strip_notes(graph: onnx.ModelProto) -> None:
    """Remove the exporter's notes on every node and value: stack traces with the paths of this machine."""
    del graph.metadata_props[:]
    del graph.functions[:]
    for items in (graph.graph.node, graph.graph.value_info, graph.graph.input, graph.graph.output):
        for item in items:
            item.doc_string = ""
            del item.metadata_props[:]
    for initializer in graph.graph.initializer:
        initializer.doc_string = ""
        del initializer.metadata_props[:]
    del graph.graph.value_info[:]
    del graph.graph.metadata_props[:]
    graph.graph.doc_string = ""


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Leave out what torch's exporter and onnxruntime's quantiser say of themselves: progress, advice, warnings."""
    previous = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(previous)
