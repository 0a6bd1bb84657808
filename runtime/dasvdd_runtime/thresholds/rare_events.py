"""Statistics of rare events on numpy alone: bounds on a count, and the tail beyond what was seen."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LARGEST_SHAPE = 0.5
"""Beyond this shape the variance of a generalised Pareto tail is infinite; smoothed scores are not like that."""


def poisson_upper(count: int, confidence: float) -> float:
    """Exact upper bound of a Poisson mean after `count` events.

    It is the mean at which `count` events or fewer have the probability 1 - confidence; for no event that is
    -ln(1 - confidence), 3.0 at 95 %.
    """
    log_factorials = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, count + 1)))])
    events = np.arange(count + 1)

    def probability_of_as_few(mean: float) -> float:
        return float(np.exp(events * math.log(mean) - mean - log_factorials).sum())

    low = 0.0
    high = count + 1.0
    while probability_of_as_few(high) > 1 - confidence:
        low, high = high, 2 * high
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if probability_of_as_few(middle) > 1 - confidence else (low, middle)
    return high


def correlation_length(series: NDArray[np.float64]) -> int:
    """First lag at which the autocorrelation of `series` [samples] falls below 0.05; 1 for a constant."""
    centred = series - series.mean()
    spectrum = np.abs(np.fft.rfft(centred, 2 * len(series))) ** 2
    covariance = np.fft.irfft(spectrum)[: len(series)]
    if covariance[0] <= 0:
        return 1
    return max(1, int(np.argmax(covariance < 0.05 * covariance[0])))


class BlockBootstrap:
    """Circular moving-block bootstrap of how many events fall into a series of `length` samples.

    Blocks are drawn once, so that bounds for different events of the same series compare. Deterministic given `seed`.
    """

    def __init__(self, *, length: int, block_samples: int, replicates: int, seed: int) -> None:
        self._length = length
        self._block_samples = min(block_samples, length)
        blocks = math.ceil(length / self._block_samples)
        generator = np.random.default_rng(seed)
        self._starts = generator.integers(0, length, (replicates, blocks))

    def upper(self, events: NDArray[np.intp], confidence: float) -> float:
        """The `confidence` quantile of the number of events, for events at the samples `events`."""
        marks = np.bincount(events, minlength=self._length)
        before = np.concatenate([[0], np.cumsum(np.concatenate([marks, marks[: self._block_samples]]))])
        in_block = before[self._block_samples : self._block_samples + self._length] - before[: self._length]
        drawn = in_block[self._starts].sum(axis=1)
        # Whole blocks draw a little more than the series holds.
        share: float = self._length / (self._starts.shape[1] * self._block_samples)
        return share * float(np.quantile(drawn, confidence))


@dataclass(frozen=True)
class ParetoTail:
    """Generalised Pareto distribution: P(excess over a level > x) = (1 + shape * x / scale)^(-1/shape)."""

    shape: float
    scale: float

    def excess_at(self, survival: float) -> float:
        """The excess that a share `survival` of the peaks exceeds; 0 where that is 1 or more."""
        if survival >= 1:
            return 0.0
        if abs(self.shape) < 1e-9:
            return -self.scale * math.log(survival)
        return self.scale * math.expm1(-self.shape * math.log(survival)) / self.shape


def fit_pareto(excesses: NDArray[np.float64]) -> ParetoTail:
    """Generalised Pareto fit to `excesses` [peaks], all above 0, by probability-weighted moments.

    With a0 = E[x] and a1 = E[x (1 - F(x))]: shape = 2 - a0 / (a0 - 2 a1), scale = 2 a0 a1 / (a0 - 2 a1)
    (Hosking and Wallis 1987, their k being minus the shape), a1 by its unbiased estimator. Consistent for shapes
    below 1. Needs at least two excesses that differ by more than rounding, else the exponential fit is returned.
    """
    ordered = np.sort(excesses)
    count = len(ordered)
    mean = float(ordered.mean())
    if count < 2 or ordered[0] == ordered[-1]:
        return ParetoTail(shape=0.0, scale=mean)
    weighted = float((ordered * (count - 1 - np.arange(count)) / (count - 1)).mean())
    denominator = mean - 2 * weighted  # half the mean difference of two excesses, or rounding
    if denominator <= 0:
        return ParetoTail(shape=0.0, scale=mean)
    return ParetoTail(shape=2 - mean / denominator, scale=2 * mean * weighted / denominator)


def fit_cautious_pareto(excesses: NDArray[np.float64], *, independent_peaks: int, prior_peaks: int) -> ParetoTail:
    """`fit_pareto` with a shape fit to extrapolate by: within 0 and LARGEST_SHAPE, drawn towards 0, of the same mean.

    The shape's sampling variance falls as 1 / peaks, so the fitted one has the weight
    independent_peaks / (independent_peaks + prior_peaks) against the exponential tail's 0; excesses of one episode are
    one independent peak. Lighter than exponential is not believed.
    """
    weight = independent_peaks / (independent_peaks + prior_peaks)
    shape = weight * min(max(fit_pareto(excesses).shape, 0.0), LARGEST_SHAPE)
    return ParetoTail(shape=shape, scale=float(excesses.mean()) * (1 - shape))
