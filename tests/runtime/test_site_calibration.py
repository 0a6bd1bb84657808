"""The threshold learned on site, from scores: what it promises, and what does not count."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from dasvdd_runtime.calibration import calibrate
from dasvdd_runtime.detector import DecisionSettings, find_episodes
from dasvdd_runtime.thresholds.score_collector import ScoreCollector
from dasvdd_runtime.thresholds.site_calibration import (
    CannotPromise,
    calibrate_site,
    doubts,
    needs_a_word,
    seconds_needed,
)
from dasvdd_runtime.thresholds.site_threshold import (
    SiteThreshold,
)
from numpy.typing import NDArray
from scipy import stats
from scipy.signal import lfilter

HOP_SECONDS = 0.5
DEFAULT = DecisionSettings()
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def scores_of_hours(hours: float, *, seed: int, correlation_seconds: float) -> NDArray[np.float64]:
    """Scores of a healthy machine: exp of a first-order autoregression; 0 s: independent ones."""
    pole = math.exp(-HOP_SECONDS / correlation_seconds) if correlation_seconds else 0.0
    white = np.random.default_rng(seed).standard_normal(round(hours * 3600 / HOP_SECONDS) + 1000)
    return np.exp(0.3 * lfilter([math.sqrt(1 - pole**2)], [1, -pole], white)[1000:])


@pytest.fixture
def learned(tiny_model: Any) -> Callable[..., SiteThreshold]:
    """A maker of calibrations from scores."""
    metadata = tiny_model.metadata(sample_rate_hz=16000.0, window_samples=16000, window_hop_samples=8000)

    def make(scores: NDArray[np.float64], per_day: float) -> SiteThreshold:
        return calibrate_site(
            [scores],
            seconds=(len(scores) - 2) * HOP_SECONDS,
            source="pump7",
            metadata=metadata,
            settings=DEFAULT,
            false_alarms_per_day=per_day,
            now=NOW,
        )

    return make


@pytest.mark.parametrize("correlation_seconds", [0, 10, 60])
@pytest.mark.parametrize(("hours", "per_day"), [(8, 1.0), (40, 3.0)])
def test_the_rate_holds_within_what_the_calibration_states(
    learned: Any, hours: float, per_day: float, correlation_seconds: float
) -> None:
    """Eight days of fresh running alarm no more often than the stated bound, by more than chance (99.9 %)."""
    site = learned(scores_of_hours(hours, seed=1, correlation_seconds=correlation_seconds), per_day)
    fresh = scores_of_hours(192, seed=2, correlation_seconds=correlation_seconds)
    found = find_episodes(
        np.arange(len(fresh)) * HOP_SECONDS,
        fresh,
        threshold=site.calibration.threshold,
        settings=DEFAULT,
        window_hop_seconds=HOP_SECONDS,
        usual_score=site.calibration.usual_score,
    )
    bound = site.calibration.episodes_per_day_upper
    assert bound <= 10 * per_day
    assert len(found) <= stats.poisson.ppf(0.999, 8 * bound)
    # Nor is it blind: what makes an alarm of the method is a score that grows a few times.
    assert site.calibration.threshold < 6


def test_it_is_the_models_own_calibration(learned: Any) -> None:
    """On the same scores and target, the threshold is bit for bit that which a training would set."""
    scores = scores_of_hours(10, seed=3, correlation_seconds=10)
    expected = calibrate([scores], settings=DEFAULT, window_hop_seconds=HOP_SECONDS, false_alarms_per_day=1.0)
    assert learned(scores, 1.0).calibration == expected


@pytest.mark.parametrize("per_day", [0.1, 1.0, 8.0])
def test_the_time_that_is_needed_is_the_least_that_is_not_refused(learned: Any, per_day: float) -> None:
    """A window more than seconds_needed is enough, one less is refused with both numbers and the rate that holds."""
    enough = math.ceil(seconds_needed(per_day) / HOP_SECONDS) + 3
    scores = scores_of_hours((enough + 1) * HOP_SECONDS / 3600, seed=4, correlation_seconds=0)
    assert learned(scores[:enough], per_day).seconds >= seconds_needed(per_day)
    short = scores[: enough - 4]
    with pytest.raises(CannotPromise) as refused:
        learned(short, per_day)
    words = str(refused.value)
    assert f"{(len(short) - 2) * HOP_SECONDS:.0f} s of running" in words
    assert f"at least {seconds_needed(per_day):.0f} s" in words
    offered = float(words.split("--alarms-per-day ")[1].split(")")[0])
    assert per_day < offered < 1.3 * per_day
    assert learned(short, offered).calibration.false_alarms_per_day == offered


def test_scores_far_from_training_and_alarms_are_doubted(learned: Any, tiny_model: Any) -> None:
    """Four times the usual score of training, or an alarm, needs a word, with the numbers; the same score does not."""
    site = learned(scores_of_hours(8, seed=5, correlation_seconds=0), 1.0)
    usual = site.calibration.usual_score

    def trained_at(usual: float) -> Any:
        metadata = tiny_model.metadata()
        return metadata.model_copy(update={"calibration": replace(metadata.calibration, usual_score=usual)})

    assert doubts(site, trained_at(usual), alarms=0) == []
    assert not needs_a_word(site, trained_at(usual), alarms=0)
    assert not needs_a_word(site, trained_at(4 * usual), alarms=0)
    assert needs_a_word(site, trained_at(usual / 4), alarms=0)
    assert needs_a_word(site, trained_at(usual), alarms=1)
    (far,) = doubts(site, trained_at(usual / 4), alarms=0)
    assert "4 times" in far
    (alarms,) = doubts(site, trained_at(usual), alarms=2)
    assert "2 alarms in this time. " in alarms
    names = [f"{number}.wav" for number in range(10)]
    (alarms,) = doubts(site, trained_at(usual), alarms=12, alarmed_recordings=names)
    assert "12 alarms in this time (0.wav, 1.wav, " in alarms and "7.wav and 2 other recordings)" in alarms


def test_what_is_clipped_or_doubtful_does_not_count() -> None:
    """Windows of a clipped stretch, of the second before it was told, and of a fault are not learned from."""
    collector = ScoreCollector(settings=DEFAULT, window_hop_seconds=0.5)
    state = {"event": "source_state", "state": "OK", "previous": "STARTING", "stream_seconds": 1.0}
    collector.take(state)

    def feed(first: int, last: int, score: float) -> None:
        for number in range(first, last):
            collector.take({"event": "score", "start_seconds": 0.5 * number, "score": score, "level_dbfs": -30.0})

    feed(0, 20, 1.0)
    feed(20, 22, 9.0)
    collector.take(state | {"state": "CLIPPED", "previous": "OK", "stream_seconds": 12.0})
    feed(22, 40, 9.0)
    collector.take(state | {"state": "OK", "previous": "CLIPPED", "stream_seconds": 21.0})
    feed(40, 42, 9.0)
    feed(42, 50, 2.0)
    collector.take(state | {"state": "FAULT", "previous": "OK", "stream_seconds": 26.0})
    feed(50, 60, 9.0)
    assert [stream.tolist() for stream in collector.streams] == [[1.0] * 20, [2.0] * 8]
    assert collector.seconds == 0.5 * (20 - 2 + 8 - 2)
