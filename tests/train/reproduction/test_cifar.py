"""CIFAR-10 in both of the publisher's layouts, and pickles that must never run."""

from __future__ import annotations

import io
import os
import pickle
import pickletools
import struct
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from dasvdd_train.reproduction.datasets import DataFileError, DataSetMissing
from dasvdd_train.reproduction.datasets.array_unpickler import UnsafePickle, load_arrays
from dasvdd_train.reproduction.datasets.cifar import load_cifar10, read_binary_batch, read_python_batch

NAMES = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
COUNT = 3
DATA = np.random.default_rng(0).integers(0, 256, (COUNT, 3072), dtype=np.uint8)
LABELS = [0, 9, 4]


class Python2Pickler(pickle._Pickler):
    """Writes text and bytes alike as Python 2 wrote its `str`, which is how the publisher's batches are."""

    dispatch: ClassVar[dict[type, Any]] = dict(pickle._Pickler.dispatch)

    def save_text(self, value: str | bytes) -> None:
        content = value if isinstance(value, bytes) else value.encode()
        self.write(pickle.BINSTRING + struct.pack("<i", len(content)) + content)

    dispatch[bytes] = dispatch[str] = save_text


def python_batch(data: Any = DATA, labels: Any = LABELS) -> bytes:
    """A batch in the publisher's layout: protocol 2, written by Python 2, numpy's old module names."""
    batch = {"batch_label": "training batch 1 of 5", "labels": labels, "data": data, "filenames": ["a.png"] * COUNT}
    buffer = io.BytesIO()
    Python2Pickler(buffer, protocol=2).dump(batch)
    return buffer.getvalue().replace(b"numpy._core.multiarray", b"numpy.core.multiarray")


def binary_batch() -> bytes:
    return b"".join(bytes([label]) + row.tobytes() for label, row in zip(LABELS, DATA, strict=True))


@pytest.mark.parametrize(
    ("folder", "suffix", "content"),
    [("cifar-10-batches-bin", ".bin", binary_batch()), ("cifar-10-batches-py", "", python_batch())],
    ids=["binary", "python"],
)
def test_both_layouts_give_the_same_images(tmp_path: Path, folder: str, suffix: str, content: bytes) -> None:
    """Five training batches and the test batch, pixels and labels as they were written."""
    (tmp_path / folder).mkdir()
    for name in NAMES:
        (tmp_path / folder / f"{name}{suffix}").write_bytes(content)
    images = load_cifar10(tmp_path, images_per_batch=COUNT)
    np.testing.assert_array_equal(images.train, np.tile(DATA, (5, 1)))
    np.testing.assert_array_equal(images.test, DATA)
    np.testing.assert_array_equal(images.test_labels, LABELS)
    (tmp_path / folder / f"data_batch_3{suffix}").unlink()
    with pytest.raises(DataSetMissing, match="data_batch_3"):
        load_cifar10(tmp_path, images_per_batch=COUNT)


def test_batches_cut_at_any_length_are_named(tmp_path: Path) -> None:
    """Prefixes of both kinds of batch are refused with the file's name."""
    path = tmp_path / "data_batch_1"
    for read, whole in ((read_binary_batch, binary_batch()), (read_python_batch, python_batch())):
        for length in [*range(0, len(whole), 97), len(whole) - 1]:
            path.write_bytes(whole[:length])
            with pytest.raises(DataFileError, match="data_batch_1"):
                read(path, COUNT)


@pytest.mark.parametrize(
    "content",
    [
        python_batch(data=DATA[:, :-1]),
        python_batch(data=DATA.astype(np.float64)),
        python_batch(data=DATA.astype(object)),
        python_batch(data=b"pixels"),
        python_batch(labels=[0, 1, 10]),
        python_batch(labels=[0, 1]),
        python_batch(labels=[0, 1, "2"]),
        pickle.dumps([1, 2], protocol=2),
    ],
    ids=["pixels", "floats", "objects", "bytes", "label 10", "two labels", "text label", "list"],
)
def test_a_batch_of_another_make_is_refused(tmp_path: Path, content: bytes) -> None:
    """Arrays of another shape or type, labels out of range and other objects are refused with the file's name."""
    path = tmp_path / "data_batch_1"
    path.write_bytes(content)
    with pytest.raises(DataFileError, match="data_batch_1"):
        read_python_batch(path, COUNT)


class Runs:
    """Pickles to a call of `function`."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("protocol", range(6))
def test_no_pickle_runs_anything(tmp_path: Path, protocol: int) -> None:
    """Whatever function a pickle names, at whatever protocol and depth, it is refused and has not run."""
    marker = tmp_path / "ran"
    for function, *arguments in (
        (os.system, f"touch {marker}"),
        (eval, f"open({str(marker)!r}, 'w')"),
        (exec, f"open({str(marker)!r}, 'w')"),
        (open, str(marker), "w"),
        (getattr, DATA, "tofile"),
        (np.fromfile, str(tmp_path)),
        (np.memmap, str(marker), "u1", "w+", 0, (4,)),
        (bytearray, 10),
    ):
        for value in (Runs(function, *arguments), {b"data": Runs(function, *arguments), b"labels": LABELS}):
            with pytest.raises(UnsafePickle):
                load_arrays(pickle.dumps(value, protocol=protocol))
    assert not marker.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"cos\nsystem\n(S'true'\ntR.",  # a global and a call
        b"(S'true'\nios\nsystem\n.",  # INST
        b"(cos\nsystem\nS'true'\no.",  # OBJ
        b"cnumpy\nload\n.",  # a name of numpy that is no array
        b"cnumpy.core.multiarray\n_reconstruct.__init__.__globals__\n.",  # a dotted name, up from one that is admitted
        b"cnumpy\ndtype\n(S'O'\ntR.",  # an array of objects
        b"cnumpy\nndarray\n}S'value'\nS'x'\nsb.",  # a state for the class itself
        b"cnumpy\nndarray\n)R(K\x01(K\x04tcnumpy\ndtype\n(S'u1'\ntRI00\nS'abc'\ntb.",  # content of another length
        b"cnumpy\nndarray\n)R.",  # an array without state
        b"Pid\n.",  # a persistent id
        b"\x82\x01.",  # the extension registry
        b"r\xff\xff\xff\xff.",  # a memo that would take gigabytes
        b"",
    ],
)
def test_hostile_opcodes_are_refused(content: bytes) -> None:
    """Hand-made opcodes that call, reach around, or promise what is not there raise UnsafePickle and nothing else."""
    with pytest.raises(UnsafePickle):
        load_arrays(content)


def test_any_flipped_byte_gives_an_array_batch_or_a_refusal() -> None:
    """A batch with one byte changed either loads as plain data or raises UnsafePickle, never anything else."""
    whole = python_batch()
    structure = [position for _, _, position in pickletools.genops(whole) if position is not None]
    for position in structure:
        for value in (0, ord("c"), ord("R"), ord("b"), 0xFF):
            changed = bytearray(whole)
            changed[position] = value
            try:
                loaded = load_arrays(bytes(changed))
            except UnsafePickle:
                continue
            assert type(loaded) in (dict, list, tuple, bytes, int, float, bool, type(None), str, np.ndarray, set)
