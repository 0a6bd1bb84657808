"""The decision chain: hand-worked sequences, and properties that hold for any scores."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from dasvdd_runtime.detector import DecisionSettings, Detector, Episode, find_episodes
from hypothesis import assume, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.signal import lfilter

HOP_SECONDS = 0.5
PLAIN = DecisionSettings(smoothing_seconds=0.0, k=2, n=3, clear_ratio=0.8)

settings_strategy = st.builds(
    lambda smoothing, n, k_share, clear_ratio, minimum: DecisionSettings(
        smoothing_seconds=smoothing,
        k=max(1, math.ceil(k_share * n)),
        n=n,
        clear_ratio=clear_ratio,
        minimum_duration_seconds=minimum,
    ),
    st.sampled_from([0.0, 0.3, 2.0]),
    st.integers(1, 6),
    st.floats(0, 1),
    st.floats(0.3, 1),
    st.sampled_from([0.0, 0.5, 1.2]),
)
# Many scores near the thresholds that are tried, with long runs, so that alarms do rise and clear.
scores_strategy = st.lists(st.tuples(st.floats(0, 3), st.integers(1, 6)), min_size=1, max_size=25).map(
    lambda runs: np.repeat([level for level, _ in runs], [length for _, length in runs])
)


def times_of(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.arange(len(scores)) * HOP_SECONDS


def episodes_of(scores: NDArray[np.float64], *, threshold: float, settings: DecisionSettings) -> list[Episode]:
    return find_episodes(
        times_of(scores), scores, threshold=threshold, settings=settings, window_hop_seconds=HOP_SECONDS
    )


def smoothed_of(scores: NDArray[np.float64], settings: DecisionSettings) -> NDArray[np.float64]:
    """The smoothed scores as the Detector reports them, at a threshold out of reach."""
    detector = Detector(threshold=1e9, settings=settings, window_hop_seconds=HOP_SECONDS)
    return np.array([detector.update(t, s).smoothed_score for t, s in enumerate(scores)])


def test_hand_worked_sequence() -> None:
    """Two of three above 1 raise, three in a row at or below 0.8 clear, and the peak lies in between."""
    scores = np.array([0.5, 1.5, 0.5, 1.2, 3.0, 0.7, 0.9, 0.8, 0.1, 0.8, 0.2])
    # Above 1 at windows 1, 3 and 4: windows 1 and 3 are two of the last three at window 3. Low are windows 0, 2, 5, 7,
    # 8, 9, 10; the first three in a row end at window 9.
    assert episodes_of(scores, threshold=1.0, settings=PLAIN) == [Episode(1.5, 2.0, 3.0, 4.5)]


def test_residual_is_kept_where_the_episode_peaks() -> None:
    """The episode carries the residual of its highest window, as plain floats, whatever came after."""
    detector = Detector(threshold=1.0, settings=PLAIN, window_hop_seconds=HOP_SECONDS)
    buffer = np.zeros(2, np.float32)
    cleared = []
    for window, score in enumerate([2.0, 2.0, 5.0, 4.0, 0.0, 0.0, 0.0]):
        buffer[:] = window, -window
        cleared.append(detector.update(window * HOP_SECONDS, score, buffer).cleared)
    assert cleared[-1] == Episode(0.5, 1.0, 5.0, 3.0, (2.0, -2.0))
    assert cleared[:-1] == [None] * 6
    assert all(type(value) is float for value in cleared[-1].peak_residual)


def test_decisions_of_a_stream_name_rise_and_clear_once() -> None:
    """`raised` and `cleared` are set on the very window of the change, and `in_alarm` is the state after it."""
    detector = Detector(threshold=1.0, settings=PLAIN, window_hop_seconds=HOP_SECONDS)
    decisions = [detector.update(float(t), score) for t, score in enumerate([2, 2, 2, 0, 0, 0, 0])]
    assert [decision.in_alarm for decision in decisions] == [False, True, True, True, True, False, False]
    assert [t for t, decision in enumerate(decisions) if decision.raised] == [1]
    assert [t for t, decision in enumerate(decisions) if decision.cleared] == [5]
    assert decisions[1].raised == Episode(1.0, 1.0, 2.0, None)


def test_an_alarm_that_grows_is_told_once_a_doubling_and_a_minute() -> None:
    """A minute after its rise at the earliest, then for twice what was told; neither a fall nor a new alarm is one."""
    detector = Detector(threshold=1.0, settings=PLAIN, window_hop_seconds=10.0)
    levels = [1.2, 1.2, 30.0, 2.0, 2.0, 2.0, 2.0, 2.0, 59.0, 61.0, 500.0] + [3.0] * 9 + [0.1] * 3 + [1.5] * 12
    grown = [(10.0 * i, detector.update(10.0 * i, score).grew) for i, score in enumerate(levels)]
    told = [(seconds, episode.peak_score) for seconds, episode in grown if episode is not None]
    # It rises at 10 s with 1.2, so that 30 is told at 70 s; 61 of 90 s, and the 500 after it, at 130 s.
    assert told == [(70.0, 30.0), (130.0, 500.0)]


@hypothesis_settings(deadline=None)
@given(scores_strategy)
def test_tellings_of_one_alarm_double_and_keep_their_distance(scores: NDArray[np.float64]) -> None:
    """Whatever the scores: each tells at least twice the one before, a minute later, while the alarm lasts."""
    detector = Detector(threshold=0.5, settings=PLAIN, window_hop_seconds=20.0)
    last: tuple[float, float] | None = None
    for i, score in enumerate(scores):
        decision = detector.update(20.0 * i, score)
        if decision.raised is not None:
            last = 20.0 * i, decision.smoothed_score
        if decision.grew is not None:
            assert decision.in_alarm and decision.raised is None and last is not None
            assert decision.grew.peak_score >= 2 * last[1] and 20.0 * i - last[0] >= 60.0
            last = 20.0 * i, decision.grew.peak_score


def test_k_scores_are_enough_to_raise_but_n_are_needed_to_clear() -> None:
    """A stream that starts loud alarms at its k-th window; a clear needs a full history of n low scores."""
    settings = DecisionSettings(smoothing_seconds=0, k=3, n=5, clear_ratio=0.9)
    (episode,) = episodes_of(np.array([2.0] * 3 + [0.0] * 5), threshold=1.0, settings=settings)
    assert (episode.rise_seconds, episode.clear_seconds) == (1.0, 3.5)


def test_a_score_equal_to_the_threshold_is_no_alarm() -> None:
    """Alarm means score > threshold; a score exactly on it never counts."""
    settings = DecisionSettings(smoothing_seconds=0, k=1, n=1)
    assert episodes_of(np.array([1.0, 1.0]), threshold=1.0, settings=settings) == []
    assert len(episodes_of(np.array([1.0, np.nextafter(1.0, 2)]), threshold=1.0, settings=settings)) == 1


@pytest.mark.parametrize(
    ("minimum_seconds", "windows_above", "episodes"),
    [(0.0, 1, 1), (0.3, 3, 0), (0.3, 4, 1), (0.35, 4, 0), (0.35, 5, 1)],
)
def test_minimum_duration_drops_shorter_excursions(minimum_seconds: float, windows_above: int, episodes: int) -> None:
    """At a hop of 0.1 s a condition that holds 4 windows has lasted 0.3 s, whatever 3 * 0.1 rounds to."""
    settings = DecisionSettings(smoothing_seconds=0, k=1, n=1, minimum_duration_seconds=minimum_seconds)
    scores = np.array([0.0] * 4 + [2.0] * windows_above + [0.0] * 4)
    times = 1.7e9 + np.arange(len(scores)) * 0.1
    found = find_episodes(times, scores, threshold=1.0, settings=settings, window_hop_seconds=0.1)
    assert len(found) == episodes


@pytest.mark.parametrize("smoothing_seconds", [0.1, 2.0, 60.0])
def test_smoothing_is_the_first_order_filter_that_scipy_computes(smoothing_seconds: float) -> None:
    """Smoothing equals an IIR filter with pole exp(-hop / tau) that has settled on the first score."""
    scores = np.random.default_rng(0).lognormal(size=200)
    pole = math.exp(-HOP_SECONDS / smoothing_seconds)
    expected, _ = lfilter([1 - pole], [1, -pole], scores, zi=[pole * scores[0]])
    settings = DecisionSettings(smoothing_seconds=smoothing_seconds)
    np.testing.assert_allclose(smoothed_of(scores, settings), expected, rtol=1e-12)


def test_a_step_reaches_63_percent_after_one_time_constant() -> None:
    """The response to a unit step is 1 - 1/e after smoothing_seconds: what a time constant means."""
    scores = np.array([0.0] + [1.0] * 20)
    smoothed = smoothed_of(scores, DecisionSettings(smoothing_seconds=4 * HOP_SECONDS))
    assert smoothed[4] == pytest.approx(1 - 1 / math.e)


def test_without_smoothing_scores_pass_unchanged() -> None:
    """smoothing_seconds = 0 gives back each score bit for bit, whatever the one before."""
    scores = np.array([1e300, 1e-300, 0.1, 1e17, 0.3])
    assert smoothed_of(scores, DecisionSettings(smoothing_seconds=0)).tolist() == scores.tolist()


@hypothesis_settings(deadline=None)
@given(scores_strategy, settings_strategy, st.floats(0.1, 2.9))
def test_episodes_alternate_and_each_ends_after_it_began(
    scores: NDArray[np.float64], settings: DecisionSettings, threshold: float
) -> None:
    """Rise <= peak < clear < next rise; only the last may be open; the peak is the maximum from rise to clear."""
    episodes = episodes_of(scores, threshold=threshold, settings=settings)
    smoothed, times = smoothed_of(scores, settings), times_of(scores)
    for episode in episodes:
        end = times[-1] + 1 if episode.clear_seconds is None else episode.clear_seconds
        assert episode.rise_seconds <= episode.peak_seconds < end
        assert episode.peak_score == smoothed[(times >= episode.rise_seconds) & (times < end)].max()
    for episode, following in pairwise(episodes):
        assert episode.clear_seconds is not None
        assert episode.clear_seconds < following.rise_seconds


@hypothesis_settings(deadline=None)
@given(scores_strategy, settings_strategy, st.floats(0.1, 2.9))
def test_no_chatter_between_episodes(scores: NDArray[np.float64], settings: DecisionSettings, threshold: float) -> None:
    """Between two episodes there always lie n smoothed scores in a row at or below the clear level."""
    smoothed, times = smoothed_of(scores, settings), times_of(scores)
    low = smoothed <= settings.clear_ratio * threshold
    episodes = episodes_of(scores, threshold=threshold, settings=settings)
    for episode in episodes[:-1]:
        last = int(np.flatnonzero(times == episode.clear_seconds)[0])
        assert low[last - settings.n + 1 : last + 1].all()


@hypothesis_settings(deadline=None)
@given(st.lists(st.floats(0.91, 5.0), min_size=1, max_size=80), st.sampled_from([0.0, 1.0]))
def test_an_excursion_above_the_clear_level_is_one_episode(levels: list[float], smoothing_seconds: float) -> None:
    """Scores that wander about the threshold but stay above clear_ratio * threshold make one episode at most."""
    settings = DecisionSettings(smoothing_seconds=smoothing_seconds, k=2, n=4, clear_ratio=0.9)
    scores = np.array(levels)
    assert len(episodes_of(scores, threshold=1.0, settings=settings)) <= 1
    loud = np.concatenate([[5.0] * 10, scores])
    assert len(episodes_of(loud, threshold=1.0, settings=settings)) == 1


@hypothesis_settings(deadline=None)
@given(st.lists(st.integers(1, 8), min_size=1, max_size=6), st.integers(5, 30))
def test_each_excursion_of_enough_windows_is_one_episode(lengths: list[int], quiet: int) -> None:
    """Without smoothing an excursion of k or more windows, n quiet ones after it, is one episode; a shorter none."""
    settings = DecisionSettings(smoothing_seconds=0, k=3, n=5)
    scores = np.concatenate([[0.0] * 5] + [[2.0] * length + [0.0] * quiet for length in lengths])
    episodes = episodes_of(scores, threshold=1.0, settings=settings)
    assert len(episodes) == sum(length >= 3 for length in lengths)
    assert all(episode.clear_seconds is not None for episode in episodes)


@hypothesis_settings(deadline=None)
@given(scores_strategy, settings_strategy, st.floats(0.1, 2.9), st.floats(0.1, 2.9))
def test_a_higher_threshold_never_alarms_earlier(
    scores: NDArray[np.float64], settings: DecisionSettings, one: float, other: float
) -> None:
    """If a stream alarms at the higher of two thresholds, it has alarmed at the lower one by then."""
    low, high = sorted((one, other))
    at_high = episodes_of(scores, threshold=high, settings=settings)
    assume(at_high)
    at_low = episodes_of(scores, threshold=low, settings=settings)
    assert at_low[0].rise_seconds <= at_high[0].rise_seconds


@hypothesis_settings(deadline=None)
@given(scores_strategy, settings_strategy, st.floats(0.1, 2.9))
def test_streaming_equals_find_episodes(
    scores: NDArray[np.float64], settings: DecisionSettings, threshold: float
) -> None:
    """One score at a time gives the episodes of the whole array, and the raised ones are their beginnings."""
    detector = Detector(threshold=threshold, settings=settings, window_hop_seconds=HOP_SECONDS)
    decisions = [detector.update(time, score) for time, score in zip(times_of(scores), scores, strict=True)]
    found = [decision.cleared for decision in decisions if decision.cleared]
    if (lasting := detector.finish()) is not None:
        found.append(lasting)
    whole = episodes_of(scores, threshold=threshold, settings=settings)
    assert found == whole
    raised = [decision.raised.rise_seconds for decision in decisions if decision.raised]
    assert raised == [episode.rise_seconds for episode in whole]


@hypothesis_settings(deadline=None)
@given(scores_strategy, settings_strategy, st.floats(0.1, 2.9))
def test_a_gap_neither_raises_nor_clears(
    scores: NDArray[np.float64], settings: DecisionSettings, threshold: float
) -> None:
    """gap() leaves the open episode as it is, and the chain then needs k or n fresh scores like a new stream."""
    detector = Detector(threshold=threshold, settings=settings, window_hop_seconds=HOP_SECONDS)
    for time, score in zip(times_of(scores), scores, strict=True):
        detector.update(time, score)
    before = detector.finish()
    detector.gap()
    assert detector.finish() == before
    after = times_of(scores)[-1] + HOP_SECONDS
    needed = settings.n if before else settings.k
    extreme = 0.0 if before else 2 * threshold
    states = [detector.update(after + i * HOP_SECONDS, extreme).in_alarm for i in range(needed)]
    assert states[:-1] == [before is not None] * (needed - 1)
    if before:
        assert not states[-1]


def test_a_gap_forgets_smoothing() -> None:
    """The first score after a gap starts the smoothing afresh, so that old loudness does not reach over it."""
    detector = Detector(threshold=1.0, settings=DecisionSettings(smoothing_seconds=60), window_hop_seconds=HOP_SECONDS)
    detector.update(0.0, 100.0)
    assert detector.update(0.5, 0.0).smoothed_score > 90
    detector.gap()
    assert detector.update(1.0, 0.25).smoothed_score == 0.25


def test_an_alarm_that_lasts_is_found_with_no_clear_time() -> None:
    """The episode still open at the end of the stream is returned, and says that it has not cleared."""
    (episode,) = episodes_of(np.array([0.0, 2.0, 3.0]), threshold=1.0, settings=PLAIN)
    assert episode == Episode(1.0, 1.0, 3.0, None)


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_not_finite_is_refused_and_changes_nothing(score: float) -> None:
    """NaN and infinity raise ValueError; the detector goes on afterwards as if they had not come."""
    detector = Detector(threshold=1.0, settings=PLAIN, window_hop_seconds=HOP_SECONDS)
    detector.update(0.0, 2.0)
    with pytest.raises(ValueError, match="fault of the source"):
        detector.update(0.5, score)
    assert detector.update(0.5, 2.0).raised == Episode(0.5, 0.5, 2.0, None)


@pytest.mark.parametrize("time_seconds", [0.9, -1.0, math.nan, math.inf])
def test_time_must_not_go_backwards(time_seconds: float) -> None:
    """A time before the last one, or one that is not finite, raises ValueError, also across a gap."""
    detector = Detector(threshold=1.0, settings=PLAIN, window_hop_seconds=HOP_SECONDS)
    detector.update(1.0, 0.5)
    detector.gap()
    with pytest.raises(ValueError, match="time order"):
        detector.update(time_seconds, 0.5)


@pytest.mark.parametrize("threshold", [0.0, -1.0, math.nan, math.inf])
def test_a_threshold_that_cannot_work_is_refused(threshold: float) -> None:
    """Scores are sums of squares: a threshold of 0 or less would alarm for ever, one that is not finite never."""
    with pytest.raises(ValueError, match="threshold"):
        Detector(threshold=threshold, settings=PLAIN, window_hop_seconds=HOP_SECONDS)


@pytest.mark.parametrize("window_hop_seconds", [0.0, -0.5, math.nan, math.inf])
def test_a_hop_that_cannot_work_is_refused(window_hop_seconds: float) -> None:
    """A hop must be finite and above 0, since smoothing and durations are counted in hops."""
    with pytest.raises(ValueError, match="window_hop_seconds"):
        Detector(threshold=1.0, settings=PLAIN, window_hop_seconds=window_hop_seconds)


@pytest.mark.parametrize(
    "fault",
    [
        {"k": 0},
        {"k": 4},
        {"clear_ratio": 0.0},
        {"clear_ratio": 1.1},
        {"smoothing_seconds": -1.0},
        {"smoothing_seconds": math.nan},
        {"minimum_duration_seconds": math.inf},
    ],
    ids=str,
)
def test_settings_that_cannot_work_are_refused(fault: dict[str, float]) -> None:
    """Each setting out of range is refused on creation, and the message names it."""
    with pytest.raises(ValueError, match=next(iter(fault))):
        replace(PLAIN, **fault)


def test_lengths_that_differ_are_refused() -> None:
    """Times and scores of different lengths are an error, not silently cut."""
    with pytest.raises(ValueError, match="zip"):
        find_episodes([0.0, 1.0], [1.0], threshold=1.0, settings=PLAIN, window_hop_seconds=1.0)


def test_alarm_clears_when_scores_are_usual_again() -> None:
    """Where healthy scores vary by a percent about 100, an alarm at 103 clears at 100, which 0.8 * 103 never would."""
    settings = DecisionSettings(smoothing_seconds=0, k=2, n=3, clear_ratio=0.8)
    scores = [100.0, 101, 110, 110, 110, 102.8, 101, 100, 101, 100]
    for usual_score, clear_seconds in ((100.0, 8.0), (0.0, None)):
        (episode,) = find_episodes(
            range(10), scores, threshold=103.0, settings=settings, window_hop_seconds=1.0, usual_score=usual_score
        )
        assert (episode.rise_seconds, episode.clear_seconds) == (3.0, clear_seconds)
