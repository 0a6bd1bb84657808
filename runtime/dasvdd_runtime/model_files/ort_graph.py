"""What an ORT-format file's graph is made of, read from its flatbuffer; onnxruntime brings the flatbuffers package.

The slots are those of onnxruntime's ort.fbs, to whose tables fields are only ever appended. onnxruntime's own
reader reads the same in the tests.
"""

from __future__ import annotations

import math
import struct
from collections import Counter
from collections.abc import Iterator
from typing import Any

from ..errors import ModelError
from .onnx_graph import FLOAT, GraphSummary

ORT_IDENTIFIER = slice(4, 8), b"ORTM"
"""Where a file in onnxruntime's own format says so, and how."""


def is_ort(beginning: bytes) -> bool:
    """Whether a file that begins so is in onnxruntime's own format."""
    place, identifier = ORT_IDENTIFIER
    return beginning[place] == identifier


def summarise_ort_graph(content: bytes) -> GraphSummary:
    """The summary of an ORT-format file's `content`, with the operator sets that its nodes use.

    Raises ModelError where it is damaged.
    """
    try:
        return _summary(content)
    except (struct.error, TypeError, IndexError, ValueError, OverflowError) as error:
        raise ModelError(
            "the ORT file is damaged: its fields do not fit together. Copy the file again, or export it again."
        ) from error


def _summary(content: bytes) -> GraphSummary:
    from flatbuffers import encode
    from flatbuffers.number_types import Int32Flags, Int64Flags, UOffsetTFlags
    from flatbuffers.table import Table

    session = Table(content, encode.Get(UOffsetTFlags.packer_type, content, 0))
    (model,) = _tables(session, 1, vector=False)
    (graph,) = _tables(model, 7, vector=False)
    nodes = list(_tables(graph, 2))
    used = {_text(node, 2) for node in nodes}
    versions = {_text(entry, 0): _number(entry, 1, Int64Flags) for entry in _tables(model, 1)}
    values, external = 0, False
    for tensor in _tables(graph, 0):
        external = external or _number(tensor, 6, Int64Flags, default=-1) >= 0
        if _number(tensor, 3, Int32Flags) == FLOAT:
            values += math.prod(_numbers(tensor, 2, Int64Flags))
    return GraphSummary(
        ir_version=_number(model, 0, Int64Flags),
        opsets={domain: version for domain, version in versions.items() if domain in used},
        producer=" ".join((_text(model, 2), _text(model, 3))).strip(),
        nodes=dict(Counter(_text(node, 5) for node in nodes).most_common()),
        float_values=values,
        external_data=external,
    )


def _slot(field: int) -> int:
    """Where a table's directory has its field number `field`."""
    return 4 + 2 * field


def _tables(table: Any, field: int, *, vector: bool = True) -> Iterator[Any]:
    """The tables in a field, which is a vector of them, or one."""
    offset = table.Offset(_slot(field))
    if not offset:
        return
    positions = [table.Pos + offset]
    if vector:
        start = table.Vector(offset)
        positions = [start + 4 * i for i in range(table.VectorLen(offset))]
    for position in positions:
        yield type(table)(table.Bytes, table.Indirect(position))


def _text(table: Any, field: int) -> str:
    offset = table.Offset(_slot(field))
    return bytes(table.String(table.Pos + offset)).decode("utf-8", errors="replace") if offset else ""


def _number(table: Any, field: int, flags: Any, *, default: int = 0) -> int:
    offset = table.Offset(_slot(field))
    return int(table.Get(flags, table.Pos + offset)) if offset else default


def _numbers(table: Any, field: int, flags: Any) -> list[int]:
    offset = table.Offset(_slot(field))
    if not offset:
        return []
    start = table.Vector(offset)
    return [int(table.Get(flags, start + flags.bytewidth * i)) for i in range(table.VectorLen(offset))]
