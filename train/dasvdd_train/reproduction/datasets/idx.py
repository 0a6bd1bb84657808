"""MNIST and Fashion-MNIST: idx files, gzip or plain."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from .split import DataFileError, DataSetMissing, LabelledImages

UNSIGNED_BYTE = 8
GZIP_MAGIC = b"\x1f\x8b"
PIECE_BYTES = 1 << 24


def load_idx_images(folder: Path, *, name: str, published: str) -> LabelledImages:
    """The four idx files of MNIST's layout in `folder`.

    Raises DataSetMissing for a file that is not there, DataFileError for one that is damaged or whose count differs
    from its partner's.
    """
    parts = []
    for prefix in ("train", "t10k"):
        images_path = _find(folder, f"{prefix}-images-idx3-ubyte", name=name, published=published)
        labels_path = _find(folder, f"{prefix}-labels-idx1-ubyte", name=name, published=published)
        images, labels = read_idx(images_path, dimensions=3), read_idx(labels_path, dimensions=1)
        if len(images) != len(labels):
            raise DataFileError(labels_path, f"{len(labels)} labels for the {len(images)} images of {images_path.name}")
        parts += [images, labels]
    train, train_labels, test, test_labels = parts
    if train.shape[1:] != test.shape[1:]:
        raise DataFileError(folder, f"images of {train.shape[1:]} to train on and of {test.shape[1:]} to test on")
    return LabelledImages(
        train.reshape(len(train), -1), train_labels, test.reshape(len(test), -1), test_labels, train.shape[1:]
    )


def read_idx(path: Path, *, dimensions: int) -> NDArray[np.uint8]:
    """Array of unsigned bytes with `dimensions` axes from the idx file at `path`, gzip or plain.

    Raises DataFileError if the file is no such idx file, or holds less or more than its header promises.
    """
    with path.open("rb") as raw:
        packed = raw.read(2) == GZIP_MAGIC
        raw.seek(0)
        if not packed:
            return _read(path, raw, dimensions)
        try:
            with gzip.GzipFile(fileobj=raw) as unpacked:
                return _read(path, unpacked, dimensions)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise DataFileError(path, f"the gzip file is truncated or damaged ({error})") from error


def _read(path: Path, file: IO[bytes] | gzip.GzipFile, dimensions: int) -> NDArray[np.uint8]:
    header = file.read(4 + 4 * dimensions)
    magic = bytes([0, 0, UNSIGNED_BYTE, dimensions])
    if header[:4] != magic[: len(header)]:
        raise DataFileError(path, f"not an idx file of {dimensions} axes of bytes: begins {header[:4].hex()}")
    if len(header) < 4 + 4 * dimensions:
        raise DataFileError(path, f"truncated: {len(header)} bytes, and the header alone takes {4 + 4 * dimensions}")
    shape = tuple(np.frombuffer(header, ">u4", offset=4).tolist())
    size = math.prod(shape)
    # One byte more, so that too long a file shows, and so that gzip checks its sum.
    content = _up_to(file, size + 1)
    if len(content) != size or not size:
        found = f"more than {size}" if len(content) > size else str(len(content))
        raise DataFileError(path, f"the header promises {size} bytes for {shape}, and there are {found}")
    return np.frombuffer(content, np.uint8).reshape(shape)


def _up_to(file: IO[bytes] | gzip.GzipFile, size: int) -> bytes:
    """At most `size` bytes, piece by piece: a damaged header may promise more than any memory holds."""
    pieces: list[bytes] = []
    while size > 0 and (piece := file.read(min(size, PIECE_BYTES))):
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


def _find(folder: Path, stem: str, *, name: str, published: str) -> Path:
    # Some mirrors write a dot before the idx3.
    dotted = stem.replace("-idx", ".idx")
    for candidate in (f"{stem}.gz", stem, f"{dotted}.gz", dotted):
        if (folder / candidate).is_file():
            return folder / candidate
    raise DataSetMissing(name, wanted=f"{stem}.gz or {stem}", folder=folder, published=published)
