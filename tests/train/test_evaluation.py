"""Evaluation of labelled scores against figures worked by hand and scikit-learn."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from dasvdd_runtime.calibration import Calibration
from dasvdd_runtime.detector import DecisionSettings, Detector
from dasvdd_runtime.errors import DataError
from dasvdd_train.evaluation import Evaluation, Figures, ScoredStream, Separation, evaluate, smoothed_scores
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import auc as trapezoid_area
from sklearn.metrics import roc_auc_score

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
    times = np.arange(1, len(scores) + 1, dtype=np.float64)
    return ScoredStream(name, role, "", "", times, np.array(scores, np.float64))  # type: ignore[arg-type]


def evaluated(
    *streams: ScoredStream, calibration: Calibration | None = CALIBRATION, decision: DecisionSettings = UNSMOOTHED
) -> Evaluation:
    """`evaluate` with windows of one second, one a second."""
    result = evaluate(streams, calibration=calibration, decision=decision, window_seconds=1.0, window_hop_seconds=1.0)
    assert result is not None
    return result


def separated(result: Evaluation) -> Separation:
    """AUC and partial AUC over all."""
    assert result.overall.separation is not None
    return result.overall.separation


def test_auc_counts_pairs_in_the_right_order() -> None:
    """AUC is the share of (normal, anomalous) pairs in which the anomalous window scores higher: here 5 of 6."""
    result = evaluated(stream("test_normal", [1, 2, 6]), stream("test_anomalous", [4, 9]))
    assert separated(result).auc == pytest.approx(5 / 6)
    assert (result.overall.normal_windows, result.overall.anomalous_windows) == (3, 2)


def test_a_tie_counts_half() -> None:
    """Of four pairs two are in order and two tie, which makes (2 + 2 / 2) / 4."""
    assert separated(evaluated(stream("test_normal", [1, 3]), stream("test_anomalous", [3, 3]))).auc == pytest.approx(
        0.75
    )


@pytest.mark.parametrize(("faulty", "auc"), [([2.0, 2.0], 0.5), ([9.0, 8.0], 1.0), ([0.0, 1.0], 0.0)])
def test_the_ends_of_the_scale(faulty: list[float], auc: float) -> None:
    """Equal scores are guessing, apart is 1, and the wrong way round is 0."""
    assert separated(evaluated(stream("test_normal", [2, 2, 2]), stream("test_anomalous", faulty))).auc == auc


def test_partial_auc_is_the_standardised_area_below_a_tenth() -> None:
    """One of ten normal windows beats every anomalous one, so that nothing is found up to a rate of 0.1."""
    result = evaluated(stream("test_normal", [1.0] * 9 + [9.0]), stream("test_anomalous", [5.0, 6.0]))
    # McClish: 1/2 (1 + (area - least) / (most - least)) with area 0, least 0.1^2 / 2 and most 0.1.
    assert separated(result).partial_auc == pytest.approx(0.5 * (1 + (0 - 0.005) / (0.1 - 0.005)))
    assert separated(result).auc == pytest.approx(0.9)


@given(
    normal=st.lists(st.integers(0, 8).map(float), min_size=1, max_size=30),
    faulty=st.lists(st.integers(0, 12).map(float), min_size=1, max_size=30),
)
def test_agrees_with_scikit_learn(normal: list[float], faulty: list[float]) -> None:
    """AUC, partial AUC and the area under the returned curve agree with scikit-learn, ties included."""
    result = evaluated(stream("test_normal", normal), stream("test_anomalous", faulty))
    labels, scores = [0] * len(normal) + [1] * len(faulty), normal + faulty
    assert separated(result).auc == pytest.approx(roc_auc_score(labels, scores))
    assert separated(result).partial_auc == pytest.approx(roc_auc_score(labels, scores, max_fpr=0.1))
    assert trapezoid_area(result.fpr, result.tpr) == pytest.approx(separated(result).auc)


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
    assert separated(result).auc == pytest.approx((0.5 * 0 + 4 + 1) / 8)  # raw: 12 beats four, 2 beats the 0


def test_smoothing_is_the_detectors() -> None:
    """Smoothed scores are, bit for bit, what the detector on a device compares with the threshold."""
    scores = np.random.default_rng(0).gamma(2.0, size=200)
    detector = Detector(threshold=1.0, settings=DecisionSettings(), window_hop_seconds=0.5)
    streamed = [detector.update(float(i), float(score)).smoothed_score for i, score in enumerate(scores)]
    assert smoothed_scores(scores, decision=DecisionSettings(), window_hop_seconds=0.5).tolist() == streamed


def test_without_a_threshold_the_alarm_rates_are_unknown() -> None:
    """AUC needs no threshold; the two rates and F1 do, and are unknown without one."""
    result = evaluated(stream("test_normal", [1]), stream("test_anomalous", [2]), calibration=None)
    assert separated(result).auc == 1.0
    unknown = (result.overall.false_alarm_rate, result.overall.missed_alarm_rate, result.overall.f1)
    assert unknown == (None, None, None)


def test_held_out_streams_do_not_count() -> None:
    """Held-out scores chose the threshold, so they change no figure of the evaluation."""
    labelled = [stream("test_normal", [1, 6]), stream("test_anomalous", [4, 9])]
    assert evaluated(*labelled, stream("holdout", [100.0] * 50), stream("train", [0.0])) == evaluated(*labelled)


def test_one_class_alone_gives_what_can_be_said() -> None:
    """Faulty recordings alone: no AUC and no false alarms, but what share was missed and how soon the alarm rose."""
    faulty = evaluated(stream("test_anomalous", [1, 6, 6, 6, 6])).overall
    assert (faulty.separation, faulty.false_alarm_rate) == (None, None)
    assert (faulty.missed_alarm_rate, faulty.detected_recordings) == (pytest.approx(1 / 5), 1)
    normal = evaluated(stream("test_normal", [1, 6, 1])).overall
    assert (normal.separation, normal.f1, normal.missed_alarm_rate) == (None, None, None)
    assert normal.false_alarm_rate == pytest.approx(1 / 3)


def test_without_labelled_windows_there_is_no_evaluation() -> None:
    """Held-out streams, and labelled ones shorter than a window, are none."""
    streams = [stream("holdout", [1, 2]), stream("test_normal", [])]
    arguments = {"calibration": CALIBRATION, "decision": UNSMOOTHED, "window_seconds": 1.0, "window_hop_seconds": 1.0}
    assert evaluate(streams, **arguments) is None  # type: ignore[arg-type]


def test_f1_by_hand() -> None:
    """2 TP / (2 TP + FP + FN) over windows: 2 of 3 faulty and 1 of 4 healthy windows above make 4 / (4 + 1 + 1)."""
    result = evaluated(stream("test_normal", [1, 6, 1, 1]), stream("test_anomalous", [6, 6, 1]))
    assert result.overall.f1 == pytest.approx(4 / 6)


def test_the_detection_delay_runs_from_the_recordings_start_to_the_alarm() -> None:
    """With 3 of 5 the alarm rises at the third window above: the windows end at 3, 4 and 5 s, the delay is 5 s.

    A part that starts at 100 s of its recording has the same delay.
    """
    scores = [1.0, 1, 6, 6, 6, 6]
    late = replace(stream("test_anomalous", scores), times_seconds=np.arange(101.0, 107.0))
    result = evaluated(stream("test_anomalous", scores), late, stream("test_anomalous", [1.0] * 6)).overall
    assert result.delays_seconds == (5.0, 5.0)
    assert (result.anomalous_recordings, result.detected_recordings, result.median_delay_seconds) == (3, 2, 5.0)


def test_each_machine_and_condition_has_its_figures() -> None:
    """A fault is compared with the healthy running of its own machine; figures of all machines stay beside."""

    def of(role: str, scores: list[float], machine: str, condition: str) -> ScoredStream:
        return replace(stream(role, scores), machine=machine, condition=condition)

    result = evaluated(
        of("test_normal", [1, 2], "pump", "idle"), of("test_anomalous", [3, 4], "pump", "leak"),
        of("test_normal", [10, 11], "fan", ""), of("test_anomalous", [9, 12], "fan", "coin"),
    )  # fmt: skip
    groups = {(group.machine, group.condition): group for group in result.groups}
    assert list(groups) == [("fan", ""), ("fan", "coin"), ("pump", "idle"), ("pump", "leak")]
    aucs: dict[tuple[str, str], Figures] = {key: group.figures for key, group in groups.items()}
    leak, coin = aucs["pump", "leak"].separation, aucs["fan", "coin"].separation
    assert leak is not None
    assert coin is not None
    assert (leak.auc, coin.auc) == (1.0, 0.5)
    assert groups["pump", "leak"].against == "this machine"
    assert aucs["pump", "idle"].separation is None


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
