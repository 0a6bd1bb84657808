from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import scipy.signal
from dasvdd_runtime.condition.levels import baseline_of, clipped_share, level_dbfs, octave_levels_db
from numpy.typing import NDArray

RATE_HZ = 16_000


def sine(frequency_hz: float, *, amplitude: float = 1.0, seconds: float = 4.0) -> NDArray[np.float32]:
    time = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    return (amplitude * np.sin(2 * np.pi * frequency_hz * time))[:, None].astype(np.float32)


def white(*, seconds: float = 20.0, channels: int = 1, seed: int = 1) -> NDArray[np.float32]:
    shape = (round(seconds * RATE_HZ), channels)
    return (0.1 * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


def test_a_full_scale_sine_is_zero_db() -> None:
    """The reference of the level is a full-scale sine; a full-scale square lies 3 dB above it."""
    assert level_dbfs(sine(1000)) == pytest.approx(0, abs=1e-3)
    assert level_dbfs(np.sign(sine(1001) + 1e-6)) == pytest.approx(3.0103, abs=1e-2)


@pytest.mark.parametrize(("gain", "db"), [(2.0, 6.0206), (0.1, -20.0), (0.5, -6.0206)])
def test_gain_moves_level_and_bands_alike(gain: float, db: float) -> None:
    """Twice the gain is 6 dB, in the level and in every band."""
    signal = white(seconds=3)
    louder = signal * np.float32(gain)
    assert level_dbfs(louder) - level_dbfs(signal) == pytest.approx(db, abs=1e-3)
    difference = octave_levels_db(louder, RATE_HZ)[1] - octave_levels_db(signal, RATE_HZ)[1]
    np.testing.assert_allclose(difference, db, atol=1e-3)


def test_silence_and_offset() -> None:
    """Zeros and a constant have no level; an offset does not change that of a sound, channel by channel."""
    assert level_dbfs(np.zeros((100, 2), np.float32)) == float("-inf")
    assert level_dbfs(np.full((100, 2), [0.25, -0.5], np.float32)) == float("-inf")
    stereo = white(seconds=1, channels=2)
    assert level_dbfs(stereo + np.array([0.25, -0.5], np.float32)) == pytest.approx(level_dbfs(stereo), abs=1e-3)


def test_clipped_share_counts_both_rails() -> None:
    """Samples at the positive and the negative end of a 16-bit converter count, the one below does not."""
    samples = np.array([[1.0], [-1.0], [32767 / 32768], [0.99], [0.0]], np.float32)
    assert clipped_share(samples) == pytest.approx(3 / 5)
    assert clipped_share(np.empty((0, 1), np.float32)) == 0.0


@pytest.mark.parametrize("center_hz", [62.5, 250.0, 1000.0, 4000.0])
def test_a_tone_lies_in_its_octave(center_hz: float) -> None:
    """A full-scale sine at a band's centre shows 0 dB there and 50 dB less in all others."""
    bands_hz, levels_db = octave_levels_db(sine(center_hz), RATE_HZ)
    own = list(bands_hz).index(center_hz)
    assert levels_db[own] == pytest.approx(0, abs=0.01)
    assert np.delete(levels_db, own).max() < -50


def test_bands_lie_below_half_the_sample_rate() -> None:
    """At 16 kHz the octaves go from 62.5 Hz to 4 kHz: 8 kHz would reach beyond 8 kHz, 31.25 Hz below 30 Hz."""
    assert octave_levels_db(white(seconds=1), RATE_HZ)[0].tolist() == [62.5, 125, 250, 500, 1000, 2000, 4000]


def test_octaves_agree_with_welch() -> None:
    """Band levels of coloured noise equal the integral of scipy's power spectral density to 0.1 dB."""
    samples = scipy.signal.lfilter([1.0], [1.0, -0.9], white()[:, 0])[:, None].astype(np.float32)
    bands_hz, levels_db = octave_levels_db(samples, RATE_HZ)
    frequency_hz, density = scipy.signal.welch(
        samples[:, 0], RATE_HZ, window="hann", nperseg=RATE_HZ, noverlap=0, detrend=False
    )
    for band_hz, level in zip(bands_hz, levels_db, strict=True):
        inside = (frequency_hz >= band_hz / np.sqrt(2)) & (frequency_hz < band_hz * np.sqrt(2))
        power = density[inside].sum() * (frequency_hz[1] - frequency_hz[0])
        assert level == pytest.approx(10 * np.log10(2 * power), abs=0.1)


def test_channels_are_averaged_in_power() -> None:
    """A channel of zeros beside a sound takes 3 dB off, whatever the sound."""
    one = white(seconds=2)
    both = np.concatenate([one, np.zeros_like(one)], axis=1)
    np.testing.assert_allclose(
        octave_levels_db(one, RATE_HZ)[1] - octave_levels_db(both, RATE_HZ)[1], 3.0103, atol=1e-3
    )
    assert level_dbfs(one) - level_dbfs(both) == pytest.approx(3.0103, abs=1e-3)


def test_a_second_less_than_one_is_enough() -> None:
    """Half a second has levels too, close to those of twenty."""
    _, short = octave_levels_db(white()[: RATE_HZ // 2], RATE_HZ)
    _, long = octave_levels_db(white(), RATE_HZ)
    np.testing.assert_allclose(short[2:], long[2:], atol=2.0)


def test_the_baseline_of_several_pieces_is_that_of_all() -> None:
    """Mean and standard deviation over pieces of different lengths equal numpy's over all samples."""
    pieces = [white(seconds=2, channels=3, seed=1) + 5, 2 * white(seconds=3.5, channels=3, seed=2)]
    baseline = baseline_of(pieces, RATE_HZ, kind="sensor", used_channels=[0, 1, 2])
    together = np.concatenate(pieces).astype(np.float64)
    np.testing.assert_allclose(baseline.channel_mean, together.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(baseline.channel_std, together.std(axis=0), rtol=1e-6)
    assert baseline.band_hz == []
    assert baseline.band_levels_db == []


def test_the_baseline_of_audio() -> None:
    """Percentiles of one-second levels spread as the gain did; bands are means in power over the pieces."""
    quiet, loud = white(seconds=5, seed=1), 10 * white(seconds=5, seed=2)
    baseline = baseline_of([quiet, loud], RATE_HZ, kind="audio", used_channels=[0])
    low, _, high = baseline.level_dbfs
    assert high - low == pytest.approx(20, abs=0.3)
    expected = 10 * np.log10(np.mean([10 ** (octave_levels_db(x, RATE_HZ)[1] / 10) for x in (quiet, loud)], axis=0))
    np.testing.assert_allclose(baseline.band_levels_db, expected, atol=1e-6)


def test_a_baseline_stays_finite() -> None:
    """Silence inside a recording, and a piece shorter than a second, keep every number finite, as JSON needs it."""
    silent_start = np.concatenate([np.zeros((2 * RATE_HZ, 1), np.float32), white(seconds=2)])
    baseline = baseline_of([silent_start, white(seconds=0.3)], RATE_HZ, kind="audio", used_channels=[0])
    assert np.isfinite(baseline.level_dbfs + baseline.band_levels_db + baseline.channel_std).all()


def test_a_long_recording_needs_no_copy_of_itself() -> None:
    """Level and bands of ten minutes, 38 MB in float32, take less than half of that on top."""
    samples = np.tile(white(seconds=1), (600, 1))
    tracemalloc.start()
    level_dbfs(samples)
    octave_levels_db(samples, RATE_HZ)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < samples.nbytes / 2
