"""What an ONNX file's graph is made of, read from its protocol buffer: onnxruntime tells neither opset nor nodes.

Only field numbers of onnx.proto that have been fixed since IR 3 are used; everything else is skipped by its length, so
the weights are never copied. The onnx package reads the same in the tests.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from ..errors import ModelError

FLOAT = 1
EXTERNAL = 1


@dataclass(frozen=True)
class GraphSummary:
    """What the file's main graph is made of."""

    ir_version: int
    opsets: dict[str, int]
    """Version of each operator set by its domain; '' is ONNX's own."""
    producer: str
    nodes: dict[str, int]
    """Number of nodes by operator, most frequent first."""
    float_values: int
    """Single-precision numbers stored in the graph: the networks' weights and the front end's constant tables."""
    external_data: bool
    """Some of them lie in another file."""


def summarise_onnx_graph(content: bytes) -> GraphSummary:
    """The summary of an ONNX file's `content`. Raises ModelError where it is damaged."""
    ir_version, producer, opsets, graph = 0, ["", ""], dict[str, int](), memoryview(b"")
    for number, value in _fields(memoryview(content)):
        if number == 1:
            ir_version = _integer(value)
        elif number in (2, 3):
            producer[number - 2] = _text(value)
        elif number == 7:
            graph = _block(value)
        elif number == 8:
            entry = dict(_fields(_block(value)))
            opsets[_text(entry.get(1, memoryview(b"")))] = _integer(entry.get(2, 0))
    nodes, values, external = Counter[str](), 0, False
    for number, value in _fields(graph):
        if number == 1:
            nodes.update(_text(name) for field, name in _fields(_block(value)) if field == 4)
        elif number == 5:
            tensor = list(_fields(_block(value)))
            kind = dict(tensor)
            external = external or kind.get(14) == EXTERNAL
            if kind.get(2) == FLOAT:
                values += math.prod(size for field, dims in tensor if field == 1 for size in _integers(dims))
    return GraphSummary(ir_version, opsets, " ".join(producer).strip(), dict(nodes.most_common()), values, external)


Value = int | memoryview


def _fields(message: memoryview) -> Iterator[tuple[int, Value]]:
    """Field numbers and values of a protocol-buffer message: integers, or bytes that are not looked into."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, at = _varint(message, at)
            yield number, value
            continue
        if wire == 2:
            size, at = _varint(message, at)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise _damaged()
        if at + size > len(message):
            raise _damaged()
        yield number, message[at : at + size]
        at += size


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """The integer at `at`, and where the next field begins."""
    value = 0
    for place, byte in enumerate(message[at : at + 10]):
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value, at + place + 1
    raise _damaged()


def _integers(value: Value) -> Iterator[int]:
    """A repeated integer, one of them or packed."""
    if isinstance(value, int):
        yield value
        return
    at = 0
    while at < len(value):
        number, at = _varint(value, at)
        yield number


def _integer(value: Value) -> int:
    if not isinstance(value, int):
        raise _damaged()
    return value


def _block(value: Value) -> memoryview:
    if isinstance(value, int):
        raise _damaged()
    return value


def _text(value: Value) -> str:
    return bytes(_block(value)).decode("utf-8", errors="replace")


def _damaged() -> ModelError:
    return ModelError(
        "the ONNX file is damaged: its fields do not fit together. Copy the file again, or export it again."
    )
