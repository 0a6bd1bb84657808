"""calibrate --from: a faulty recording among healthy ones is refused, ordinary variation is not."""

from __future__ import annotations

import math

import numpy as np
import pytest
from dasvdd_runtime.errors import DataError
from dasvdd_runtime.thresholds.recordings_apart import refuse_apart
from numpy.typing import NDArray
from scipy.signal import lfilter

HOP_SECONDS = 0.5


def machine(
    recordings: int,
    *,
    seed: int,
    minutes: float = 30.0,
    sigma: float = 0.3,
    correlation_seconds: float = 20.0,
    between: float = 0.0,
) -> dict[str, NDArray[np.float64]]:
    """Scores of a healthy machine: exp of a first-order autoregression; `between`: sd of the recordings' levels."""
    random = np.random.default_rng(seed)
    pole = math.exp(-HOP_SECONDS / correlation_seconds)
    windows = round(60 * minutes / HOP_SECONDS)
    white = random.standard_normal((recordings, windows + 1000))
    series = sigma * lfilter([math.sqrt(1 - pole**2)], [1, -pole], white)[:, 1000:]
    levels = between * random.standard_normal((recordings, 1))
    return {f"{number}.wav": np.exp(row) for number, row in enumerate(series + levels)}


def is_refused(scores: dict[str, NDArray[np.float64]]) -> bool:
    try:
        refuse_apart(scores)
    except DataError:
        return True
    return False


@pytest.mark.parametrize("recordings", [2, 3, 4, 6, 15])
@pytest.mark.parametrize(
    "variation",
    [
        {},
        {"between": 0.3},
        {"sigma": 0.05, "between": 0.1},
        {"sigma": 0.05, "correlation_seconds": 300.0},
        {"sigma": 0.6, "minutes": 5.0},
    ],
    ids=["one level", "levels that differ", "narrow, levels that differ", "slow", "wide, short"],
)
def test_healthy_machines_are_not_refused(recordings: int, variation: dict[str, float]) -> None:
    """Of 40 healthy machines of each sort, at most one is refused."""
    assert sum(is_refused(machine(recordings, seed=seed, **variation)) for seed in range(40)) <= 1


@pytest.mark.parametrize("recordings", [2, 3, 6, 15])
@pytest.mark.parametrize(("sigma", "factor"), [(0.05, 3.5), (0.3, 10.0)])
def test_a_faulty_recording_is_refused_by_name(recordings: int, sigma: float, factor: float) -> None:
    """One recording with scores a few times those of the others is named with both numbers, and no other one."""
    for seed in range(20):
        scores = machine(recordings, seed=seed, sigma=sigma)
        scores["1.wav"] = factor * scores["1.wav"]
        with pytest.raises(DataError) as refused:
            refuse_apart(scores)
        words = str(refused.value)
        assert words.count(".wav") == 1
        assert f"1.wav: its scores lie far above those of the other {recordings - 1} recording" in words
        assert f"{np.quantile(scores['1.wav'], 0.95):.3g}" in words
        others = [np.quantile(series, 0.95) for name, series in scores.items() if name != "1.wav"]
        assert np.exp(np.median(np.log(others))) == pytest.approx(
            float(words.split("the others' ")[1].split(",")[0]), rel=0.01
        )


def test_a_second_faulty_recording_does_not_hide_the_first() -> None:
    """Two faulty ones of eight are both named."""
    scores = machine(8, seed=1)
    for name in ("3.wav", "6.wav"):
        scores[name] = 10 * scores[name]
    with pytest.raises(DataError) as refused:
        refuse_apart(scores)
    assert "3.wav" in str(refused.value) and "6.wav" in str(refused.value)
    assert str(refused.value).count(".wav") == 2


def test_a_fault_in_a_tenth_of_a_recording_shows_and_a_transient_does_not() -> None:
    """What fills 10 % of one recording is refused; 1 % of it, a door that slams, is what a threshold is there for."""
    scores = machine(6, seed=2, sigma=0.1)
    healthy = scores["0.wav"].copy()
    scores["0.wav"][-len(healthy) // 100 :] *= 20
    assert not is_refused(scores)
    scores["0.wav"][-len(healthy) // 10 :] *= 20
    assert is_refused(scores)


def test_a_quiet_recording_is_no_fault() -> None:
    """What lies far below the others raises no threshold."""
    scores = machine(6, seed=3)
    scores["0.wav"] = 0.01 * scores["0.wav"]
    assert not is_refused(scores)


def test_what_cannot_be_compared_is_not_refused() -> None:
    """None, one recording, recordings without a score, and scores of zero."""
    one = machine(1, seed=4)
    zeros = {"a.wav": np.zeros(20), "b.wav": np.zeros(20)}
    for scores in ({}, one, one | {"empty.wav": np.empty(0)}, zeros):
        assert not is_refused(scores)
