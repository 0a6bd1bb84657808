"""The layout of an IIO buffer -> samples. Pure. Source: Documentation/iio and ABI/testing/sysfs-bus-iio of Linux."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_TYPE = re.compile(r"(?P<order>[bl])e:(?P<sign>[su])(?P<bits>\d+)/(?P<storage>\d+)(?:>>(?P<shift>\d+))?")


@dataclass(frozen=True)
class ScanType:
    """How one value stands in the buffer."""

    storage: np.dtype[np.unsignedinteger]
    """Unsigned, in its byte order."""
    bits: int
    """That are the value, once shifted."""
    shift: int
    signed: bool

    def decode(self, stored: NDArray[np.unsignedinteger]) -> NDArray[np.float64]:
        """Whole numbers."""
        kept = (stored.astype(np.uint64) >> np.uint64(self.shift)) << np.uint64(64 - self.bits)
        if self.signed:
            return (kept.view(np.int64) >> np.int64(64 - self.bits)).astype(np.float64)
        return (kept >> np.uint64(64 - self.bits)).astype(np.float64)


@dataclass(frozen=True)
class Element:
    """One wanted channel."""

    index: int
    """Its place in the order of the buffer."""
    type: ScanType
    scale: float = 1.0
    offset: float = 0.0


def parse_type(text: str) -> ScanType:
    """What `in_*_type` says: 'le:s12/16>>4' are the 12 upper bits of 16, signed. Raises ValueError."""
    found = _TYPE.fullmatch(text)
    if found is None:
        raise ValueError(f"the type '{text}' is not like 'le:s16/16>>0'")
    bits, storage, shift = int(found["bits"]), int(found["storage"]), int(found["shift"] or 0)
    if storage not in (8, 16, 32, 64) or not 0 < bits <= storage - shift:
        raise ValueError(f"the type '{text}' says {bits} of {storage} bits, shifted by {shift}")
    order = "<" if found["order"] == "l" else ">"
    return ScanType(np.dtype(f"{order}u{storage // 8}"), bits, shift, found["sign"] == "s")


class Scan:
    """One sample of all elements: each aligned to its own size, the whole to that of the largest."""

    def __init__(self, elements: Sequence[Element]) -> None:
        """`elements` in the order of the model's channels."""
        self._elements = list(elements)
        offsets = [0] * len(elements)
        end = 0
        for channel in sorted(range(len(elements)), key=lambda channel: elements[channel].index):
            size = elements[channel].type.storage.itemsize
            offsets[channel] = -(-end // size) * size
            end = offsets[channel] + size
        largest = max(element.type.storage.itemsize for element in elements)
        self.size = -(-end // largest) * largest
        """Bytes."""
        self._layout = np.dtype(
            {
                "names": [str(channel) for channel in range(len(elements))],
                "formats": [element.type.storage for element in elements],
                "offsets": offsets,
                "itemsize": self.size,
            }
        )

    def decode(self, data: bytes) -> NDArray[np.float32]:
        """Whole scans -> samples [n, channels], (value + offset) * scale."""
        stored = np.frombuffer(data, self._layout)
        columns = [
            (element.type.decode(stored[str(channel)]) + element.offset) * element.scale
            for channel, element in enumerate(self._elements)
        ]
        return np.stack(columns, axis=1).astype(np.float32)
