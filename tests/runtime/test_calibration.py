"""The threshold: counted where the hours suffice, extrapolated where not, against scipy and simulated machines."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import numpy as np
import pytest
from dasvdd_runtime.calibration import Calibration, NotEnoughScores, calibrate
from dasvdd_runtime.detector import DecisionSettings, Detector, find_episodes
from dasvdd_runtime.errors import DataError
from dasvdd_runtime.thresholds.decision_chain import Chain
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats
from scipy.signal import lfilter

HOP_SECONDS = 0.5
WINDOWS_PER_HOUR = 7200
DEFAULT = DecisionSettings()
CHAINS = [
    DEFAULT,
    DecisionSettings(smoothing_seconds=0, k=1, n=1, clear_ratio=1.0),
    DecisionSettings(smoothing_seconds=1.0, k=2, n=6, clear_ratio=0.7, minimum_duration_seconds=2.0),
]


def machine_scores(hours: float, *, seed: int, correlation_seconds: float = 10.0) -> NDArray[np.float64]:
    """Scores of a healthy machine: exp of a first-order autoregression with standard deviation 0.3."""
    pole = math.exp(-HOP_SECONDS / correlation_seconds)
    noise = np.random.default_rng(seed).standard_normal(round(hours * WINDOWS_PER_HOUR) + 1000)
    return np.exp(0.3 * lfilter([math.sqrt(1 - pole**2)], [1, -pole], noise)[1000:])


def episodes_in(
    streams: list[NDArray[np.float64]], calibration: Calibration, settings: DecisionSettings = DEFAULT
) -> int:
    """Episodes by the Detector itself, restarted at each stream."""
    return sum(
        len(
            find_episodes(
                np.arange(len(stream)) * HOP_SECONDS,
                stream,
                threshold=calibration.threshold,
                settings=settings,
                window_hop_seconds=HOP_SECONDS,
                usual_score=calibration.usual_score,
            )
        )
        for stream in streams
    )


def smoothed_of(streams: list[NDArray[np.float64]], settings: DecisionSettings = DEFAULT) -> NDArray[np.float64]:
    smoothed = []
    for stream in streams:
        detector = Detector(threshold=1e9, settings=settings, window_hop_seconds=HOP_SECONDS)
        smoothed += [detector.update(float(t), score).smoothed_score for t, score in enumerate(stream)]
    return np.array(smoothed)


def calibrated(streams: list[NDArray[np.float64]], settings: DecisionSettings = DEFAULT, **more: float) -> Calibration:
    return calibrate(streams, settings=settings, window_hop_seconds=HOP_SECONDS, **more)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def truth() -> Chain:
    """800 h of the healthy machine, to count true episode rates in."""
    return Chain.of([machine_scores(800, seed=99)], settings=DEFAULT, window_hop_seconds=HOP_SECONDS)


@hypothesis_settings(deadline=None)
@given(
    st.lists(
        st.lists(st.tuples(st.floats(0, 3), st.integers(1, 6)), min_size=1, max_size=12).map(
            lambda runs: np.repeat([level for level, _ in runs], [length for _, length in runs])
        ),
        min_size=1,
        max_size=4,
    ),
    st.sampled_from(CHAINS),
    st.floats(0.1, 2.9),
)
def test_vectorised_episodes_equal_the_detectors(
    streams: list[NDArray[np.float64]], settings: DecisionSettings, threshold: float
) -> None:
    """Counting by rise and clear statistics finds the Detector's rises exactly, or more where it cannot decide yet."""
    chain = Chain.of(streams, settings=settings, window_hop_seconds=HOP_SECONDS)
    expected, first = [], 0
    for stream in streams:
        times = np.arange(first, first + len(stream)) * HOP_SECONDS
        found = find_episodes(
            times,
            stream,
            threshold=threshold,
            settings=settings,
            window_hop_seconds=HOP_SECONDS,
            usual_score=chain.usual,
        )
        expected += [round(episode.rise_seconds / HOP_SECONDS) for episode in found]
        first += len(stream)
    too_short = chain.rise is chain.smoothed
    if too_short:
        assert len(chain.rises(threshold)) >= len(expected)
    else:
        assert chain.rises(threshold).tolist() == expected


@pytest.mark.parametrize("settings", CHAINS, ids=["default", "single scores", "minimum duration"])
def test_realised_false_alarm_rate_meets_the_target(settings: DecisionSettings) -> None:
    """Calibrated at 2 a day on 100 h, a healthy machine alarms at most about that often in 240 fresh hours."""
    calibration = calibrated([machine_scores(100, seed=1)], settings, false_alarms_per_day=2.0)
    assert calibration.method == "empirical"
    assert not calibration.extrapolates
    fresh = [machine_scores(48, seed=seed) for seed in range(10, 15)]
    per_day = episodes_in(fresh, calibration, settings) / 10
    assert 0 < per_day <= 2.5


@pytest.mark.slow
def test_the_bound_holds_as_often_as_its_confidence_says(truth: Chain) -> None:
    """Over 20 calibrations on 60 h the true rate exceeds the 90 % bound seldom: 2 are expected, 7 all but never."""
    exceeded = 0
    for seed in range(20):
        calibration = calibrated([machine_scores(60, seed=seed)], false_alarms_per_day=3.0, confidence=0.9)
        assert calibration.episodes_per_day_upper <= 3.0
        exceeded += len(truth.rises(calibration.threshold)) / truth.days > calibration.episodes_per_day_upper
    assert exceeded <= 6


@pytest.mark.parametrize("hours", [0.5, 8])
def test_extrapolated_rate_is_near_the_target(hours: float, truth: Chain) -> None:
    """From too few hours for one alarm a day, the fitted tail lands within a factor of a few in 800 fresh hours."""
    calibrations = [calibrated([machine_scores(hours, seed=seed)]) for seed in range(5)]
    assert {(calibration.extrapolates, calibration.method) for calibration in calibrations} == {(True, "fitted tail")}
    rates = [len(truth.rises(calibration.threshold)) / truth.days for calibration in calibrations]
    assert np.median(rates) <= 1.5
    assert max(rates) <= 10
    # Not blind either: twice the threshold that one alarm a day really needs is 2 * 2.9.
    assert np.median([calibration.threshold for calibration in calibrations]) < 5.8


def test_threshold_is_the_smallest_that_meets_the_bound() -> None:
    """One midpoint lower, the exact Poisson bound of the episodes that scipy gives misses the target."""
    streams = [machine_scores(30, seed=3), machine_scores(20, seed=4)]
    target = 6.0
    calibration = calibrated(streams, false_alarms_per_day=target)
    days = 50 / 24
    count = episodes_in(streams, calibration)
    # Independent episodes: the bootstrap adds little here, so Poisson decides to within one episode.
    assert count >= 1
    poisson = stats.chi2.ppf(0.95, 2 * (count + 1)) / 2 / days
    assert poisson * (1 - 1e-9) <= calibration.episodes_per_day_upper <= target
    distinct = np.unique(smoothed_of(streams))
    above = int(np.searchsorted(distinct, calibration.threshold))
    lower = (distinct[above - 2] + distinct[above - 1]) / 2
    count_lower = episodes_in(streams, replace(calibration, threshold=float(lower)))
    assert stats.chi2.ppf(0.95, 2 * (count_lower + 2)) / 2 / days > target
    assert calibration.threshold == pytest.approx((distinct[above - 1] + distinct[above]) / 2, rel=1e-12)


@pytest.mark.parametrize(("hours", "extrapolates"), [(71, True), (73, False)])
def test_one_alarm_a_day_at_95_percent_needs_72_hours(hours: float, extrapolates: bool) -> None:
    """The rule of three: no episode in less than three days cannot bound the rate at one a day."""
    calibration = calibrated([machine_scores(hours, seed=0)])
    assert calibration.extrapolates is extrapolates
    assert calibration.hours == pytest.approx(hours, rel=1e-4)
    assert calibration.windows == hours * WINDOWS_PER_HOUR
    if not extrapolates:
        assert calibration.episodes_per_day_upper == pytest.approx(-math.log(0.05) / (hours / 24), rel=1e-4)


def spiked_scores(spikes: NDArray[np.intp]) -> NDArray[np.float64]:
    """48 h of scores near 1 that never differ by more than 0.1 %, with spikes from 5 to 6 at the windows `spikes`."""
    scores = 1 + 1e-3 * np.random.default_rng(0).random(48 * WINDOWS_PER_HOUR)
    scores[spikes] = np.linspace(5, 6, len(spikes))
    return scores


@pytest.mark.parametrize(("gap_windows", "target_per_day", "burst"), [(8000, 26.2, False), (3, 45.0, True)])
def test_alarms_in_bursts_widen_the_bound(gap_windows: int, target_per_day: float, burst: bool) -> None:
    """Even alarms are bounded as Poisson says; as many in one burst bound the rate worse, which Poisson cannot see."""
    scores = spiked_scores(5000 + gap_windows * np.arange(40))
    settings = DecisionSettings(smoothing_seconds=0, k=1, n=1)
    calibration = calibrated([scores], settings, false_alarms_per_day=target_per_day)
    count = episodes_in([scores], calibration, settings)
    poisson = stats.chi2.ppf(0.95, 2 * (count + 1)) / 2 / 2
    assert count > 10
    if burst:
        assert calibration.episodes_per_day_upper > 1.3 * poisson
    else:
        assert calibration.episodes_per_day_upper == pytest.approx(poisson)


def test_scores_that_vary_little_about_a_large_value_still_clear() -> None:
    """Healthy scores within a permille of 1: each spike is an alarm, and no threshold lies in the noise."""
    scores = spiked_scores(5000 + 8000 * np.arange(40))
    settings = DecisionSettings(smoothing_seconds=0, k=1, n=1)
    calibration = calibrated([scores], settings, false_alarms_per_day=27.0)
    # 40 spikes in two days are bounded by 26 a day, so the threshold may go below all spikes, not into the noise.
    assert episodes_in([scores], calibration, settings) in (40, 41)
    assert (scores > calibration.threshold).sum() in (40, 41)


def test_a_long_alarm_is_not_taken_for_a_good_threshold() -> None:
    """A threshold below most scores makes one endless episode; it is not chosen, though one is few enough."""
    scores = machine_scores(24, seed=5, correlation_seconds=3600)
    calibration = calibrated([scores], false_alarms_per_day=500.0)
    assert calibration.threshold > np.quantile(scores, 0.85)


@pytest.mark.parametrize("windows", [10, 12, 30, 60, 300])
@pytest.mark.parametrize("settings", CHAINS, ids=["default", "single scores", "minimum duration"])
def test_dozens_of_scores_give_a_threshold_above_all(windows: int, settings: DecisionSettings) -> None:
    """A few seconds of normal running give a finite threshold above the largest score, and say what it is worth."""
    scores = machine_scores(1, seed=windows)[:windows]
    calibration = calibrated([scores], settings)
    assert smoothed_of([scores], settings).max() < calibration.threshold < 10 * scores.max()
    assert calibration.extrapolates
    # No episode in 300 windows of 0.5 s at most: not below the rule of three, which is far from one a day.
    assert calibration.episodes_per_day_upper >= 2.99 / (windows * HOP_SECONDS / 86400)


def test_streams_too_short_for_k_windows_still_give_a_threshold() -> None:
    """Two windows a recording never fill 3 of 5; single smoothed scores then stand in, on the careful side."""
    streams = [machine_scores(1, seed=seed)[:2] for seed in range(20)]
    calibration = calibrated(streams)
    assert calibration.threshold > smoothed_of(streams).max()
    assert calibration.windows == 40
    assert calibration.extrapolates


@pytest.mark.parametrize("windows", [3, 4])
def test_streams_of_k_windows_and_fewer_than_n_give_a_threshold(windows: int) -> None:
    """Tails of 10 s clips hold 3 windows: enough for an alarm by 3 of 5, never for it to clear, and still a threshold.

    Where an alarm must be able to clear lies among the scores, though no stretch holds the five that clearing takes.
    """
    streams = [machine_scores(1, seed=seed)[:windows] for seed in range(12)]
    calibration = calibrated(streams)
    smoothed = smoothed_of(streams)
    assert calibration.threshold > smoothed.max()
    assert smoothed.min() < calibration.usual_score < smoothed.max()
    assert calibration.hours * 3600 == pytest.approx(12 * (windows - 2) * HOP_SECONDS)
    assert episodes_in(streams, calibration) == 0
    assert episodes_in([stream * 100 for stream in streams], calibration) == 12


@pytest.mark.parametrize("value", [0.0, 1e-12, 0.1, 7.0, 1e12])
def test_constant_scores_give_a_threshold_strictly_above(value: float) -> None:
    """Scores that are all equal carry no spread, and the threshold still lies above them."""
    for hours in (0.1, 100):
        calibration = calibrated([np.full(int(hours * WINDOWS_PER_HOUR), value)])
        assert value < calibration.threshold < math.inf
        assert episodes_in([np.full(20, value)], calibration) == 0


@hypothesis_settings(deadline=None, max_examples=50)
@given(
    st.lists(st.lists(st.integers(0, 8), min_size=0, max_size=60), min_size=1, max_size=4),
    st.sampled_from(CHAINS),
    st.sampled_from([0.1, 1.0, 1000.0, 50_000.0]),
)
def test_threshold_never_equals_a_score(streams: list[list[int]], settings: DecisionSettings, target: float) -> None:
    """Whatever the scores, many ties included, the threshold is finite, above 0 and on no smoothed score."""
    arrays = [np.array(stream, np.float64) for stream in streams]
    if sum(map(len, arrays)) < 10:
        with pytest.raises(NotEnoughScores):
            calibrated(arrays, settings, false_alarms_per_day=target)
        return
    calibration = calibrated(arrays, settings, false_alarms_per_day=target)
    assert 0 < calibration.threshold < math.inf
    assert calibration.threshold not in set(smoothed_of(arrays, settings).tolist())
    assert calibration.extrapolates or calibration.episodes_per_day_upper <= target


def test_scores_in_other_units_scale_the_threshold() -> None:
    """Scores times 1000 give the threshold times 1000: nothing depends on their unit."""
    for hours in (1, 100):
        scores = machine_scores(hours, seed=8)
        assert calibrated([1000 * scores]).threshold == pytest.approx(1000 * calibrated([scores]).threshold, rel=1e-9)


def test_the_same_scores_give_the_same_calibration() -> None:
    """Calibration repeats bit for bit, with its bootstrap too."""
    streams = [machine_scores(30, seed=3)]
    assert calibrated(streams, false_alarms_per_day=10.0) == calibrated(streams, false_alarms_per_day=10.0)


def test_a_stricter_target_never_lowers_the_threshold() -> None:
    """Fewer false alarms a day need a threshold at least as high, across counted and extrapolated targets."""
    streams = [machine_scores(24, seed=2)]
    thresholds = [calibrated(streams, false_alarms_per_day=rate).threshold for rate in (50.0, 20, 8, 1, 0.1, 0.01)]
    assert thresholds == sorted(thresholds)


def test_a_day_of_scores_is_calibrated_within_five_seconds() -> None:
    """24 h at two windows a second, at a target that is counted with bootstrap, take less than 5 s."""
    scores = machine_scores(24, seed=0)
    began = time.perf_counter()
    calibrated([scores], false_alarms_per_day=20.0)
    assert time.perf_counter() - began < 5


@pytest.mark.parametrize("windows", [0, 1, 9])
def test_too_few_scores_are_refused_with_the_next_step(windows: int) -> None:
    """Fewer than ten scores raise an error that names both numbers and says to record for longer."""
    with pytest.raises(NotEnoughScores, match=rf"^{windows} held-out scores.*at least 10.*Record") as caught:
        calibrated([np.ones(windows)])
    assert isinstance(caught.value, DataError)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, -0.5])
def test_scores_that_cannot_be_are_refused(bad: float) -> None:
    """A score that is not finite or negative raises ValueError that names its window."""
    scores = np.ones(50)
    scores[17] = bad
    with pytest.raises(ValueError, match="window 17 of 50"):
        calibrated([np.ones(20), scores])


@pytest.mark.parametrize(
    "arguments",
    [{"false_alarms_per_day": 0.0}, {"false_alarms_per_day": math.nan}, {"confidence": 1.0}, {"confidence": 0.0}],
    ids=str,
)
def test_targets_out_of_range_are_refused(arguments: dict[str, float]) -> None:
    """A rate of zero alarms or a confidence of 1 cannot be met by any threshold."""
    with pytest.raises(ValueError, match=next(iter(arguments))):
        calibrated([np.ones(50)], **arguments)
