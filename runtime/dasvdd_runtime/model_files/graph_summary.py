"""What a model file's graph is made of, whichever of the two formats it has."""

from __future__ import annotations

from .onnx_graph import GraphSummary, summarise_onnx_graph
from .ort_graph import is_ort, summarise_ort_graph


def summarise_graph(content: bytes) -> GraphSummary:
    """The summary of a model file's `content`, ONNX or ORT format. Raises ModelError where it is damaged."""
    return summarise_ort_graph(content) if is_ort(content) else summarise_onnx_graph(content)
