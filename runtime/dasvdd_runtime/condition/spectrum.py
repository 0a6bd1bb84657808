"""What a machine sounds like beside how loud it is: octave bands; of sensors also mean and deviation of each channel.

Training, calibration on site and the drift watch measure the same figures of single seconds. Decides no score.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..contract import ModelMetadata
from ..reading.recording_types import Kind
from .levels import SILENT_DBFS, Baseline, SlicedSamples, baseline_of, octave_centres_hz

FAST_HZ = 100.0
"""From this rate on, sensors are vibration: a second of them has a deviation and bands."""
LOWEST_SENSOR_HZ = 5.0
"""Lower limit of the lowest band of a sensor; a second of Hann has a resolution of 2 Hz."""
BINS = 4
"""Bins of the spectrum that a band spans at least."""
USUAL_PIECES = 3600
"""Seconds, spread over the training, that say what is usual."""
LEAST_PIECES = 10
"""Fewer seconds say nothing of what is usual."""

UsualSpectrum = dict[str, tuple[float, float, float]]
"""By the figure's name: what is usual (the middle one), and between which values nine tenths of single seconds lie, for
bands once the common shift of all bands of the channel is removed. In dB of a full-scale sine (of sensors: of a sine of
one unit), means in the channel's unit."""


class Figure(NamedTuple):
    """One of the numbers that a second is described by."""

    name: str
    """`4000 Hz`; of sensors `x: 62.5 Hz`, `x: mean`, `x: deviation`."""
    kind: Literal["mean", "deviation", "band"]
    channel: int
    """That it is of; of audio the first that is used, since they are averaged."""


class SpectrumMeter:
    """Measures the figures of a model's windows."""

    def __init__(
        self,
        *,
        kind: Kind,
        sample_rate_hz: float,
        channel_names: Sequence[str],
        used_channels: Sequence[int],
        window_samples: int,
    ) -> None:
        self.rows = max(1, min(window_samples, round(sample_rate_hz)))
        """Samples that are measured at once: a second, or a window that is shorter."""
        self.figures: list[Figure] = []
        self._used = list(used_channels)
        self._is_audio = kind == "audio"
        self.is_fast = self._is_audio or sample_rate_hz >= FAST_HZ
        """A second has a deviation and bands."""
        least_hz = max(30.0 if self._is_audio else LOWEST_SENSOR_HZ, BINS * sample_rate_hz / self.rows)
        centres = octave_centres_hz(sample_rate_hz, lowest_hz=least_hz) if self.is_fast else []
        edges = [centre / 2**0.5 for centre in centres] + [centre * 2**0.5 for centre in centres[-1:]]
        self._bins = np.searchsorted(np.fft.rfftfreq(self.rows, 1 / sample_rate_hz), edges)
        self._bands: list[slice] = []
        for channel in self._used[:1] if self._is_audio else self._used:
            prefix = "" if self._is_audio else f"{channel_names[channel]}: "
            if not self._is_audio:
                self.figures.append(Figure(f"{prefix}mean", "mean", channel))
                self.figures += [Figure(f"{prefix}deviation", "deviation", channel)] * self.is_fast
            self.figures += [Figure(f"{prefix}{centre:g} Hz", "band", channel) for centre in centres]
            self._bands.append(slice(len(self.figures) - len(centres), len(self.figures)))

    @classmethod
    def of(cls, metadata: ModelMetadata) -> SpectrumMeter:
        """That of a model."""
        return cls(
            kind=metadata.kind,
            sample_rate_hz=metadata.sample_rate_hz,
            channel_names=metadata.channel_names,
            used_channels=metadata.used_channels,
            window_samples=metadata.window_samples,
        )

    def measure(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """The figures of the newest `rows` of `samples` [samples, channels], in the order of `figures`."""
        newest = samples[-self.rows :, self._used]
        powers = self._octave_powers(newest)
        if self._is_audio:
            return _decibels(powers.mean(axis=1))
        mean = newest.mean(axis=0, dtype=np.float64)
        figures = [mean[None].astype(np.float32)]
        if self.is_fast:
            figures += [_decibels(2 * newest.var(axis=0, dtype=np.float64)[None]), _decibels(powers)]
        return np.concatenate(figures).T.ravel()

    def departures(self, noted: NDArray[np.floating], usual: NDArray[np.floating]) -> NDArray[np.float64]:
        """How far the figures `noted` [pieces, figures] stand from `usual` [figures]; bands beside their common shift.

        What lies below the level that counts as silent is the converter's noise, which follows no gain: it counts as
        that level.
        """
        found = noted.astype(np.float64) - usual
        floor_db = SILENT_DBFS if self._is_audio else -np.inf
        for bands in self._bands:
            if bands.stop > bands.start:
                shifted = usual[bands] + np.median(found[:, bands], axis=1, keepdims=True)
                expected = np.where(usual[bands] > floor_db, np.maximum(shifted, floor_db), floor_db)
                found[:, bands] = np.maximum(noted[:, bands], floor_db) - expected
        return found

    def usual(self, noted: NDArray[np.float32]) -> UsualSpectrum | None:
        """What is usual in `noted` [pieces, figures]; None where there are fewer than LEAST_PIECES or no figures."""
        if len(noted) < LEAST_PIECES or not self.figures:
            return None
        middle = np.median(noted.astype(np.float64), axis=0)
        low, high = np.quantile(self.departures(noted, middle), (0.05, 0.95), axis=0)
        values = np.stack([middle + low, middle, middle + high], axis=1).tolist()
        return {figure.name: (row[0], row[1], row[2]) for figure, row in zip(self.figures, values, strict=True)}

    def usual_of(self, recordings: Sequence[SlicedSamples]) -> UsualSpectrum | None:
        """What is usual in `recordings`, each [samples, channels], from USUAL_PIECES seconds of them at most."""
        pieces = [len(part) // self.rows for part in recordings]
        step = max(1, -(-sum(pieces) // USUAL_PIECES))
        noted, first = [], 0
        for part, count in zip(recordings, pieces, strict=True):
            for piece in range(-first % step, count, step):
                noted.append(self.measure(part[piece * self.rows : (piece + 1) * self.rows]))
            first += count
        return self.usual(np.array(noted, np.float32).reshape(len(noted), len(self.figures)))

    def _octave_powers(self, samples: NDArray[np.float32]) -> NDArray[np.float64]:
        """Mean square times two [bands, channels], as levels.octave_levels_db has it."""
        if len(self._bins) == 0:
            return np.empty((0, samples.shape[1]))
        spectrum = np.fft.rfft(samples * _hann(self.rows)[:, None], axis=0)
        square = spectrum.real.astype(np.float64) ** 2 + spectrum.imag.astype(np.float64) ** 2
        return np.add.reduceat(square[: self._bins[-1]], self._bins[:-1], axis=0)


def baseline_with_spectrum(
    recordings: Sequence[SlicedSamples],
    sample_rate_hz: float,
    *,
    kind: Kind,
    channel_names: Sequence[str],
    used_channels: Sequence[int],
    window_samples: int,
) -> Baseline:
    """Baseline of the training recordings, each [samples, channels], in bounded memory, with their usual spectrum."""
    meter = SpectrumMeter(
        kind=kind,
        sample_rate_hz=sample_rate_hz,
        channel_names=channel_names,
        used_channels=used_channels,
        window_samples=window_samples,
    )
    plain = baseline_of(recordings, sample_rate_hz, kind=kind, used_channels=used_channels)
    return replace(plain, spectrum=meter.usual_of(recordings))


@cache
def _hann(length: int) -> NDArray[np.float32]:
    """Scaled so that the squares of a full-scale sine's spectrum sum to 1."""
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)
    scaled: NDArray[np.float32] = (hann * np.sqrt(4 / (length * np.sum(hann**2)))).astype(np.float32)
    return scaled


def _decibels(powers: NDArray[np.float64]) -> NDArray[np.float32]:
    levels: NDArray[np.float32] = (10 * np.log10(np.maximum(powers, 1e-12))).astype(np.float32)
    return levels
