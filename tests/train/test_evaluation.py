"""Evaluation of labelled scores against figures worked by hand and scikit-learn."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from dasvdd_runtime.calibration import Calibration
from dasvdd_runtime.detector import DecisionSettings, Detector
from dasvdd_runtime.errors import DataError
from dasvdd_train.diagnosis import missed_doubts
from dasvdd_train.evaluation import Evaluation, ScoredStream, Separation, evaluate, smoothed_scores
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import auc as trapezoid_area
from sklearn.metrics import f1_score, roc_auc_score

UNSMOOTHED = DecisionSettings(smoothing_seconds=0.0)
CALIBRATION = Calibration(
    threshold=5.0,
    false_alarms_per_day=1.0,
    episodes_per_day_upper=10.0,
    confidence=0.95,
    hours=1.0,
    windows=3600,
    extrapolates=True,
    method="fitted tail",
    usual_score=0.0,
)


def stream(role: str, scores: list[float], name: str = "recording.wav") -> ScoredStream:
    """A stream with one window a second."""
    times = np.arange(len(scores), dtype=np.float64)
    return ScoredStream(name, role, "", "", times, np.array(scores, np.float64))  # type: ignore[arg-type]


def evaluated(
    *streams: ScoredStream, calibration: Calibration | None = CALIBRATION, decision: DecisionSettings = UNSMOOTHED
) -> Evaluation:
    """`evaluate` with one window of a second a second; `stream` times are window ends, so recordings start at -1 s."""
    found = evaluate(streams, calibration=calibration, decision=decision, window_seconds=1.0, window_hop_seconds=1.0)
    assert found is not None
    return found


def auc_of(result: Evaluation) -> Separation:
    """The threshold-free figures, which must be there."""
    assert result.overall.separation is not None
    return result.overall.separation


def test_auc_counts_pairs_in_the_right_order() -> None:
    """AUC is the share of (normal, anomalous) pairs in which the anomalous window scores higher: here 5 of 6."""
    result = evaluated(stream("test_normal", [1, 2, 6]), stream("test_anomalous", [4, 9]))
    assert auc_of(result).auc == pytest.approx(5 / 6)
    assert (result.overall.normal_windows, result.overall.anomalous_windows) == (3, 2)


def test_a_tie_counts_half() -> None:
    """Of four pairs two are in order and two tie, which makes (2 + 2 / 2) / 4."""
    assert auc_of(evaluated(stream("test_normal", [1, 3]), stream("test_anomalous", [3, 3]))).auc == pytest.approx(0.75)


@pytest.mark.parametrize(("faulty", "auc"), [([2.0, 2.0], 0.5), ([9.0, 8.0], 1.0), ([0.0, 1.0], 0.0)])
def test_the_ends_of_the_scale(faulty: list[float], auc: float) -> None:
    """Equal scores are guessing, apart is 1, and the wrong way round is 0."""
    assert auc_of(evaluated(stream("test_normal", [2, 2, 2]), stream("test_anomalous", faulty))).auc == auc


def test_partial_auc_is_the_standardised_area_below_a_tenth() -> None:
    """One of ten normal windows beats every anomalous one, so that nothing is found up to a rate of 0.1."""
    result = evaluated(stream("test_normal", [1.0] * 9 + [9.0]), stream("test_anomalous", [5.0, 6.0]))
    # McClish: 1/2 (1 + (area - least) / (most - least)) with area 0, least 0.1^2 / 2 and most 0.1.
    assert auc_of(result).partial_auc == pytest.approx(0.5 * (1 + (0 - 0.005) / (0.1 - 0.005)))
    assert auc_of(result).auc == pytest.approx(0.9)


@given(
    normal=st.lists(st.integers(0, 8).map(float), min_size=1, max_size=30),
    faulty=st.lists(st.integers(0, 12).map(float), min_size=1, max_size=30),
)
def test_agrees_with_scikit_learn(normal: list[float], faulty: list[float]) -> None:
    """AUC, partial AUC and the area under the returned curve agree with scikit-learn, ties included."""
    result = evaluated(stream("test_normal", normal), stream("test_anomalous", faulty))
    labels, scores = [0] * len(normal) + [1] * len(faulty), normal + faulty
    assert auc_of(result).auc == pytest.approx(roc_auc_score(labels, scores))
    assert auc_of(result).partial_auc == pytest.approx(roc_auc_score(labels, scores, max_fpr=0.1))
    assert trapezoid_area(result.fpr, result.tpr) == pytest.approx(auc_of(result).auc)


def test_alarm_rates_count_windows_above_the_threshold() -> None:
    """A score equal to the threshold raises no alarm: 1 of 4 normal windows is false, 2 of 3 anomalous are missed."""
    result = evaluated(stream("test_normal", [1, 5, 6, 2]), stream("test_anomalous", [5, 5.01, 1]))
    assert result.overall.false_alarm_rate == pytest.approx(1 / 4)
    assert result.overall.missed_alarm_rate == pytest.approx(2 / 3)


def test_alarm_rates_are_of_smoothed_scores_and_smoothing_restarts_with_each_stream() -> None:
    """Half of each new score: 0, 8 smooths to 0, 4; the next stream starts at its own 8, above the threshold of 5."""
    halving = DecisionSettings(smoothing_seconds=1 / math.log(2))
    result = evaluated(
        stream("test_normal", [0, 8]),
        stream("test_normal", [8, 8]),
        stream("test_anomalous", [12, 2]),
        decision=halving,
    )
    assert result.overall.false_alarm_rate == pytest.approx(2 / 4)
    assert result.overall.missed_alarm_rate == 0.0  # 12, then (12 + 2) / 2 = 7
    assert auc_of(result).auc == pytest.approx((0.5 * 0 + 4 + 1) / 8)  # raw: 12 beats four, 2 beats the 0


def test_smoothing_is_the_detectors() -> None:
    """Smoothed scores are, bit for bit, what the detector on a device compares with the threshold."""
    scores = np.random.default_rng(0).gamma(2.0, size=200)
    detector = Detector(threshold=1.0, settings=DecisionSettings(), window_hop_seconds=0.5)
    streamed = [detector.update(float(i), float(score)).smoothed_score for i, score in enumerate(scores)]
    assert smoothed_scores(scores, decision=DecisionSettings(), window_hop_seconds=0.5).tolist() == streamed


def test_without_a_threshold_the_alarm_rates_are_unknown() -> None:
    """AUC needs no threshold; the two rates and F1 do, and are None without one."""
    result = evaluated(stream("test_normal", [1]), stream("test_anomalous", [2]), calibration=None)
    assert auc_of(result).auc == 1.0
    assert (result.overall.false_alarm_rate, result.overall.missed_alarm_rate, result.overall.f1) == (None, None, None)
    assert result.overall.delays_seconds == ()


def test_held_out_streams_do_not_count() -> None:
    """Held-out scores chose the threshold, so they change no figure of the evaluation."""
    labelled = [stream("test_normal", [1, 6]), stream("test_anomalous", [4, 9])]
    assert evaluated(*labelled, stream("holdout", [100.0] * 50), stream("train", [0.0])) == evaluated(*labelled)


def test_faults_alone_still_say_what_can_be_said() -> None:
    """Without normal recordings there is no AUC, but the share missed, the alarms and their delay are known."""
    result = evaluated(stream("test_anomalous", [1, 9, 9, 9, 9]), stream("holdout", [1]))
    assert result.overall.separation is None
    assert result.overall.missed_alarm_rate == pytest.approx(1 / 5)
    assert (result.overall.detected_recordings, result.overall.delays_seconds) == (1, (4.0,))
    assert (result.fpr, result.overall.false_alarm_rate, result.overall.normal_windows) == ([], None, 0)


def test_healthy_recordings_alone_count_false_alarms() -> None:
    """Without faulty recordings there is no AUC and no F1, but false alarms are counted."""
    result = evaluated(stream("test_normal", [9, 9, 9, 1]), stream("test_anomalous", []))
    assert (result.overall.separation, result.overall.f1, result.overall.missed_alarm_rate) == (None, None, None)
    assert (result.overall.false_alarm_rate, result.overall.false_alarms) == (pytest.approx(3 / 4), 1)


def test_no_labelled_window_is_no_evaluation() -> None:
    """Held-out streams, and labelled ones shorter than a window, are no evaluation."""
    streams = [stream("holdout", [1, 2]), stream("test_anomalous", [])]
    assert (
        evaluate(streams, calibration=CALIBRATION, decision=UNSMOOTHED, window_seconds=1, window_hop_seconds=1) is None
    )


@given(
    normal=st.lists(st.integers(0, 8).map(float), min_size=1, max_size=30),
    faulty=st.lists(st.integers(0, 12).map(float), min_size=1, max_size=30),
)
def test_f1_agrees_with_scikit_learn(normal: list[float], faulty: list[float]) -> None:
    """F1 of the windows above the threshold of 5 is scikit-learn's."""
    result = evaluated(stream("test_normal", normal), stream("test_anomalous", faulty))
    labels, predicted = [0] * len(normal) + [1] * len(faulty), [score > 5 for score in normal + faulty]
    assert result.overall.f1 == pytest.approx(f1_score(labels, predicted, zero_division=0.0))


def test_delay_runs_from_the_start_of_the_part_to_the_alarm() -> None:
    """A part that starts at 60 s, with 2 s windows every second: the third score above, at 66 s, is 6 s after it."""
    late = replace(stream("test_anomalous", [1, 1, 9, 9, 9, 9]), times_seconds=62.0 + np.arange(6))
    found = evaluate([late], calibration=CALIBRATION, decision=UNSMOOTHED, window_seconds=2.0, window_hop_seconds=1.0)
    assert found is not None
    assert found.overall.delays_seconds == (6.0,)


def test_delay_includes_every_step_of_the_decision_chain() -> None:
    """With a minimum duration of 4 s the alarm rises 4 s later than without; k = 1 of 1 saves two windows."""
    scores = stream("test_anomalous", [1.0] * 5 + [9.0] * 20)
    delays = [
        evaluated(scores, decision=DecisionSettings(smoothing_seconds=0.0, **changed)).overall.delays_seconds[0]
        for changed in ({}, {"minimum_duration_seconds": 4.0}, {"k": 1, "n": 1})
    ]
    assert delays == [8.0, 12.0, 6.0]


def test_missed_recordings_have_no_delay() -> None:
    """The median delay is that of the recordings in which an alarm rose: 3 s and 5 s of three recordings."""
    result = evaluated(
        stream("test_anomalous", [9, 9, 9, 9]),
        stream("test_anomalous", [1, 1, 9, 9, 9]),
        stream("test_anomalous", [1, 9, 1, 9, 1]),
    )
    assert (result.overall.anomalous_recordings, result.overall.detected_recordings) == (3, 2)
    assert result.overall.median_delay_seconds == 4.0


def test_a_model_that_misses_most_faults_is_not_ready() -> None:
    """Half of the faulty recordings without an alarm is serious, with what to do; a fourth is not."""
    found, missed = [9.0] * 6, [1.0] * 6
    cases = [([found] * 3 + [missed], False), ([found, missed], True), ([missed] * 3, True)]
    for recordings, serious in cases:
        result = evaluated(*(stream("test_anomalous", scores) for scores in recordings))
        doubts = missed_doubts(result, epochs=15)
        assert [doubt.serious for doubt in doubts] == [True] * serious
    assert "an alarm rose in 0 of 3 faulty test recordings" in doubts[0].text
    assert "this took 15" in doubts[0].text and "--test-normal" in doubts[0].text
    with_normal = evaluated(stream("test_normal", missed), stream("test_anomalous", missed))
    assert "--test-normal" not in missed_doubts(with_normal, epochs=15)[0].text


def test_recordings_too_short_for_an_alarm_are_judged_by_their_windows() -> None:
    """Where 3 of 5 can never hold, a missing alarm says nothing, and windows above the threshold do."""
    high, low = ([stream("test_anomalous", [score, score]) for _ in range(4)] for score in (9.0, 1.0))
    chain = DecisionSettings(smoothing_seconds=0, k=3, n=5)
    assert evaluated(*high, decision=chain).overall.too_short_recordings == 4
    assert missed_doubts(evaluated(*high, decision=chain), epochs=15) == []
    (found,) = missed_doubts(evaluated(*low, decision=chain), epochs=15)
    assert "100% of the 8 windows of the faulty test recordings lie at or below the threshold" in found.text


def test_groups_compare_a_fault_with_the_normal_running_most_like_it() -> None:
    """Each machine and condition has its row; a fault is compared within machine and condition, machine, then all."""

    def of(machine: str, condition: str, role: str, scores: list[float]) -> ScoredStream:
        return replace(stream(role, scores), machine=machine, condition=condition)

    result = evaluated(
        of("A", "fast", "test_normal", [1, 2]),
        of("A", "slow", "test_normal", [7, 8]),
        of("A", "fast", "test_anomalous", [3, 4]),
        of("A", "crack", "test_anomalous", [5, 6]),
        of("B", "crack", "test_anomalous", [9, 9, 9]),
    )
    found = {(g.machine, g.condition): g for g in result.groups}
    assert [(g.machine, g.condition) for g in result.groups] == sorted(found)
    aucs = {key: g.figures.separation.auc if g.figures.separation else None for key, g in found.items()}
    assert aucs == {("A", "fast"): 1.0, ("A", "slow"): None, ("A", "crack"): 0.5, ("B", "crack"): 1.0}
    assert [g.against for g in result.groups] == ["this machine", "this machine and condition", "", "all machines"]
    assert found["A", "slow"].figures.false_alarm_rate == 1.0
    assert found["B", "crack"].figures.detected_recordings == 1


def test_recordings_without_machine_and_condition_make_no_groups() -> None:
    """Where the manifest names neither, a table of one row would say the same again."""
    assert evaluated(stream("test_normal", [1]), stream("test_anomalous", [2])).groups == []


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_score_that_is_not_finite_is_refused(bad: float) -> None:
    """NaN would count as 'no alarm': the error names the recording and the window instead."""
    with pytest.raises(DataError, match=r"broken\.wav: score (nan|inf) at window 1 of 3"):
        evaluated(stream("test_normal", [1, bad, 2], "broken.wav"), stream("test_anomalous", [3]))


def test_a_higher_threshold_trades_false_for_missed_alarms() -> None:
    """Raising the threshold never adds false alarms and never finds more faults."""
    rng = np.random.default_rng(1)
    streams = [
        stream("test_normal", rng.gamma(2, 1, 300).tolist()),
        stream("test_anomalous", rng.gamma(4, 1, 300).tolist()),
    ]
    results = [evaluated(*streams, calibration=replace(CALIBRATION, threshold=t)) for t in (1.0, 2.0, 4.0, 8.0)]
    false, missed = ([getattr(r.overall, f"{kind}_alarm_rate") for r in results] for kind in ("false", "missed"))
    assert false == sorted(false, reverse=True)
    assert missed == sorted(missed)
    assert false[0] > false[-1]
    assert missed[0] < missed[-1]
