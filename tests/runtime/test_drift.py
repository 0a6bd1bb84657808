"""The drift watch: simulated months of a steady and of a changing machine, and what must not count."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from dasvdd_runtime.calibration import calibrate
from dasvdd_runtime.condition.drift import DriftReference, DriftReport, DriftWatch
from dasvdd_runtime.detector import DecisionSettings, Detector
from dasvdd_runtime.pipeline import DecisionRule, Pipeline
from dasvdd_runtime.scorer import Scorer
from dasvdd_runtime.thresholds.choice import choose_threshold
from dasvdd_runtime.thresholds.site_threshold import SiteThreshold
from judging import judge
from numpy.typing import NDArray
from scipy.signal import lfilter

HOP_SECONDS = 5.0
WINDOWS_A_DAY = round(86400 / HOP_SECONDS)
DEFAULT = DecisionSettings()
RESIDUAL = np.ones(2)
NO_SAMPLES = np.zeros((1, 1), np.float32)


def scores_of_days(days: float, *, seed: int, spread: float = 0.3) -> NDArray[np.float64]:
    """Scores of a healthy machine: exp of a first-order autoregression over a minute, and a swing of the day by 5 %."""
    pole = math.exp(-HOP_SECONDS / 60)
    count = round(days * WINDOWS_A_DAY)
    white = np.random.default_rng(seed).standard_normal(count + 1000)
    swing = 1 + 0.05 * np.sin(2 * np.pi * np.arange(count) / WINDOWS_A_DAY)
    return swing * np.exp(spread * lfilter([math.sqrt(1 - pole**2)], [1, -pole], white)[1000:])


def reference(hours: float = 8, *, spread: float = 0.3, **more: Any) -> DriftReference:
    """What a calibration on `hours` of the same machine knows."""
    found = calibrate(
        [scores_of_days(hours / 24, seed=99, spread=spread)], settings=DEFAULT, window_hop_seconds=HOP_SECONDS, **more
    )
    return DriftReference(found.usual_score, found.threshold, (-42.0, -40.0, -38.0))


def reports(
    scores: NDArray[np.float64], known: DriftReference, *, levels: NDArray[np.float64] | None = None
) -> tuple[list[DriftReport], DriftWatch]:
    """What the watch tells of a stream of scores, and of levels in dBFS, after the decision chain."""
    watch = DriftWatch(known, history_windows=DEFAULT.n, window_hop_seconds=HOP_SECONDS)
    detector = Detector(
        threshold=known.threshold, settings=DEFAULT, window_hop_seconds=HOP_SECONDS, usual_score=known.usual_score
    )
    if levels is None:
        levels = -40 + np.random.default_rng(5).standard_normal(len(scores))
    told = []
    for number, (score, level) in enumerate(zip(scores.tolist(), levels.tolist(), strict=True)):
        decision = detector.update(number * HOP_SECONDS, score)
        anomalous = decision.in_alarm or decision.smoothed_score > known.threshold
        if watch.window(decision.smoothed_score, anomalous=anomalous):
            report = watch.sample(NO_SAMPLES, level_dbfs=level, residual=RESIDUAL)
            if report is not None:
                told.append(report)
    return told, watch


@pytest.mark.parametrize("spread", [0.02, 0.3])
@pytest.mark.parametrize(("hours", "per_day"), [(8, 1.0), (72, 1.0), (72, 8.0)])
def test_a_steady_machine_gives_no_recommendation_in_a_month(hours: float, per_day: float, spread: float) -> None:
    """Thirty days like those of the calibration, whatever it rests on: not one report."""
    told, watch = reports(
        scores_of_days(30, seed=1, spread=spread), reference(hours, spread=spread, false_alarms_per_day=per_day)
    )
    assert told == []
    assert watch.report is not None and not watch.report.drifting
    assert watch.report.score_p50 == pytest.approx(reference(72, spread=spread).usual_score, rel=0.15)


def test_scores_that_rise_slowly_are_told_before_they_alarm() -> None:
    """A month in which the score doubles and goes on: one report, with both numbers, before the first alarm."""
    known = reference(72)
    scores = scores_of_days(30, seed=2) * np.linspace(1, 3, 30 * WINDOWS_A_DAY)
    (told,), _ = reports(scores[: 20 * WINDOWS_A_DAY], known)
    assert told.drifting
    assert told.score_p95 > 0.8 * (known.threshold - known.usual_score)
    assert f"to the threshold {known.threshold:.4g}" in told.reasons[0]


def test_scores_that_fall_to_a_quarter_are_told() -> None:
    """A microphone that grows deaf makes every score small: that is a drift, too, and nothing ever alarms of it."""
    (told,), _ = reports(scores_of_days(10, seed=3) * np.linspace(1, 0.2, 10 * WINDOWS_A_DAY), reference())
    assert "0.3" in told.reasons[0] and "a third" in told.reasons[0]


def test_a_noise_floor_that_sinks_or_a_level_that_rises_is_told() -> None:
    """20 dB over ten days, in either direction, beside scores that stay; 3 dB are nothing."""
    scores = scores_of_days(10, seed=4)
    ramp = np.linspace(0, 1, len(scores))
    (rising,), _ = reports(scores, reference(), levels=-40 + 20 * ramp)
    assert rising.level_p5_dbfs is not None and rising.level_p5_dbfs > -32
    assert rising.reasons[-1].startswith("the level is") and "before -42.0 to -38.0 dBFS" in rising.reasons[-1]
    (sinking,), _ = reports(scores, reference(), levels=-40 - 20 * ramp)
    assert "noise floor" in sinking.reasons[0]
    assert reports(scores, reference(), levels=-40 + 3 * ramp)[0] == []


def test_alarm_bursts_are_no_drift() -> None:
    """A fault for a third of every day, far above the threshold, raises alarms and leaves the day's figures alone."""
    known = reference(72)
    healthy = scores_of_days(5, seed=6)
    faulty = healthy.copy()
    in_burst = np.arange(len(faulty)) % WINDOWS_A_DAY < WINDOWS_A_DAY // 3
    faulty[in_burst] *= 20
    told, watch = reports(faulty, known)
    assert told == []
    undisturbed = reports(healthy, known)[1].report
    assert watch.report is not None and undisturbed is not None
    assert watch.report.score_p95 == pytest.approx(undisturbed.score_p95, rel=0.1)


def test_a_drift_is_told_once_and_its_end_once() -> None:
    """Figures that swing about the limit make one report; one more when they have clearly fallen back."""
    known = DriftReference(usual_score=1.0, threshold=3.0, level_dbfs=None)
    days = [1.2, 2.1, 1.95, 2.1, 1.95, 1.85, 2.1, 1.5, 1.9]
    told, _ = reports(np.repeat(days, WINDOWS_A_DAY + 20).astype(float), known)
    assert [report.drifting for report in told] == [True, False]
    assert told[1].score_p50 == pytest.approx(1.5, abs=0.05)
    assert told[0].level_p50_dbfs is not None  # noted, though there is nothing to compare it with


def test_after_a_gap_the_history_of_scores_must_fill_again() -> None:
    """The largest of the last n scores is never taken across a gap."""
    watch = DriftWatch(reference(), history_windows=3, window_hop_seconds=200.0)
    assert [watch.window(1.0, anomalous=False) for _ in range(4)] == [False, False, True, True]
    watch.gap()
    assert [watch.window(1.0, anomalous=False) for _ in range(4)] == [False, False, True, True]


def test_gaps_change_nothing_and_memory_stays_bounded() -> None:
    """A gap every few minutes: the same verdict and figures, and some 1500 samples are held at most, of any hop."""
    watch = DriftWatch(reference(), history_windows=5, window_hop_seconds=0.1)
    most = 0
    for number, score in enumerate(np.repeat(scores_of_days(1.2, seed=7), 50)[: 13 * 86400].tolist()):
        if number % 1777 == 0:
            watch.gap()
        if watch.window(score, anomalous=False):
            watch.sample(NO_SAMPLES, level_dbfs=-math.inf if number % 2 else None, residual=RESIDUAL)
        most = max(most, len(watch._scores))
    assert watch.report is not None and not watch.report.drifting
    assert watch.report.level_p50_dbfs is None
    assert 1300 < most < 1600
    assert watch.report.residual == (1.0, 1.0)


def test_a_drift_is_seen_against_level_and_spectrum_of_the_calibration_on_site(tiny_model: Any) -> None:
    """Level and spectrum of the calibration on site, or none where it noted none, else the spectrum of the training."""
    plain = tiny_model.metadata()
    trained, found_there = {"62.5 Hz": (-41.0, -40.0, -39.0)}, {"62.5 Hz": (-61.0, -60.0, -59.0)}
    metadata = plain.model_copy(update={"baseline": replace(plain.baseline, spectrum=trained)})
    site = SiteThreshold(
        source="pump7",
        model_fingerprint=metadata.model_fingerprint,
        calibrated_at="2026-03-01T12:00:00+00:00",
        seconds=86400.0,
        decision=DEFAULT,
        calibration=metadata.calibration,
        level_dbfs=(-71.0, -70.0, -69.0),
        score_quantiles={},
        spectrum=found_there,
    )
    older = site.model_copy(update={"spectrum": None})
    for chosen, level, spectrum in (
        (site, site.level_dbfs, found_there),
        (older, site.level_dbfs, None),
        (None, None, trained),
    ):
        found = choose_threshold(metadata, DEFAULT, configured=None, site=chosen)
        assert (found.level_dbfs, found.spectrum) == (level, spectrum)
    assert choose_threshold(metadata, DEFAULT, configured=5.0, site=site).spectrum == trained


@pytest.fixture
def pipeline_of(tiny_model: Any) -> Callable[..., Pipeline]:
    """A maker of pipelines of a tiny model with windows of 50 s, so that a day passes quickly."""

    def make(rule: DecisionRule | None = None) -> Pipeline:
        model = tiny_model(
            kind="sensor", sample_rate_hz=1.0, window_samples=50, window_hop_samples=50, channels=2, threshold=1.0
        )
        scorer = Scorer(model, provider="cpu")
        rule = rule or DecisionRule(1.0, scorer.metadata.decision, usual_score=0.2)
        return Pipeline(name="pump7", metadata=scorer.metadata, scorer=scorer, rule=rule, report_scores=False)

    return make


def feed(pipeline: Pipeline, days: float, *, power: float) -> Iterator[dict[str, Any]]:
    """Rows of two channels, the second of which carries nine tenths of the score `power`."""
    random = np.random.default_rng(8)
    spread = np.sqrt(power * np.array([0.1, 0.9]))
    for _ in range(round(days * 86.4)):
        yield from judge(pipeline, (random.standard_normal((1000, 2)) * spread).astype(np.float32))


def test_the_pipeline_tells_a_drift_with_its_bands_and_moves_no_threshold(pipeline_of: Any) -> None:
    """A day at 70 % of the threshold: one event that names the channel, it is in the snapshot, the threshold stays."""
    pipeline = pipeline_of()
    assert [event for event in feed(pipeline, 1.1, power=0.2) if event["event"] == "drift"] == []
    (told,) = [event for event in feed(pipeline, 2.2, power=0.7) if event["event"] == "drift"]
    assert (told["source"], told["drifting"]) == ("pump7", True)
    assert told["bands"][0]["name"] == "channel 1"
    assert 0.6 < told["score_p50"] < 0.95
    assert "to the threshold 1" in told["reasons"][0]
    known = pipeline.snapshot(waiting_seconds=0.0, drift_ppm=None, live=True, ended=False)
    assert known.drift is not None and known.drift.drifting
    assert (known.threshold, known.in_alarm) == (1.0, False)


def test_a_window_is_told_by_its_own_state_however_late_it_is_scored(pipeline_of: Any) -> None:
    """Of stretches that come at once and end in a fault, only the windows of the fault are left out of the day."""
    pipeline = pipeline_of()
    rows = (np.sqrt(0.35) * np.random.default_rng(8).standard_normal((1000, 2))).astype(np.float32)
    rows[-1] = np.nan
    told = [event for _ in range(100) for event in judge(pipeline, rows) if event["event"] == "drift"]
    assert [event["drifting"] for event in told] == [True]


def test_a_new_threshold_begins_a_new_watch(pipeline_of: Any) -> None:
    """After a calibration at the drifted score, the same running is normal."""
    pipeline = pipeline_of()
    assert [event for event in feed(pipeline, 1.2, power=0.7) if event["event"] == "drift"]
    rule = DecisionRule(3.0, DEFAULT, usual_score=0.75)
    pipeline.use_rule(rule)
    assert pipeline.snapshot(waiting_seconds=0.0, drift_ppm=None, live=True, ended=False).drift is None
    assert [event for event in feed(pipeline, 2.2, power=0.7) if event["event"] == "drift"] == []
    pipeline.use_rule(replace(rule, usual_score=3.0))  # a threshold that leaves no way to go
    assert [event for event in feed(pipeline, 1.2, power=2.0) if event["event"] == "drift"] == []
