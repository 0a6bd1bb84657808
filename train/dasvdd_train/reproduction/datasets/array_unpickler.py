"""Pickles of plain containers and byte arrays, and of nothing else: no name in the file is ever imported or called.

numpy's own names are answered with the two stand-ins below, which check every value before an array is made of it.
"""

from __future__ import annotations

import io
import math
import pickle
from typing import Any

import numpy as np
from numpy.typing import NDArray

ARRAY_MODULES = ("numpy", "numpy.core.multiarray", "numpy._core.multiarray")


class UnsafePickle(Exception):
    """A pickle that is damaged, or that wants more than containers, numbers, text and byte arrays."""


class _Dtype:
    """Stand-in for numpy.dtype: unsigned bytes only."""

    def __init__(self, spec: object, align: object = False, copy: object = False) -> None:
        if spec not in ("u1", "|u1", b"u1", b"|u1"):
            raise UnsafePickle(f"an array of {spec!r}; only bytes ('u1') are admitted")

    def __setstate__(self, state: object) -> None:
        # Byte order, sub-arrays, fields and flags: none of them means anything for a byte.
        if not isinstance(state, tuple) or any(part is not None for part in state[2:5]):
            raise UnsafePickle("a structured array; only bytes ('u1') are admitted")


class _Array:
    """Stand-in for numpy.ndarray and for its reconstructor; `value` is there once its state was read."""

    value: NDArray[np.uint8] | None = None

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise UnsafePickle("an array without its state")
        _, shape, dtype, column_order, content = state
        plain = isinstance(shape, tuple) and all(type(size) is int and size >= 0 for size in shape)
        if not plain or not isinstance(dtype, _Dtype) or type(content) is not bytes or len(content) != math.prod(shape):
            raise UnsafePickle("an array whose shape, type and content do not go together")
        self.value = np.frombuffer(content, np.uint8).reshape(shape, order="F" if column_order else "C")


STAND_INS: dict[str, type] = {"_reconstruct": _Array, "ndarray": _Array, "dtype": _Dtype}


# The unpickler in Python: the one in C sets aside as much memory as a hostile file asks for.
class _Unpickler(pickle._Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module in ARRAY_MODULES and name in STAND_INS:
            return STAND_INS[name]
        raise UnsafePickle(
            f"it names {module}.{name}; only byte arrays are admitted, since a pickle can run any program"
        )


def load_arrays(content: bytes) -> Any:
    """The object that `content` pickles: dict, list, tuple, numbers, bytes and arrays of bytes; text stays bytes.

    Raises UnsafePickle for everything else, and for a pickle that is damaged.
    """
    try:
        return _with_arrays(_Unpickler(io.BytesIO(content), encoding="bytes").load())
    except UnsafePickle:
        raise
    except Exception as error:  # a damaged pickle may raise anything at all
        raise UnsafePickle(f"truncated or damaged ({type(error).__name__}: {error})") from error


def _with_arrays(value: Any) -> Any:
    """`value` with its stand-ins replaced, one level deep, which is how deep CIFAR-10 goes."""
    if isinstance(value, dict):
        return {key: _array_of(item) for key, item in value.items()}
    return _array_of(value)


def _array_of(value: Any) -> Any:
    if isinstance(value, _Array):
        if value.value is None:
            raise UnsafePickle("an array without its state")
        return value.value
    return value
