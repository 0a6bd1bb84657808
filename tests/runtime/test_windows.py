from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from dasvdd_runtime.windows import Windower, cut_windows
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

CUTS = st.lists(st.integers(0, 120), max_size=12)
LENGTHS = st.integers(1, 40)


def ramp(samples: int, channels: int = 2) -> NDArray[np.float32]:
    """Samples that all differ, so that a window shows where it was cut."""
    return np.arange(samples * channels, dtype=np.float32).reshape(samples, channels)


@given(cuts=CUTS, samples=st.integers(0, 120), window=LENGTHS, hop=LENGTHS)
def test_block_sizes_do_not_matter(cuts: list[int], samples: int, window: int, hop: int) -> None:
    """Whatever the blocks, empty ones too, and for hops beyond the window too, the windows are those of the whole."""
    signal = ramp(samples)
    windower = Windower(window_samples=window, hop_samples=hop, channels=2)
    edges = sorted([0, samples, samples, *(min(cut, samples) for cut in cuts)])
    found = [w for start, end in pairwise(edges) for w in windower.push(signal[start:end])]
    firsts = list(range(0, samples - window + 1, hop))
    assert [w.first_sample for w in found] == firsts
    for first, w in zip(firsts, found, strict=True):
        np.testing.assert_array_equal(w.samples, signal[first : first + window])
    whole = cut_windows(signal, window_samples=window, hop_samples=hop)
    assert whole.shape == (len(firsts), window, 2)
    assert [w[0, 0] for w in whole] == [signal[first, 0] for first in firsts]


@given(before=st.integers(0, 60), after=st.integers(0, 60), first=st.integers(0, 10_000), window=LENGTHS, hop=LENGTHS)
def test_a_restart_forgets_what_came_before(before: int, after: int, first: int, window: int, hop: int) -> None:
    """After a gap the first new sample starts a window with the index given, and no window spans the gap."""
    windower = Windower(window_samples=window, hop_samples=hop, channels=2)
    windower.push(-ramp(before) - 1)
    windower.restart(first)
    found = windower.push(ramp(after))
    assert [w.first_sample for w in found] == [first + i for i in range(0, after - window + 1, hop)]
    assert all((w.samples >= 0).all() for w in found)


def test_windows_are_copies() -> None:
    """A window keeps its samples when the capture buffer that it came from is used again."""
    windower = Windower(window_samples=4, hop_samples=2, channels=1)
    buffer = ramp(6, 1)
    found = windower.push(buffer)
    buffer[:] = -1
    assert [w.samples[:, 0].tolist() for w in found] == [[0, 1, 2, 3], [2, 3, 4, 5]]


def test_memory_is_bounded() -> None:
    """Ten thousand small blocks leave less than a window behind."""
    windower = Windower(window_samples=100, hop_samples=300, channels=1)
    for _ in range(10_000):
        windower.push(ramp(7, 1))
        assert len(windower._pending) < 100


def test_a_hand_worked_cut() -> None:
    """Seven samples in windows of three every two are 0-2, 2-4 and 4-6; the view copies nothing."""
    signal = ramp(7, 1)
    windows = cut_windows(signal, window_samples=3, hop_samples=2)
    assert windows[:, :, 0].tolist() == [[0, 1, 2], [2, 3, 4], [4, 5, 6]]
    assert np.shares_memory(windows, signal)


@pytest.mark.parametrize("bad", [(0, 1, 1), (1, 0, 1), (1, 1, 0), (-5, 1, 1)])
def test_sizes_below_one_are_refused(bad: tuple[int, int, int]) -> None:
    """A window, hop or channel count below one cannot be cut."""
    window, hop, channels = bad
    with pytest.raises(ValueError, match="each must be at least 1"):
        Windower(window_samples=window, hop_samples=hop, channels=channels)


@pytest.mark.parametrize("shape", [(10, 3), (10,), (1, 10, 2)])
def test_another_number_of_channels_is_refused(shape: tuple[int, ...]) -> None:
    """A block of another shape than [samples, channels] is a fault of the caller."""
    windower = Windower(window_samples=4, hop_samples=2, channels=2)
    with pytest.raises(ValueError, match="2 channels"):
        windower.push(np.zeros(shape, np.float32))
