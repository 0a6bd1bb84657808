"""Front ends against librosa, physics and broken settings."""

from __future__ import annotations

import librosa
import numpy as np
import pytest
import torch
from dasvdd_runtime.errors import ConfigError
from dasvdd_train.front_ends import LogMel, Rows, build_front_end, mel_filters

RATE_HZ = 16000.0


def log_mel(**settings: object) -> LogMel:
    return LogMel(**({"sample_rate_hz": RATE_HZ, "channels": 1, "mel_bands": 64} | settings))  # type: ignore[arg-type]


def tone(frequency_hz: float, samples: int = 8192, amplitude: float = 1.0) -> torch.Tensor:
    time = np.arange(samples) / RATE_HZ
    return torch.from_numpy((amplitude * np.sin(2 * np.pi * frequency_hz * time)).astype(np.float32))[None, None]


@pytest.mark.parametrize(("n_fft", "hop"), [(1024, 512), (1024, 256), (480, 160), (512, 512)])
def test_log_mel_equals_librosa(n_fft: int, hop: int) -> None:
    """The log-mel frames are librosa's, referred to a full-scale sine, for any hop that divides n_fft."""
    rng = np.random.default_rng(0)
    samples = (0.1 * rng.standard_normal(hop * 40)).astype(np.float32)
    front_end = log_mel(n_fft=n_fft, frame_hop_samples=hop, mel_bands=32)
    frames = front_end(torch.from_numpy(samples)[None, None])[0].numpy()

    power = np.abs(librosa.stft(samples.astype(np.float64), n_fft=n_fft, hop_length=hop, center=False)) ** 2
    hann_sum = librosa.filters.get_window("hann", n_fft).sum()
    filters = librosa.filters.mel(sr=RATE_HZ, n_fft=n_fft, n_mels=32, norm=None)
    expected = 10 * np.log10(np.maximum(filters @ (power * (2 / hann_sum) ** 2), 1e-12)).T
    assert frames.shape == expected.shape
    np.testing.assert_allclose(frames, expected, atol=2e-3)


@pytest.mark.parametrize("rate_hz", [8000.0, 16000.0, 44100.0])
def test_mel_filters_equal_librosa(rate_hz: float) -> None:
    """The filters and their centre frequencies are librosa's Slaney ones at peak height 1."""
    filters, centers_hz = mel_filters(sample_rate_hz=rate_hz, n_fft=1024, mel_bands=40)
    np.testing.assert_allclose(filters.T, librosa.filters.mel(sr=rate_hz, n_fft=1024, n_mels=40, norm=None), atol=1e-6)
    np.testing.assert_allclose(centers_hz, librosa.mel_frequencies(42, fmin=0, fmax=rate_hz / 2)[1:-1], rtol=1e-9)


def test_full_scale_sine_reads_0_db_in_its_band() -> None:
    """A full-scale sine at a DFT bin reads 0 dB in that bin before the mel filters, twice the gain 6 dB more."""
    front_end = log_mel(mel_bands=20)
    full, half = (float(front_end(tone(1000.0, amplitude=a)).max()) for a in (1.0, 0.5))
    # The strongest band's filter is at most 1 and catches the Hann main lobe: 1 + 2 * 0.25 of power at most.
    assert -3 < full < 1.8
    assert full - half == pytest.approx(6.02, abs=0.01)


def test_silence_reads_the_floor() -> None:
    """Digital silence is -120 dB in every band, and finite."""
    assert torch.all(log_mel()(torch.zeros(1, 1, 4096)) == -120)


def test_a_tone_moves_with_its_frequency() -> None:
    """The strongest band is the one whose centre lies nearest to the tone."""
    front_end = log_mel()
    _, centers_hz = mel_filters(sample_rate_hz=RATE_HZ, n_fft=1024, mel_bands=64)
    for frequency_hz in (500.0, 1500.0, 5000.0):
        strongest = int(front_end(tone(frequency_hz)).mean(dim=1).argmax())
        assert abs(centers_hz[strongest] - frequency_hz) <= np.diff(centers_hz)[strongest - 1]


def test_frames_of_a_recording_are_those_of_its_windows() -> None:
    """A frame looks at its own samples only: cutting a recording first gives the same frames."""
    front_end = log_mel()
    samples = torch.randn(1, 1, 512 * 20)
    whole = front_end(samples)
    part = front_end(samples[:, :, 512 * 4 : 512 * 12])
    torch.testing.assert_close(part, whole[:, 4:11], rtol=0, atol=1e-4)


@pytest.mark.parametrize("channel", ["0", "1", "mean", "all"])
def test_nan_in_any_channel_reaches_the_frames(channel: str) -> None:
    """A NaN in a channel that is not even selected still shows: it is a broken source."""
    front_end = log_mel(channels=2, channel=channel)
    for broken in (0, 1):
        window = torch.randn(1, 2, 4096)
        window[0, broken, -1] = torch.nan
        assert front_end(window).isnan().any()


def test_channel_choice() -> None:
    """Channel 1 alone, the mean and all channels give what their samples say."""
    window = torch.randn(3, 2, 4096)
    single = log_mel()
    torch.testing.assert_close(log_mel(channels=2, channel="1")(window), single(window[:, 1:]))
    torch.testing.assert_close(
        log_mel(channels=2, channel="mean")(window), single(window.mean(dim=1, keepdim=True)), atol=1e-3, rtol=0
    )
    every = log_mel(channels=2, channel="all")
    both = torch.cat([single(window[:, :1]), single(window[:, 1:])], dim=2)
    torch.testing.assert_close(every(window), both)
    assert every.bands == len(every.band_names) == 128


def test_rows_pass_through() -> None:
    """Sensor rows are frames as they are, or the chosen column."""
    window = torch.randn(2, 10, 3)
    names = ["x", "y", "z"]
    torch.testing.assert_close(Rows(channels=3, channel_names=names)(window), window)
    chosen = Rows(channels=3, channel_names=names, channel="1")
    torch.testing.assert_close(chosen(window), window[:, :, 1:2])
    assert chosen.band_names == ["y"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_fft": 400, "frame_hop_samples": 160}, "no multiple"),
        ({"mel_bands": 400}, "empty"),
        ({"channel": "2", "channels": 2}, "2 channel"),
        ({"channel": "left"}, "'left'"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, object], message: str) -> None:
    """Settings that would leave samples or bands unused are an error that names the numbers."""
    with pytest.raises(ConfigError, match=message):
        log_mel(**settings)


def test_settings_build_the_same_front_end() -> None:
    """`settings()` is enough to build a front end again."""
    front_end = log_mel(channels=2, channel="mean")
    window = torch.randn(1, 2, 4096)
    torch.testing.assert_close(build_front_end(front_end.settings())(window), front_end(window), rtol=0, atol=0)
    with pytest.raises(ConfigError, match="unknown front end 'wavelet'"):
        build_front_end({"type": "wavelet"})
