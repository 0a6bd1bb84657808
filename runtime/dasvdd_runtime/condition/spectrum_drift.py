"""A day's spectra -> which bands or channels stand away from what is usual. Pure, in bounded memory."""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ..contract import ModelMetadata
from .comparison import LEVEL_TOLERANCE_DB, SPREAD_TOLERANCE_RATIO
from .spectrum import SpectrumMeter, UsualSpectrum

BAND_TOLERANCE_DB = 3.0
"""How far beyond what is usual of single seconds the day's median of a band may stand, beside the common shift."""
MEAN_TOLERANCE_STD = 1.0
"""The same for a sensor's mean, in standard deviations of the training."""
SPREAD_TOLERANCE_DB = 20 * math.log10(SPREAD_TOLERANCE_RATIO)
"""The same for how widely the rows of a slow sensor are spread over the day."""
NAMED = 3
"""Changes that are named in words."""


@dataclass(frozen=True)
class SpectrumChange:
    """How one figure of a day stands to what is usual."""

    name: str
    """As `spectrum.Figure` has it."""
    unit: str
    """`dB`, or that of the channel."""
    change: float
    """From what is usual to the day's median; of a band, once the common shift of all is removed."""
    low: float
    """Nine tenths of single seconds usually stand between this and `high`."""
    high: float
    tolerance: float

    @property
    def share(self) -> float:
        """How much of its limit the change takes; from 1 on it is a drift."""
        return max(self.low - self.change, self.change - self.high) / self.tolerance

    @property
    def in_words(self) -> str:
        """The change, and what is usual."""
        outside = f"{self.low:+.2g} to {self.high:+.2g}, limit {self.tolerance:.2g} outside"
        return f"{self.name} {self.change:+.3g} {self.unit} ({outside})"


class SpectrumWatch:
    """One source's days: the figures of every second that is noted, 4 bytes each."""

    def __init__(self, usual: UsualSpectrum, meter: SpectrumMeter, metadata: ModelMetadata) -> None:
        """`usual` has every figure of `meter`, which is that of the model."""
        self._meter = meter
        self._metadata = metadata
        bounds = np.array([usual[figure.name] for figure in meter.figures])
        self._usual = bounds[:, 1]
        self._low, self._high = (bounds[:, [0, 2]] - bounds[:, [1]]).T
        self._noted = array("f")

    @classmethod
    def of(cls, usual: UsualSpectrum | None, metadata: ModelMetadata) -> Self | None:
        """A watch of a model's source, or None where `usual` lacks a figure of it, so that there is nothing to say."""
        if usual is None:
            return None
        meter = SpectrumMeter.of(metadata)
        known = bool(meter.figures) and all(figure.name in usual for figure in meter.figures)
        return cls(usual, meter, metadata) if known else None

    def note(self, samples: NDArray[np.float32]) -> None:
        """A window of healthy running, [window_samples, channels]."""
        self._noted.extend(self._meter.measure(samples).tolist())

    def end_day(self) -> list[SpectrumChange]:
        """What the day's notes, at least one, say of every figure, the most changed first; then it begins anew."""
        noted = np.array(self._noted, np.float32).reshape(-1, len(self._usual))
        self._noted = array("f")
        low, middle, high = np.quantile(self._meter.departures(noted, self._usual), (0.05, 0.5, 0.95), axis=0)
        found = []
        for index, figure in enumerate(self._meter.figures):
            unit, tolerance = self._unit_and_tolerance(index)
            change = float(middle[index]), float(self._low[index]), float(self._high[index])
            found.append(SpectrumChange(figure.name, unit, *change, tolerance))
            usual_spread = self._high[index] - self._low[index]
            if not self._meter.is_fast and usual_spread > 0:
                ratio = max((high[index] - low[index]) / usual_spread, 1e-6)
                name = f"{self._metadata.channel_names[figure.channel]}: deviation"
                found.append(SpectrumChange(name, "dB", 20 * math.log10(ratio), 0.0, 0.0, SPREAD_TOLERANCE_DB))
        return sorted(found, key=lambda change: -change.share)

    def _unit_and_tolerance(self, index: int) -> tuple[str, float]:
        figure = self._meter.figures[index]
        if figure.kind == "mean":
            std = self._metadata.baseline.channel_std[figure.channel]
            return self._metadata.units[figure.channel], MEAN_TOLERANCE_STD * std or math.inf
        return "dB", BAND_TOLERANCE_DB if figure.kind == "band" else LEVEL_TOLERANCE_DB


def in_words(changes: list[SpectrumChange]) -> str:
    """What has changed in the spectrum beside its level, the first few named."""
    named = ", ".join(change.in_words for change in changes[:NAMED])
    more = len(changes) - NAMED
    return f"the spectrum stands away from what was usual: {named}{f' and {more} more' if more > 0 else ''}"
