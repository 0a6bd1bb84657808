"""Statistics of rare events against scipy and against numbers worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from dasvdd_runtime.thresholds.rare_events import (
    BlockBootstrap,
    ParetoTail,
    correlation_length,
    fit_cautious_pareto,
    fit_pareto,
    poisson_upper,
)
from scipy import stats


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.999])
@pytest.mark.parametrize("count", [0, 1, 2, 5, 40, 3000])
def test_poisson_bound_is_the_exact_one(count: int, confidence: float) -> None:
    """The bound equals Garwood's, half a chi-square quantile with 2 (count + 1) degrees of freedom."""
    assert poisson_upper(count, confidence) == pytest.approx(stats.chi2.ppf(confidence, 2 * (count + 1)) / 2, rel=1e-9)


def test_poisson_bound_after_nothing_is_the_rule_of_three() -> None:
    """No event at 95 % confidence bounds the mean by -ln 0.05, about three."""
    assert poisson_upper(0, 0.95) == pytest.approx(2.995732273554)


def test_pareto_fit_by_hand() -> None:
    """Excesses 1, 2, 6: a0 = 3, a1 = (2 * 1 + 1 * 2 + 0 * 6) / 6 = 2/3, so shape = 2 - 9/5 and scale = 4 / (5/3)."""
    tail = fit_pareto(np.array([6.0, 1.0, 2.0]))
    assert tail.shape == pytest.approx(0.2)
    assert tail.scale == pytest.approx(2.4)


@pytest.mark.parametrize("shape", [-0.4, 0.0, 0.2, 0.4])
def test_pareto_fit_recovers_samples_of_scipy(shape: float) -> None:
    """Shape and scale of 200 000 samples of scipy's genpareto come back within 3 %."""
    samples = stats.genpareto.rvs(shape, scale=2.5, size=200_000, random_state=0)
    tail = fit_pareto(samples)
    assert tail.shape == pytest.approx(shape, abs=0.03)
    assert tail.scale == pytest.approx(2.5, rel=0.03)


@pytest.mark.parametrize("shape", [0.0, 1e-12, 0.1, 0.5])
@pytest.mark.parametrize("survival", [0.9, 1e-2, 1e-6])
def test_pareto_excess_is_the_inverse_survival_function(shape: float, survival: float) -> None:
    """The excess at a survival probability equals scipy's genpareto.isf."""
    expected = stats.genpareto.isf(survival, shape, scale=3.0)
    assert ParetoTail(shape=shape, scale=3.0).excess_at(survival) == pytest.approx(expected, rel=1e-8)
    assert ParetoTail(shape=shape, scale=3.0).excess_at(1.5) == 0


@pytest.mark.parametrize(("true_shape", "believed"), [(-0.5, (0, 0)), (0.3, (0.25, 0.35)), (0.9, (0.499, 0.5))])
def test_cautious_fit_keeps_the_shape_within_bounds(true_shape: float, believed: tuple[float, float]) -> None:
    """Lighter than exponential becomes exponential, heavier than 0.5 becomes 0.5, and the mean is kept."""
    samples = stats.genpareto.rvs(true_shape, size=50_000, random_state=1)
    tail = fit_cautious_pareto(samples, independent_peaks=len(samples), prior_peaks=50)
    assert believed[0] <= tail.shape <= believed[1]
    assert tail.scale / (1 - tail.shape) == pytest.approx(samples.mean())


def test_few_peaks_hardly_move_the_shape() -> None:
    """Five wild excesses stay near the exponential tail, where the plain fit would go to an infinite variance."""
    excesses = np.array([0.1, 0.1, 0.2, 0.2, 9.0])
    assert fit_pareto(excesses).shape > 0.5
    assert 0 < fit_cautious_pareto(excesses, independent_peaks=len(excesses), prior_peaks=50).shape < 0.1


@pytest.mark.parametrize("excesses", [[2.0], [2.0, 2.0, 2.0]])
def test_excesses_without_spread_fit_the_exponential(excesses: list[float]) -> None:
    """One excess, or equal ones, say nothing about the shape: exponential with their mean."""
    assert fit_pareto(np.array(excesses)) == ParetoTail(shape=0.0, scale=2.0)


def test_excesses_that_rounding_alone_sets_apart_have_no_heavy_tail() -> None:
    """Their spread is below what float64 can sum: the fit is exponential, and never beyond it by chance."""
    assert fit_pareto(np.array([1.0, np.nextafter(1.0, 2)])) == ParetoTail(shape=0.0, scale=1.0)
    random = np.random.default_rng(0)
    for count in range(3, 200):
        excesses = 0.1 + np.spacing(0.1) * random.integers(0, 2, count)
        assert fit_pareto(excesses).shape <= 0.0


@pytest.mark.parametrize("length", [5, 40])
def test_correlation_length_of_a_moving_average(length: int) -> None:
    """A moving average over m samples has a triangular autocorrelation that is 0.05 at 0.95 m."""
    noise = np.random.default_rng(0).standard_normal(400_000)
    average = np.convolve(noise, np.ones(length) / length, mode="valid")
    assert correlation_length(average) == pytest.approx(0.95 * length, abs=0.05 * length + 1)


def test_correlation_length_of_a_constant_is_one() -> None:
    """A constant has no autocorrelation to measure."""
    assert correlation_length(np.full(100, 3.0)) == 1


def test_bootstrap_of_independent_events_is_binomial() -> None:
    """With blocks of one sample the count is binomial, and its upper quantile is scipy's."""
    bootstrap = BlockBootstrap(length=1000, block_samples=1, replicates=4000, seed=0)
    events = np.arange(0, 1000, 50)
    assert bootstrap.upper(events, 0.95) == pytest.approx(stats.binom.ppf(0.95, 1000, 0.02), abs=1)


def test_bootstrap_keeps_bursts_together() -> None:
    """Twenty events in one burst are drawn whole or not at all: the count varies in steps of twenty."""
    bootstrap = BlockBootstrap(length=1000, block_samples=100, replicates=4000, seed=0)
    burst = np.arange(500, 520)
    spread = np.arange(0, 1000, 50)
    assert bootstrap.upper(burst, 0.95) >= 50
    assert bootstrap.upper(spread, 0.95) == 20


def test_bootstrap_blocks_wrap_around() -> None:
    """Events at both ends are as likely drawn as in the middle: the mean count is that of the series."""
    bootstrap = BlockBootstrap(length=103, block_samples=10, replicates=4000, seed=1)
    for events in ([0], [102], [50]):
        mean = np.mean([bootstrap.upper(np.array(events), q) for q in np.linspace(0.005, 0.995, 100)])
        assert mean == pytest.approx(1, abs=0.1)


def test_poisson_bound_at_certainty_grows() -> None:
    """A higher confidence never gives a lower bound."""
    bounds = [poisson_upper(3, confidence) for confidence in (0.5, 0.8, 0.95, 0.99)]
    assert bounds == sorted(bounds)
    assert math.isfinite(bounds[-1])
