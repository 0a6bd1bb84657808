"""The DFT in two steps against scipy, for every way that a frame is laid out."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.fft
import scipy.signal
import torch
from dasvdd_runtime.errors import ConfigError
from dasvdd_train.front_ends.two_step_dft import TwoStepDft, rows_of
from numpy.typing import NDArray


def two_step(n_fft: int, window: str = "hann") -> TwoStepDft:
    return TwoStepDft(scipy.signal.get_window(window, n_fft), scale=np.ones(n_fft // 2 + 1))


def by_scipy(frames: NDArray[np.float32], window: str) -> NDArray[np.float64]:
    weights = scipy.signal.get_window(window, frames.shape[-1])
    return np.abs(scipy.fft.rfft(frames.astype(np.float64) * weights)) ** 2


@pytest.mark.parametrize("window", ["hann", "boxcar", "bohman", "exponential"])
@pytest.mark.parametrize("n_fft", [1024, 400, 64, 62, 48, 90, 63, 31, 4, 3, 2])
def test_power_equals_scipys_dft(n_fft: int, window: str) -> None:
    """Every bin of every frame has the power of scipy's float64 DFT, for odd, even and prime sizes and any window."""
    frames = np.random.default_rng(0).standard_normal((3, 7, n_fft)).astype(np.float32)
    dft = two_step(n_fft, window)
    power = dft(torch.from_numpy(frames)).numpy()
    expected = by_scipy(frames, window)
    np.testing.assert_allclose(power[:, :, dft.column_of_bin], expected, rtol=1e-4, atol=1e-5 * expected.max())


def test_every_column_is_a_bin() -> None:
    """A column beside those of `column_of_bin` is one of the bins once more, and by_column gives it no weight."""
    frames = np.random.default_rng(0).standard_normal((1, 1, 60)).astype(np.float32)
    dft, expected = two_step(60), by_scipy(frames, "hann").ravel()
    power = dft(torch.from_numpy(frames)).numpy().ravel()
    np.testing.assert_allclose(power, expected[np.abs(power[:, None] - expected).argmin(axis=1)], rtol=1e-4)
    assert len(power) > 31
    np.testing.assert_allclose(power @ dft.by_column(np.eye(31)), expected, rtol=1e-4)


def test_a_scale_acts_on_the_amplitude_of_its_bin() -> None:
    """Each bin has the power that it has without a scale, times the square of its own."""
    frames = torch.randn(1, 2, 64, generator=torch.Generator().manual_seed(0))
    scale = np.linspace(1, 4, 33)
    plain, scaled = two_step(64), TwoStepDft(scipy.signal.get_window("hann", 64), scale=scale)
    torch.testing.assert_close(
        scaled(frames)[:, :, scaled.column_of_bin],
        plain(frames)[:, :, plain.column_of_bin] * torch.from_numpy(scale**2).float(),
    )


@pytest.mark.parametrize("n_fft", [16, 18, 15, 13])
@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_a_broken_sample_breaks_its_frames_and_no_others(n_fft: int, broken: float) -> None:
    """A NaN or infinite sample, even where the window is 0, leaves nothing of the frame that holds it finite."""
    dft = two_step(n_fft)
    for sample in range(n_fft):
        frames = torch.randn(1, 3, n_fft, generator=torch.Generator().manual_seed(0))
        frames[0, 1, sample] = broken
        power = dft(frames)[0]
        assert not power[1].isfinite().any()
        assert np.isinf(broken) or power[1].isnan().all()
        assert power[[0, 2]].isfinite().all()


def test_a_tone_leaves_other_bins_as_clean_as_one_large_product() -> None:
    """A full-scale tone in a bin's middle leaks no more than fp32 rounding into bins beyond the window's main lobe."""
    tone = torch.from_numpy(np.sin(2 * np.pi * 100 * np.arange(1024) / 1024).astype(np.float32))[None, None]
    dft = two_step(1024)
    power = dft(tone)[0, 0].numpy()[dft.column_of_bin]
    away = np.abs(np.arange(513) - 100) > 1
    assert power[away].max() < 1e-12 * power.max()


def test_the_products_are_small() -> None:
    """The default frame takes less than a fifth of the multiplications of one product for its DFT, 1024 * 1026."""
    dft = two_step(1024)
    row, column = dft.get_buffer("over_rows"), dft.get_buffer("over_columns")
    assert row.numel() * dft.row_samples + column.numel() < 1024 * 1026 / 5


def test_a_length_without_factors_is_refused_before_it_fills_the_memory() -> None:
    """A prime length of 2887 samples still fits; of 16381 it is refused with both numbers and a way out."""
    assert rows_of(2887) == 2887
    with pytest.raises(ConfigError, match=r"16381 samples, .* tables of 268\d+ numbers .* 8388608 fit.*power of two"):
        rows_of(16381)
