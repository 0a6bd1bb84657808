"""What makes a model doubtful: each doubt where it belongs, and none where nothing is wrong."""

from __future__ import annotations

import numpy as np
import pytest
from dasvdd_runtime.calibration import Calibration
from dasvdd_runtime.errors import DataError
from dasvdd_train.data_diagnosis import (
    amount_doubts,
    calibration_doubts,
    channel_doubts,
    held_out_doubts,
    mixture_doubts,
    share_doubts,
)
from dasvdd_train.diagnosis import Doubt, LatentFigures, refuse_diverged, training_doubts
from dasvdd_train.metrics import EpochMetrics, early_stop

HEALTHY = LatentFigures(relative_variance=0.1, latent_share=0.1, explained=0.5)


def metrics(*losses: float, held_out: list[float] | None = None) -> list[EpochMetrics]:
    scores: list[float | None] = [None] * len(losses) if held_out is None else [*held_out]
    both = enumerate(zip(losses, scores, strict=True))
    return [EpochMetrics(i + 1, loss, 0, 1, 0, score) for i, (loss, score) in both]


def codes(doubts: list[Doubt]) -> list[str]:
    return [doubt.code for doubt in doubts]


@pytest.mark.parametrize(
    ("history", "latent", "code", "words"),
    [
        (metrics(10, 9.9), HEALTHY, "loss-not-falling", "10 in the first epoch, 9.9"),
        (metrics(10, 1, 30), HEALTHY, "loss-not-falling", "rose"),
        (metrics(10, 1), LatentFigures(1e-9, 0.1, 0.5), "collapsed", "code"),
        (metrics(10, 1), LatentFigures(0.1, 1e-6, 0.5), "latent-term-dead", "latent term"),
        (metrics(10, 1), LatentFigures(0.1, 0.1, 0.001), "nothing-reconstructed", "reconstruct"),
    ],
)
def test_a_doubtful_training_is_named(
    history: list[EpochMetrics], latent: LatentFigures, code: str, words: str
) -> None:
    """Each kind of doubtful training has its own doubt."""
    found = {doubt.code: doubt.text for doubt in training_doubts(history, latent, steps=10_000)}
    assert words in found[code]


def test_a_good_training_has_no_doubts() -> None:
    """Nothing is said where nothing is wrong."""
    assert training_doubts(metrics(10, 5, 1), HEALTHY, steps=10_000) == []
    assert amount_doubts(vectors=10_000, batch_rows=200, training_seconds=600) == []


def test_a_diverged_training_is_refused() -> None:
    """A reconstruction far worse than the mean of the data is no model, however finite its loss."""
    with pytest.raises(DataError, match=r"diverged.*learning_rate \(now 0.9"):
        refuse_diverged(metrics(10, 5000), LatentFigures(0.1, 0.1, -400.0), learning_rate=0.9)
    refuse_diverged(metrics(10, 5), HEALTHY, learning_rate=0.001)


def test_little_data_is_serious_where_it_is_too_little() -> None:
    """Forty seconds are little; ten, or fewer than two batches, are too little to use."""
    assert [d.serious for d in amount_doubts(vectors=9999, batch_rows=200, training_seconds=40)] == [False]
    assert [d.serious for d in amount_doubts(vectors=9999, batch_rows=200, training_seconds=10)] == [True]
    assert [d.serious for d in amount_doubts(vectors=300, batch_rows=200, training_seconds=600)] == [True]


def test_constant_and_duplicate_channels_are_named() -> None:
    """The same signal twice is found at any gain, offset and sign; two noises are not the same."""
    noise = np.random.default_rng(0).standard_normal((500, 3)).astype(np.float32)
    twice = np.column_stack([noise, -3 * noise[:, 1] + 7])
    (constant, duplicate) = channel_doubts(["t"], twice, ["x", "y", "z", "y2"])
    assert "1 channel, t" in constant.text
    assert "y and y2" in duplicate.text
    assert channel_doubts([], noise, ["x", "y", "z"]) == []


def test_a_recording_that_dominates_is_named() -> None:
    """Nine tenths in one recording of three is too much; equal shares and a single recording are not."""
    (doubt,) = share_doubts({"a.wav": 900.0, "b.wav": 50.0, "c.wav": 50.0})
    assert "a.wav is 90%" in doubt.text
    assert share_doubts({"a.wav": 60.0, "b.wav": 50.0, "c.wav": 40.0}) == []
    assert share_doubts({"a.wav": 900.0}) == []


@pytest.mark.parametrize(("gap", "found"), [(0.0, False), (20.0, True)])
def test_separate_ways_of_running_are_suspected(gap: float, found: bool) -> None:
    """Two clouds far apart are a mixture, with the recording that each is from; one cloud is not."""
    features = np.random.default_rng(0).standard_normal((400, 20)).astype(np.float32)
    features[200:, :4] += gap
    doubts = mixture_doubts(features, ["slow.wav"] * 200 + ["fast.wav"] * 200)
    assert codes(doubts) == (["mixture"] if found else [])
    if found:
        assert "slow.wav" in doubts[0].text
        assert "fast.wav" in doubts[0].text


def test_a_steady_drift_is_no_mixture() -> None:
    """A machine that warms up moves through its features without standing anywhere."""
    features = 0.3 * np.random.default_rng(0).standard_normal((400, 20))
    features[:, 0] += np.linspace(0, 10, 400)
    assert mixture_doubts(features.astype(np.float32), ["a.wav"] * 400) == []


def test_held_out_data_far_from_training_are_named() -> None:
    """All of it far, or one stretch that stands out; scores like those of training are neither."""
    usual = np.random.default_rng(0).uniform(9, 11, 100)
    assert codes(held_out_doubts(usual, [("a", 5 * usual)])) == ["held-out-far"]
    (doubt,) = held_out_doubts(usual, [("a", usual), ("b", usual), ("cough.wav", 8 * usual[:20])])
    assert doubt.code == "held-out-stands-out"
    assert "cough.wav (7.9 times" in doubt.text
    assert held_out_doubts(usual, [("a", 1.2 * usual)]) == []


def calibration(*, extrapolates: bool, upper: float) -> Calibration:
    return Calibration(
        threshold=4.0, false_alarms_per_day=1.0, episodes_per_day_upper=upper, confidence=0.95, hours=2.0, windows=7200,
        extrapolates=extrapolates, method="fitted tail", usual_score=1.0,
    )  # fmt: skip


def test_a_threshold_that_must_extrapolate_says_what_would_do() -> None:
    """Two hours cannot promise one alarm a day: three days without an alarm could (Poisson, 95 %)."""
    doubts = calibration_doubts(calibration(extrapolates=True, upper=36.0))
    assert codes(doubts) == ["threshold-extrapolates", "rate-not-promised"]
    assert "about 3.0 days" in doubts[1].text
    assert calibration_doubts(calibration(extrapolates=False, upper=0.9)) == []


def test_early_stopping_would_have_ended_after_its_patience() -> None:
    """The lowest held-out score is at epoch 2; with a patience of 3 it ends after epoch 5 and misses a later low."""
    history = metrics(*[1.0] * 8, held_out=[5, 3, 4, 4, 4, 4, 4, 1])
    stop = early_stop(history, patience=3)
    assert stop is not None
    assert (stop.best_epoch, stop.stop_epoch, stop.last_score) == (2, 5, 1)
    assert early_stop(metrics(1.0, 2.0)) is None
