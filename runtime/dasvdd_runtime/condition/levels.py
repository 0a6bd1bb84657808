"""How loud and in which bands: what `check` compares between training and device. Decides no score."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..reading.recording_types import Kind

SILENT_DBFS = -100.0
"""A channel at or below this level is silent: 16-bit quantisation noise lies at -98 dBFS."""
FULL_SCALE = 0.9999
"""Absolute values from here on count as clipped (16-bit full scale is 32767/32768 = 0.99997)."""
CLIPPED_SHARE = 0.001
"""A recording or window with a larger share of samples at full scale is clipped."""

_BLOCK_ROWS = 2**18
"""Rows that are worked on at once, so that an hour of recording needs no second hour in float64."""


class SlicedSamples(Protocol):
    """Samples [samples, channels] that are read by slices: an array, or a part of a file."""

    def __len__(self) -> int:
        """Number of samples."""

    def __getitem__(self, part: slice, /) -> NDArray[np.float32]:
        """Samples of the slice, [samples, channels]."""


@dataclass(frozen=True)
class Baseline:
    """Level and spectrum of the training recordings."""

    level_dbfs: list[float]
    """5th, 50th and 95th percentile of the level of one-second pieces, dB relative to a full-scale sine (audio) or
    to 1 unit rms times sqrt(2) (sensors)."""
    band_hz: list[float]
    """Centre frequencies of the octave bands that fit below half the sample rate, in Hz; empty for sensors."""
    band_levels_db: list[float]
    """Mean level per octave band, dB relative to a full-scale sine."""
    channel_mean: list[float]
    """Mean per channel in the channel's unit."""
    channel_std: list[float]
    """Standard deviation per channel in the channel's unit."""
    spectrum: dict[str, tuple[float, float, float]] | None = None
    """What a drift of the spectrum is seen against, see `spectrum.UsualSpectrum`; None where training kept nothing."""


def level_dbfs(samples: NDArray[np.float32]) -> float:
    """Level of `samples` [samples, channels] over all channels, dB relative to a full-scale sine; -inf for zeros.

    The mean of each channel is removed first, since a constant offset is not sound.
    """
    mean = samples.mean(axis=0, dtype=np.float64)
    power = float(_squared_deviation(samples, mean).sum()) / samples.size
    return 10 * np.log10(2 * power) if power > 0 else float("-inf")


def clipped_share(samples: NDArray[np.float32]) -> float:
    """Share of the samples at full scale, 0 to 1."""
    return float(np.mean(np.abs(samples) >= FULL_SCALE)) if samples.size else 0.0


def octave_levels_db(
    samples: NDArray[np.float32], sample_rate_hz: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Centre frequencies (Hz) and levels (dB relative to a full-scale sine) of the octave bands of `samples`.

    `samples` has shape [samples, channels]; channels are averaged in power. Bands are those around 1000 Hz * 2**k
    (IEC 61260 base 2) that lie whole below half the sample rate and above 30 Hz. Uses Hann-windowed spectra of one
    second (or of all samples, if fewer) without overlap.
    """
    centres, powers = _octave_powers(samples, sample_rate_hz)
    return centres, 10 * np.log10(np.maximum(powers, 1e-12))


def baseline_of(
    pieces: Sequence[SlicedSamples], sample_rate_hz: float, *, kind: Kind, used_channels: Sequence[int]
) -> Baseline:
    """Baseline of the training recordings `pieces`, each [samples, channels], in bounded memory.

    Levels and octave bands are those of `used_channels`, mean and standard deviation those of every channel.
    """
    used = list(used_channels)
    second = max(1, round(sample_rate_hz))
    levels: list[float] = []
    bands, power_sum, weight = np.empty(0), np.zeros(0), 0
    for piece in pieces:
        for block in _whole_seconds(piece, second):
            levels += [level_dbfs(block[first : first + second, used]) for first in range(0, len(block), second)]
            if kind == "audio":
                bands, powers = _octave_powers(block[:, used], sample_rate_hz)
                power_sum = len(block) * powers + (power_sum if weight else 0)
                weight += len(block)
    total = sum(map(len, pieces))
    mean = sum(block.sum(axis=0, dtype=np.float64) for piece in pieces for block in _blocks(piece)) / total
    variance = sum(_squared_deviation(block, mean) for piece in pieces for block in _blocks(piece)) / total
    return Baseline(
        level_dbfs=[float(np.percentile(np.maximum(levels, -200.0), q)) for q in (5, 50, 95)],
        band_hz=bands.tolist(),
        band_levels_db=(10 * np.log10(np.maximum(power_sum / max(1, weight), 1e-12))).tolist(),
        channel_mean=np.asarray(mean).tolist(),
        channel_std=np.sqrt(variance).tolist(),
    )


def octave_centres_hz(sample_rate_hz: float, *, lowest_hz: float) -> list[float]:
    """Centres of the octave bands that lie whole above `lowest_hz` and below half the sample rate."""
    centres = [1000 * 2.0**k for k in range(-8, 8)]
    return [c for c in centres if c * np.sqrt(2) <= sample_rate_hz / 2 and c / np.sqrt(2) >= lowest_hz]


def _octave_powers(
    samples: NDArray[np.float32], sample_rate_hz: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    length = int(min(len(samples), round(sample_rate_hz)))
    pieces = samples[: len(samples) // length * length].reshape(-1, length, samples.shape[1])
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)
    square = sum((np.abs(np.fft.rfft(piece * hann[:, None], axis=0)) ** 2).mean(axis=1) for piece in pieces)
    # Parseval with the window's power: a full-scale sine sums to 1 over its bins.
    power = 4 * square / len(pieces) / (length * np.sum(hann**2))
    frequency_hz = np.fft.rfftfreq(length, 1 / sample_rate_hz)
    centres = octave_centres_hz(sample_rate_hz, lowest_hz=30)
    powers = [power[(frequency_hz >= c / np.sqrt(2)) & (frequency_hz < c * np.sqrt(2))].sum() for c in centres]
    return np.array(centres), np.array(powers)


def _blocks(piece: SlicedSamples) -> Iterator[NDArray[np.float32]]:
    for start in range(0, len(piece), _BLOCK_ROWS):
        yield piece[start : start + _BLOCK_ROWS]


def _whole_seconds(piece: SlicedSamples, second: int) -> Iterator[NDArray[np.float32]]:
    """`piece` in blocks of whole seconds without its last part of one; as it is where it is shorter than a second."""
    end = len(piece) // second * second or len(piece)
    rows = max(1, _BLOCK_ROWS // second) * second
    for start in range(0, end, rows):
        yield piece[start : min(start + rows, end)]


def _squared_deviation(samples: NDArray[np.float32], mean: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum of the squared differences from `mean` [channels], per channel, in float64."""
    total = np.zeros(samples.shape[1])
    for start in range(0, len(samples), _BLOCK_ROWS):
        total += np.square(samples[start : start + _BLOCK_ROWS] - mean).sum(axis=0)
    return total
