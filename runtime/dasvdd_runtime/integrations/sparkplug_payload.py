"""The payload of Sparkplug B messages. protobuf is an extra, imported here alone, when a codec is made.

Numbers of fields and data types are those of the Sparkplug specification 3.0, Payloads. Only what is used here is
declared: a reader of protocol buffers passes over fields that it does not know.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Any, NamedTuple

from ..errors import DataError
from ..extras import require

Value = bool | int | float | str | None


class DataType(IntEnum):
    """Of a metric."""

    INT64 = 4
    DOUBLE = 10
    BOOLEAN = 11
    STRING = 12


class Metric(NamedTuple):
    """A named value; None where there is none now."""

    name: str
    type: DataType
    value: Value
    past_milliseconds: int | None = None
    """When it was so, since 1970 UTC; None: it is so now."""


_VALUE_FIELDS = {
    DataType.INT64: ("long_value", 11, "TYPE_UINT64"),
    DataType.DOUBLE: ("double_value", 13, "TYPE_DOUBLE"),
    DataType.BOOLEAN: ("boolean_value", 14, "TYPE_BOOL"),
    DataType.STRING: ("string_value", 15, "TYPE_STRING"),
}
_READ_FIELDS = [*_VALUE_FIELDS.values(), ("int_value", 10, "TYPE_UINT32"), ("float_value", 12, "TYPE_FLOAT")]
"""Where a host may put the value of a metric."""
_METRIC_FIELDS = [
    ("name", 1, "TYPE_STRING"),
    ("timestamp", 3, "TYPE_UINT64"),
    ("datatype", 4, "TYPE_UINT32"),
    ("is_historical", 5, "TYPE_BOOL"),
    ("is_null", 7, "TYPE_BOOL"),
    *_READ_FIELDS,
]


class Codec:
    """Metrics to the bytes of a payload, and back."""

    def __init__(self) -> None:
        """Raises Unavailable without protobuf."""
        require("[mqtt] sparkplug", "sparkplug", ("google.protobuf",))
        self._payload = _payload_class()

    def encode(
        self, metrics: Sequence[Metric], *, milliseconds: int, seq: int | None = None, birth: bool = False
    ) -> bytes:
        """A payload made at `milliseconds` since 1970 UTC. `birth`: it declares the types of its metrics."""
        payload = self._payload(timestamp=milliseconds)
        if seq is not None:
            payload.seq = seq
        for metric in metrics:
            written = payload.metrics.add(name=metric.name, timestamp=metric.past_milliseconds or milliseconds)
            if metric.past_milliseconds is not None:
                written.is_historical = True
            if birth:
                written.datatype = int(metric.type)
            if metric.value is None:
                written.is_null = True
            else:
                setattr(written, _VALUE_FIELDS[metric.type][0], metric.value)
        encoded: bytes = payload.SerializeToString()
        return encoded

    def read(self, payload: bytes) -> list[tuple[str, Value]]:
        """The metrics of a command: names and values. Raises DataError for bytes that are no payload."""
        from google.protobuf.message import DecodeError

        try:
            read = self._payload.FromString(payload)
        except DecodeError as error:
            raise DataError(f"{payload[:40]!r} is no Sparkplug payload: {error}") from error
        metrics = [(metric.name, _value_of(metric)) for metric in read.metrics]
        if any(isinstance(part, bytes) for metric in metrics for part in metric):
            raise DataError(f"{payload[:40]!r} holds text that is not UTF-8")
        return metrics


def _value_of(metric: Any) -> Value:
    """The one that is there; None without one."""
    values: list[Value] = [getattr(metric, name) for name, _, _ in _READ_FIELDS if metric.HasField(name)]
    return values[0] if values else None


def _payload_class() -> Any:
    """The class of payloads, from its descriptor."""
    from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
    from google.protobuf.descriptor_pool import DescriptorPool
    from google.protobuf.message_factory import GetMessageClass

    file = FileDescriptorProto(name="dasvdd_sparkplug_b.proto", package="dasvdd", syntax="proto2")
    payload = file.message_type.add(name="Payload")
    metric = payload.nested_type.add(name="Metric")
    optional, repeated = FieldDescriptorProto.LABEL_OPTIONAL, FieldDescriptorProto.LABEL_REPEATED
    for name, number, kind in _METRIC_FIELDS:
        metric.field.add(name=name, number=number, type=getattr(FieldDescriptorProto, kind), label=optional)
    for name, number in (("timestamp", 1), ("seq", 3)):
        payload.field.add(name=name, number=number, type=FieldDescriptorProto.TYPE_UINT64, label=optional)
    payload.field.add(
        name="metrics",
        number=2,
        type=FieldDescriptorProto.TYPE_MESSAGE,
        label=repeated,
        type_name=".dasvdd.Payload.Metric",
    )
    pool = DescriptorPool()
    pool.Add(file)
    return GetMessageClass(pool.FindMessageTypeByName("dasvdd.Payload"))
