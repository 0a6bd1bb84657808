"""The folded DFT against scipy, for every way that a frame folds."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.fft
import scipy.signal
import torch
from dasvdd_train.front_ends.folded_dft import FoldedDft


def folded(n_fft: int, hop: int, window: str = "hann", bins: slice = slice(None)) -> FoldedDft:
    wanted = np.arange(n_fft // 2 + 1)[bins]
    weights = scipy.signal.get_window(window, n_fft)
    return FoldedDft(weights, hop_samples=hop, bins=wanted, scale=np.ones(len(wanted)))


@pytest.mark.parametrize("window", ["hann", "boxcar", "bohman", "exponential"])
@pytest.mark.parametrize(
    ("n_fft", "hop"),
    [(64, 32), (64, 16), (64, 64), (48, 16), (62, 31), (62, 62), (90, 15), (63, 21), (63, 63), (4, 2), (3, 1)],
)
def test_power_equals_scipys_dft(n_fft: int, hop: int, window: str) -> None:
    """Every bin of every frame has the power of scipy's float64 DFT, for odd and even sizes and any window and hop."""
    samples = np.random.default_rng(0).standard_normal((3, n_fft + 7 * hop)).astype(np.float32)
    dft = folded(n_fft, hop, window)
    power = dft(torch.from_numpy(samples)).numpy()
    frames = np.lib.stride_tricks.sliding_window_view(samples.astype(np.float64), n_fft, axis=1)[:, ::hop]
    expected = np.abs(scipy.fft.rfft(frames * scipy.signal.get_window(window, n_fft), axis=2)) ** 2
    np.testing.assert_allclose(power, expected[:, :, dft.bins], rtol=1e-4, atol=1e-5 * expected.max())
    assert sorted(dft.bins) == list(range(n_fft // 2 + 1))


def test_bins_and_their_scale_are_those_asked_for() -> None:
    """A choice of bins has the same power as among all, and a scale acts on the amplitude."""
    samples = torch.randn(1, 256, generator=torch.Generator().manual_seed(0))
    every = folded(64, 32)
    wanted = np.array([1, 2, 5, 31])
    chosen = FoldedDft(
        scipy.signal.get_window("hann", 64), hop_samples=32, bins=wanted, scale=np.array([1.0, 2.0, 3.0, 4.0])
    )
    by_bin = dict(zip(every.bins, every(samples)[0].T, strict=True))
    found = dict(zip(chosen.bins, chosen(samples)[0].T, strict=True))
    assert sorted(found) == list(wanted)
    for number, scale in zip(wanted, (1, 2, 3, 4), strict=True):
        torch.testing.assert_close(found[number], by_bin[number] * scale**2)


@pytest.mark.parametrize(("n_fft", "hop"), [(16, 8), (18, 9), (15, 5)])
@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_a_broken_sample_breaks_its_frames_and_no_others(n_fft: int, hop: int, broken: float) -> None:
    """A NaN or infinite sample, even where the window is 0, leaves no bin of the frames that hold it finite."""
    dft = folded(n_fft, hop)
    for sample in range(4 * n_fft):
        samples = torch.randn(1, 4 * n_fft, generator=torch.Generator().manual_seed(0))
        samples[0, sample] = broken
        frames = dft(samples)[0]
        starts = np.arange(len(frames)) * hop
        holds = torch.from_numpy((starts <= sample) & (sample < starts + n_fft))
        assert not frames[holds].isfinite().any()
        assert np.isinf(broken) or frames[holds].isnan().all()
        assert frames[~holds].isfinite().all()


def test_a_tone_leaves_other_bins_as_clean_as_one_large_product() -> None:
    """A full-scale tone in a bin's middle leaks no more than fp32 rounding into bins beyond the window's main lobe."""
    time = np.arange(1024 * 4)
    tone = torch.from_numpy(np.sin(2 * np.pi * 100 * time / 1024).astype(np.float32))[None]
    dft = folded(1024, 512)
    power = dft(tone)[0].numpy()
    away = np.abs(dft.bins - 100) > 1
    assert power[:, away].max() < 1e-12 * power.max()
