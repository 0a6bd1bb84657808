"""Every warning and refusal of a finished training, each from figures that must cause it and figures that must not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from dasvdd_runtime.calibration import Calibration
from dasvdd_runtime.detector import DecisionSettings
from dasvdd_runtime.errors import EXIT_DATA, DataError
from dasvdd_runtime.thresholds.promises import hours_to_count
from dasvdd_runtime.words import count, long_duration, rate
from dasvdd_train.data_diagnosis import (
    amount_doubts,
    calibration_doubts,
    channel_doubts,
    held_out_doubts,
    mixture_doubts,
    share_doubts,
)
from dasvdd_train.diagnosis import LatentFigures, refuse_diverged, training_doubts
from dasvdd_train.evaluation import ScoredStream, evaluate
from dasvdd_train.metrics import EpochMetrics, early_stop
from numpy.typing import NDArray

HEALTHY = LatentFigures(relative_variance=0.1, latent_share=0.1, explained=0.5)
EXTRAPOLATED = Calibration(
    threshold=4.0,
    false_alarms_per_day=1.0,
    episodes_per_day_upper=2.11e4,
    confidence=0.95,
    hours=12.3 / 3600,
    windows=24,
    extrapolates=True,
    method="fitted tail",
    usual_score=1.0,
)


def metrics(*losses: float, held_out: list[float] | None = None) -> list[EpochMetrics]:
    """Epochs with these losses, all of it reconstruction error."""
    return [
        EpochMetrics(i + 1, loss, 0.0, 1.0, 0.0, held_out[i] if held_out else None) for i, loss in enumerate(losses)
    ]


@pytest.mark.parametrize(
    ("history", "latent", "code", "words", "serious"),
    [
        (metrics(10, 9.9), HEALTHY, "loss-not-falling", "did not fall: 10 in the first epoch, 9.9", True),
        (metrics(10, 30), HEALTHY, "loss-not-falling", "the learning rate is too high", True),
        (metrics(10, 1), LatentFigures(1e-9, 0.1, 0.5), "collapsed", "the same code", True),
        (metrics(10, 1), LatentFigures(0.1, 1e-6, 0.5), "latent-term-dead", "1.0e-06 of the score", False),
        (metrics(10, 1), LatentFigures(0.1, 0.1, 0.001), "nothing-reconstructed", "0.1% of the data's variance", True),
    ],
)
def test_doubtful_trainings_are_warned_of(
    history: list[EpochMetrics], latent: LatentFigures, code: str, words: str, serious: bool
) -> None:
    """Each kind of doubtful training gets its one warning, serious where the model must not be used."""
    (found,) = training_doubts(history, latent, steps=10_000)
    assert (found.code, words in found.text, found.serious) == (code, True, serious), found.text


def test_good_training_gets_no_warning() -> None:
    """Nothing to say about a healthy run."""
    assert training_doubts(metrics(10, 1), HEALTHY, steps=10_000) == []


@pytest.mark.parametrize(
    ("history", "steps", "cause", "not_cause"),
    [
        (
            metrics(10, 8, 7),
            30,
            "30 gradient steps in 3 epochs, and needs at least 500",
            "gamma",
        ),
        (metrics(*np.linspace(10, 5, 50)), 5000, "still falling after 50 epochs", "gamma"),
        (metrics(10, *[5.0] * 49), 5000, "a tenth of it, --set training.gamma=0.1.", "epochs: train"),
        (metrics(10, 2, 50, 9, 9), 5000, "jumped from 2 to 50", "gamma"),
    ],
)
def test_an_autoencoder_that_learned_nothing_is_told_why(
    history: list[EpochMetrics], steps: int, cause: str, not_cause: str
) -> None:
    """Too few steps, a loss still falling and a high learning rate are not blamed on gamma."""
    (found,) = training_doubts(history, LatentFigures(0.1, 0.1, 0.0), steps=steps)
    assert cause in found.text
    assert not_cause not in found.text


@pytest.mark.parametrize(
    ("faulty", "serious", "words"),
    [
        (None, True, "would show whether it finds faults"),
        (1.0, True, "do not tell the labelled faults either (AUC 0.500)"),
        (9.0, False, "All the same its scores tell the labelled faults (AUC 1.000)"),
    ],
)
def test_what_reconstructs_nothing_is_judged_by_the_faults_that_it_tells(
    faulty: float | None, serious: bool, words: str
) -> None:
    """A distance from the mean may find faults: where labelled ones are told, it is not serious."""
    evaluation = None
    if faulty is not None:
        pair = (("test_normal", 1.0), ("test_anomalous", faulty))
        streams = [ScoredStream("a", role, "", "", np.arange(9.0), np.full(9, score)) for role, score in pair]
        evaluation = evaluate(
            streams, calibration=None, decision=DecisionSettings(), window_seconds=1.0, window_hop_seconds=1.0
        )
    nothing = LatentFigures(0.1, 0.1, 0.0)
    (found,) = training_doubts(metrics(10, *[5.0] * 49), nothing, steps=5000, evaluation=evaluation)
    assert (found.serious, words in found.text) == (serious, True)


def test_diverged_training_is_refused_although_the_loss_is_finite() -> None:
    """A reconstruction 41 times as wrong as the mean is an error of exit code 65, with the learning rate to lower."""
    with pytest.raises(DataError, match=r"diverged.*41 times as wrong.*learning_rate \(now 10,") as caught:
        refuse_diverged(metrics(1e9, 1e8), replace(HEALTHY, explained=-40.0), learning_rate=10.0)
    assert caught.value.exit_code == EXIT_DATA
    refuse_diverged(metrics(10, 9), replace(HEALTHY, explained=-0.1), learning_rate=1e-3)


@pytest.mark.parametrize(
    ("seconds", "vectors", "expected"),
    [(600, 10_000, []), (57, 1700, [False]), (12, 375, [True]), (600, 390, [True])],
)
def test_little_data_is_serious_only_where_it_is_far_too_little(
    seconds: float, vectors: int, expected: list[bool]
) -> None:
    """57 s where 60 s are wanted is a warning; 12 s, or fewer than two batches, is a serious one."""
    found = amount_doubts(vectors=vectors, batch_rows=200, training_seconds=seconds)
    assert [doubt.serious for doubt in found] == expected


@pytest.mark.parametrize(("seconds", "vectors", "least"), [(57, 1700, "1 min"), (159, 317, "3 min 21 s")])
def test_little_data_says_how_long_to_record(seconds: float, vectors: int, least: str) -> None:
    """A minute, and as long as fills two batches where vectors are few: never less than what was recorded."""
    (found,) = amount_doubts(vectors=vectors, batch_rows=200, training_seconds=seconds)
    assert f"Record at least {least}, " in found.text


def channels(count: int, rows: int = 5000) -> NDArray[np.float32]:
    """Independent noise, [rows, count]."""
    return np.random.default_rng(0).standard_normal((rows, count)).astype(np.float32)


def test_constant_channels_are_named() -> None:
    """At most five names are listed."""
    (one,) = channel_doubts(["x"], channels(1), ["x"])
    assert "1 channel, x." in one.text
    (many,) = channel_doubts([f"{i} Hz" for i in range(9)], channels(1), ["x"], noun="band")
    assert "9 bands, 0 Hz, 1 Hz, 2 Hz, 3 Hz, 4 Hz and more" in many.text


@pytest.mark.parametrize("copy", [lambda x: x, lambda x: -9.81 * x + 3])
def test_a_channel_that_is_there_twice_is_named(copy) -> None:  # type: ignore[no-untyped-def]  # a lambda per case
    """A copy, also one in another unit and with another zero, is named with its original."""
    samples = channels(3)
    samples[:, 2] = copy(samples[:, 0])
    (found,) = channel_doubts([], samples, ["x", "y", "z"])
    assert found.code == "duplicate-channels"
    assert "x and z" in found.text


def test_different_channels_are_not_called_duplicates() -> None:
    """Independent channels, two that are merely alike (correlation 0.995), and two dead ones get no such warning."""
    samples = channels(4)
    samples[:, 1] = samples[:, 0] + 0.1 * samples[:, 1]
    samples[:, 2:] = 1.0
    assert channel_doubts([], samples, list("abcd")) == []


@pytest.mark.parametrize(
    ("seconds", "dominates"),
    [
        ([100.0], False),
        ([60.0, 40.0], False),
        ([90.0, 10.0], True),
        ([50.0, 25.0, 25.0], False),
        ([600.0] + [4.0] * 100, True),
        ([10.0] * 100, False),
    ],
)
def test_a_recording_that_dominates_is_named(seconds: list[float], dominates: bool) -> None:
    """Nearer to all of the data than to its fair share is too much; a lone recording dominates nobody."""
    found = share_doubts({f"{i}.wav": value for i, value in enumerate(seconds)})
    assert bool(found) == dominates
    assert all("0.wav" in doubt.text for doubt in found)


def clouds(separation: float, *, kinds: int = 2, bands: int = 20) -> NDArray[np.float32]:
    """600 windows around `kinds` centers that lie `separation` standard deviations apart."""
    rng = np.random.default_rng(1)
    place = np.repeat(np.arange(kinds), 600 // kinds)[:, None] * separation
    direction = np.ones(bands) / np.sqrt(bands)
    return (rng.standard_normal((len(place), bands)) + place * direction).astype(np.float32)


@pytest.mark.parametrize("kinds", [2, 3])
def test_separate_ways_of_running_are_suspected(kinds: int) -> None:
    """Two or three clouds far apart are counted, with a recording named for each."""
    names = [f"{i * kinds // 600}.wav" for i in range(600)]
    (found,) = mixture_doubts(clouds(25.0, kinds=kinds), names)
    assert f"{kinds} separate ways of running" in found.text
    assert "or a part of them is faulty: listen to it first" in found.text
    assert all(f"{i}.wav" in found.text for i in range(kinds))


def test_one_way_of_running_is_no_mixture() -> None:
    """One cloud, a steady drift, a slow swing, a few odd windows and a handful of windows are no operating points."""
    rng = np.random.default_rng(2)
    noise = 0.05 * rng.standard_normal((600, 20))
    time = np.linspace(0, 1, 600)[:, None]
    odd = noise.copy()
    odd[:6] += 50
    cases = [clouds(0.0), noise + time, noise + np.sin(40 * time), odd, clouds(25.0)[::30]]
    for features in cases:
        assert mixture_doubts(np.asarray(features, np.float32), ["a.wav"] * len(features)) == []


def test_held_out_data_far_from_training_are_warned_of() -> None:
    """A held-out median of four times training's is far; the same level is not; one odd stretch is named."""
    rng = np.random.default_rng(3)
    training = rng.uniform(9, 11, 500)
    usual = [(f"{i}.wav", rng.uniform(9, 12, 100)) for i in range(5)]
    assert held_out_doubts(training, usual) == []
    (far,) = held_out_doubts(training, [(name, 4 * scores) for name, scores in usual])
    assert far.code == "held-out-far"
    (odd,) = held_out_doubts(training, [*usual, ("door.wav", np.full(100, 60.0)), ("short.wav", np.empty(0))])
    assert odd.code == "held-out-stands-out"
    assert "door.wav" in odd.text
    assert "1 held-out stretch unlike" in odd.text


def test_a_threshold_that_extrapolates_promises_no_rate() -> None:
    """12.3 s of held-out running: the fitted tail is said, and the rate that cannot be promised, in readable units."""
    extrapolates, unproven = calibration_doubts(EXTRAPOLATED)
    assert (extrapolates.code, unproven.code) == ("threshold-extrapolates", "rate-not-promised")
    assert "12.3 s" in extrapolates.text
    assert "one every 4.09 s" in unproven.text  # 86 400 s / 21 100
    assert "3.0 days" in unproven.text
    assert not extrapolates.serious
    assert calibration_doubts(replace(EXTRAPOLATED, extrapolates=False)) == []
    assert [d.code for d in calibration_doubts(replace(EXTRAPOLATED, episodes_per_day_upper=3.0))] == [
        "threshold-extrapolates"
    ]


def test_hours_to_count_are_those_of_a_poisson_bound() -> None:
    """No event in t days bounds the rate below 1 a day with 95 % confidence when exp(-t) = 0.05: t = 2.996 days."""
    assert hours_to_count(EXTRAPOLATED) == pytest.approx(2.9957 * 24, rel=1e-4)


@pytest.mark.parametrize(
    ("per_day", "words"),
    [
        (21100.0, "one every 4.09 s"),
        (96.0, "one every 15 min"),
        (3.0, "3 a day"),
        (1.0, "one a day"),
        (0.25, "one in 4.0 days"),
        (0.001, "one in 2.7 years"),
        (0.0, "none"),
    ],
)
def test_rates_are_readable(per_day: float, words: str) -> None:
    """No rate is printed in powers of ten."""
    assert rate(per_day) == words


def test_counts_and_long_durations_are_readable() -> None:
    """One recording is no 'recordings', a month's windows no 2.592e+06, and three days are no 259 200 s."""
    assert [count(1, "recording"), count(2, "recording"), count(0.5, "alarm"), count(2_592_000, "window")] == [
        "1 recording", "2 recordings", "0.5 alarms", "2592000 windows",
    ]  # fmt: skip
    assert [long_duration(12.3), long_duration(90), long_duration(259_200)] == ["12.3 s", "1 min 30 s", "3.0 days"]


def test_early_stopping_is_found_on_the_held_out_curve() -> None:
    """Lowest after epoch 3 and never again within 20 epochs: it stops after epoch 23, and does not see a later low."""
    curve = [5.0, 4.0, 3.0, *[3.5] * 25, 1.0]
    found = early_stop(metrics(*curve, held_out=curve))
    assert found is not None
    assert (found.best_epoch, found.best_score, found.stop_epoch, found.last_score) == (3, 3.0, 23, 1.0)


def test_early_stopping_that_would_not_have_stopped() -> None:
    """A curve that falls to its end has its best there; without held-out scores there is nothing to say."""
    falling = metrics(*range(50, 0, -1), held_out=[float(i) for i in range(50, 0, -1)])
    found = early_stop(falling)
    assert found is not None
    assert (found.best_epoch, found.stop_epoch) == (50, None)
    assert early_stop(metrics(3, 2, 1)) is None
