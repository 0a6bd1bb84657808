"""Log spectrum, envelope spectrum and raw window against scipy and physics."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.signal
import torch
from dasvdd_runtime.errors import ConfigError
from dasvdd_train.front_ends import EnvelopeSpectrum, LogSpectrum, RawWindow, build_front_end
from numpy.typing import NDArray

RATE_HZ = 3200.0
SHARED: dict[str, Any] = {
    "kind": "sensor", "sample_rate_hz": RATE_HZ, "channels": 1, "channel": "all", "channel_names": ["x"],
}  # fmt: skip


def log_spectrum(**settings: Any) -> LogSpectrum:
    defaults = {"n_fft": 512, "frame_hop_samples": 256, "spectrum_bands": 0, "floor_db": [-200.0]}
    return LogSpectrum(**(SHARED | defaults | settings))


def envelope(**settings: Any) -> EnvelopeSpectrum:
    defaults = {
        "frame_samples": 3200, "frame_hop_samples": 1600, "envelope_low_hz": 400.0, "envelope_high_hz": 1200.0,
        "envelope_max_hz": 200.0, "floor_db": [-200.0],
    }  # fmt: skip
    return EnvelopeSpectrum(**(SHARED | defaults | settings))


def as_window(samples: NDArray[np.float64]) -> torch.Tensor:
    """[samples] or [samples, channels] as a sensor's window of one."""
    return torch.from_numpy(np.atleast_2d(samples.T).T.astype(np.float32))[None]


def sine(frequency_hz: float, samples: int, amplitude: float = 1.0) -> NDArray[np.float64]:
    wave: NDArray[np.float64] = amplitude * np.sin(2 * np.pi * frequency_hz * np.arange(samples) / RATE_HZ)
    return wave


def bearing(strike_hz: float, *, rate_hz: float = RATE_HZ, seconds: float = 1.0) -> NDArray[np.float64]:
    """A resonance at 800 Hz that is struck `strike_hz` times a second, in noise as strong."""
    count = round(seconds * rate_hz)
    strikes = np.zeros(count)
    strikes[np.round(np.arange(0, seconds, 1 / strike_hz) * rate_hz).astype(int)] = 1
    time = np.arange(200) / rate_hz
    ringing = np.convolve(strikes, np.exp(-300 * time) * np.sin(2 * np.pi * 800 * time))[:count]
    noise = np.random.default_rng(0).standard_normal(count)
    return ringing + 0.5 * ringing.std() * noise


@pytest.mark.parametrize(("n_fft", "hop"), [(512, 256), (512, 512), (510, 255), (330, 110), (16, 8), (2, 1)])
def test_log_spectrum_equals_scipys_periodogram(n_fft: int, hop: int) -> None:
    """Each bin is scipy's Hann power spectrum of the frame without its mean, in dB of the unit's square, in order."""
    samples = 3 + np.random.default_rng(0).standard_normal(hop * 6)
    frames = log_spectrum(n_fft=n_fft, frame_hop_samples=hop)(as_window(samples))[0].numpy()
    assert frames.shape == (6 - n_fft // hop + 1, n_fft // 2)
    for index, frame in enumerate(frames):
        part = samples[hop * index : hop * index + n_fft]
        _, power = scipy.signal.periodogram(part, RATE_HZ, "hann", detrend="constant", scaling="spectrum")
        np.testing.assert_allclose(frame, 10 * np.log10(power[1:]), atol=2e-3)


def test_a_sine_of_one_unit_rms_reads_0_db_and_twice_is_6_db_more() -> None:
    """At a bin's centre; the neighbours of the Hann window are 6 dB lower, all else far below."""
    frequency_hz = 40 * RATE_HZ / 512
    front_end = log_spectrum()
    once = front_end(as_window(sine(frequency_hz, 512, np.sqrt(2))))[0, 0]
    twice = front_end(as_window(sine(frequency_hz, 512, 2 * np.sqrt(2))))[0, 0]
    assert front_end.band_names[39] == "250 Hz"
    assert float(once[39]) == pytest.approx(0, abs=1e-3)
    assert float(twice[39] - once[39]) == pytest.approx(6.02, abs=0.01)
    assert once[[38, 40]].tolist() == pytest.approx([-6.02, -6.02], abs=0.01)
    assert float(once[60:].max()) < -90


def test_gravity_and_mounting_angle_do_not_show() -> None:
    """A constant offset changes no bin."""
    samples = np.random.default_rng(0).standard_normal(512)
    still, turned = (log_spectrum()(as_window(samples + offset)) for offset in (0.0, 9.81))
    torch.testing.assert_close(still, turned, atol=2e-3, rtol=0)


@pytest.mark.parametrize(("n_fft", "spectrum_bands"), [(512, 32), (510, 51)])
def test_bands_average_power(n_fft: int, spectrum_bands: int) -> None:
    """White noise has one level in bins and bands; a band's power is the mean over its bins."""
    samples = as_window(np.random.default_rng(0).standard_normal(n_fft))
    sizes = {"n_fft": n_fft, "frame_hop_samples": n_fft}
    bins = 10 ** (log_spectrum(**sizes)(samples)[0, 0].double() / 10)
    bands = 10 ** (log_spectrum(**sizes, spectrum_bands=spectrum_bands)(samples)[0, 0].double() / 10)
    torch.testing.assert_close(bands, bins.reshape(spectrum_bands, -1).mean(dim=1), rtol=1e-4, atol=0)
    with pytest.raises(ConfigError, match="256 bins"):
        log_spectrum(spectrum_bands=300)


def test_silence_is_the_floor_of_each_channel() -> None:
    """Zeros read the floor, channel by channel, and channels are named."""
    front_end = log_spectrum(channels=2, channel_names=["x", "y"], floor_db=[-80.0, -60.0])
    frame = front_end(torch.zeros(1, 512, 2))[0, 0]
    assert torch.all(frame[:256] == -80)
    assert torch.all(frame[256:] == -60)
    assert front_end.band_names[256] == "y 6.25 Hz"


def test_squared_envelope_is_that_of_scipys_hilbert() -> None:
    """Inside the band the filter and square equal |hilbert|^2 of the band-passed signal, averaged over each step."""
    carrier = sine(800, 3200, 2.0) * (1 + 0.5 * sine(10, 3200))
    front_end = envelope()
    squared = front_end.squared_envelope(front_end.frames_of(as_window(carrier)))[0, 0].numpy()
    expected = 0.5 * np.abs(scipy.signal.hilbert(carrier)) ** 2
    step = front_end.envelope_step_samples
    lead = (3200 - front_end.points * step) // 2
    averaged = expected[lead : lead + front_end.points * step].reshape(-1, step).mean(axis=1)
    np.testing.assert_allclose(squared[5:-5], averaged[5:-5], rtol=0.02)


def test_a_struck_bearing_shows_its_strike_rate_and_harmonics() -> None:
    """The strongest lines of the envelope's spectrum lie at the ball-pass frequency and twice it."""
    front_end = envelope()
    frame = front_end(as_window(bearing(37.0)))[0, 0, 1:].numpy()
    lines_hz = (1 + np.arange(len(frame))) * front_end.resolution_hz
    strongest = lines_hz[np.argmax(np.where(lines_hz > 10, frame, -np.inf))]
    assert strongest == pytest.approx(37, abs=front_end.resolution_hz)
    around = np.abs(lines_hz - 74) < 1.5 * front_end.resolution_hz
    assert frame[around].max() > np.median(frame) + 6


def test_depth_does_not_change_with_loudness_and_level_does() -> None:
    """Ten times the amplitude is 20 dB in the level's feature and nothing in the depths."""
    samples = bearing(37.0)
    quiet, loud = (envelope()(as_window(gain * samples))[0, 0] for gain in (1.0, 10.0))
    assert float(loud[0] - quiet[0]) == pytest.approx(20, abs=0.01)
    torch.testing.assert_close(loud[1:], quiet[1:], atol=0.02, rtol=0)


def test_a_steady_tone_has_no_depth() -> None:
    """A tone that does not swell reads the least depth, -30 dB in most lines."""
    frame = envelope()(as_window(sine(800, 3200)))[0, 0, 1:]
    assert float(frame.median()) == pytest.approx(-30, abs=0.5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"envelope_high_hz": 2000.0}, "half the sample rate"),
        ({"envelope_low_hz": 1150.0}, "wide"),
        ({"frame_samples": 64, "frame_hop_samples": 64}, "too short"),
        ({"frame_samples": 3201}, "no multiple"),
    ],
)
def test_envelopes_that_cannot_work_are_refused(settings: dict[str, Any], message: str) -> None:
    """A band outside the spectrum, one too narrow, frames too short and frames that leave samples over are named."""
    with pytest.raises(ConfigError, match=message):
        envelope(**settings)


def test_raw_window_is_numpys_slices() -> None:
    """Frames are the samples, channel after channel; with remove_frame_mean each sums to 0."""
    samples = np.random.default_rng(0).standard_normal((40, 2)).astype(np.float32)
    settings: dict[str, Any] = SHARED | {
        "channels": 2, "channel_names": ["x", "y"], "frame_samples": 8, "frame_hop_samples": 4,
    }  # fmt: skip
    frames = RawWindow(**settings, remove_frame_mean=False)(torch.from_numpy(samples)[None])[0].numpy()
    expected = [samples[start : start + 8].T.reshape(-1) for start in range(0, 33, 4)]
    np.testing.assert_array_equal(frames, expected)
    still = RawWindow(**settings, remove_frame_mean=True)(torch.from_numpy(samples)[None])[0]
    np.testing.assert_allclose(still.reshape(-1, 2, 8).sum(dim=2), 0, atol=1e-5)


@pytest.mark.parametrize("front_end", [log_spectrum(), envelope()], ids=["log spectrum", "envelope"])
def test_settings_build_the_same_front_end(front_end: Any) -> None:
    """What a model file holds gives the same features again."""
    samples = as_window(np.random.default_rng(0).standard_normal(front_end.frame_samples))
    again = build_front_end(front_end.settings())
    torch.testing.assert_close(again(samples), front_end(samples), rtol=0, atol=0)
    assert again.band_names == front_end.band_names
