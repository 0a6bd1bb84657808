"""Samples in a temporary file: what is read is what was added."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from dasvdd_runtime.errors import DasvddError
from dasvdd_train.sample_store import SampleStore
from numpy.typing import NDArray


def noise(rows: int, channels: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((rows, channels)).astype(np.float32)


def test_slices_are_numpys(tmp_path: Path) -> None:
    """Any slice of any recording equals the slice of the array, whatever blocks it came in; nothing is left behind."""
    store = SampleStore(tmp_path)
    arrays = [noise(1000, 3), noise(7, 1, 1), np.empty((0, 2), np.float32), noise(500, 2, 2)]
    stored = [store.add(np.array_split(a, 9), channels=a.shape[1]) for a in arrays]
    for samples, array in zip(stored, arrays, strict=True):
        assert samples.shape == array.shape
        for wanted in (slice(None), slice(3, 5), slice(-4, None), slice(2, 10**9), slice(5, 5), slice(6, 2)):
            np.testing.assert_array_equal(samples[wanted], array[wanted])
        np.testing.assert_array_equal(samples.part(2, 6)[1:], array[2:6][1:]) if len(array) > 6 else None
        blocks = list(samples.blocks(100))
        assert sum(map(len, blocks)) == len(array)
    assert list(tmp_path.iterdir()) == []


def test_a_recording_that_fails_half_way_takes_no_room() -> None:
    """The error of the reader passes through, and the next recording is stored in its place."""
    store = SampleStore()

    def broken() -> Iterator[NDArray[np.float32]]:
        yield noise(100, 1)
        raise ValueError("truncated")

    with pytest.raises(ValueError, match="truncated"):
        store.add(broken(), channels=1)
    stored = store.add([noise(10, 1, 3)], channels=1)
    assert stored.offset_bytes == 0
    np.testing.assert_array_equal(stored[:], noise(10, 1, 3))


def test_a_full_disk_is_named_with_what_to_do() -> None:
    """/dev/full stands for it: every write fails as on a full disk."""
    store = SampleStore()
    with Path("/dev/full").open("r+b", buffering=0) as full:
        store._file = full
        with pytest.raises(DasvddError, match="4 bytes a sample"):
            store.add([noise(10, 1)], channels=1)


def test_a_long_recording_is_never_in_memory() -> None:
    """400 MB pass through the store within 150 MB of memory beyond the imports'."""
    code = """
import resource, numpy as np
from dasvdd_train.sample_store import SampleStore
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
block = np.ones((2**20, 1), np.float32)
stored = SampleStore().add((block for _ in range(100)), channels=1)
total = sum(float(part.sum()) for part in stored.blocks())
assert total == 100 * 2**20, total
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 150 * 1024
