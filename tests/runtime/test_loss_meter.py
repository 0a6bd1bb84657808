"""Lost samples, from their count against a clock."""

from __future__ import annotations

import numpy as np
import pytest
from dasvdd_runtime.condition.loss_meter import LossMeter

RATE_HZ = 1000.0


def feed(meter: LossMeter, arrivals: list[tuple[float, int]]) -> int:
    """Total samples that `meter` reports lost over (time in seconds, samples) arrivals."""
    return sum(meter.arrived(seconds, samples) for seconds, samples in arrivals)


def steady(start: float, seconds: float, *, rate_hz: float = RATE_HZ, jitter: float = 0.0) -> list[tuple[float, int]]:
    """Blocks of 100 samples from `start`, each up to `jitter` seconds late."""
    random = np.random.default_rng(2)
    count = round(seconds * rate_hz / 100)
    return [(start + (i + 1) * 100 / rate_hz + jitter * random.uniform(), 100) for i in range(count)]


def test_late_blocks_are_not_loss() -> None:
    """Blocks that come up to a second late, but all come, lose nothing."""
    assert feed(LossMeter(RATE_HZ), steady(0, 120, jitter=1.0)) == 0


def test_a_drifting_device_clock_is_not_loss() -> None:
    """A sound card 300 ppm slow for two hours is 2 s behind without a sample lost."""
    assert feed(LossMeter(RATE_HZ), steady(0, 7200, rate_hz=RATE_HZ * (1 - 300e-6))) == 0


def test_a_lost_second_is_found() -> None:
    """A second that vanishes without any flag is counted within two stretches, to the jitter's accuracy."""
    meter = LossMeter(RATE_HZ)
    assert feed(meter, steady(0, 30, jitter=0.05)) == 0
    assert feed(meter, steady(31, 11, jitter=0.05)) == pytest.approx(RATE_HZ, rel=0.05)
    assert feed(meter, steady(42, 60, jitter=0.05)) == 0


def test_a_burst_after_a_hold_up_is_not_loss() -> None:
    """Three seconds held back and then delivered at once are late, not lost."""
    meter = LossMeter(RATE_HZ)
    feed(meter, steady(0, 30))
    held = [(33.0, samples) for _, samples in steady(30, 3)]
    assert feed(meter, held + steady(33, 30)) == 0


def test_time_away_is_loss() -> None:
    """Between the last sample and the first after reopening, everything is lost, even in the first stretch."""
    for before_seconds in (2, 30):
        meter = LossMeter(RATE_HZ)
        feed(meter, steady(0, before_seconds))
        meter.reopened()
        assert feed(meter, steady(before_seconds + 60, 30)) == 60 * RATE_HZ


def test_a_device_that_gives_a_block_and_goes_away_again_and_again_is_counted() -> None:
    """Time away is loss also where the device gives a single block each time, from the very first one on."""
    meter = LossMeter(RATE_HZ)
    meter.arrived(0.1, 100)
    for second in (1, 3, 7, 15):
        meter.reopened()
        lost = meter.arrived(second + 0.1, 100)
        assert lost == (second - (second // 2)) * RATE_HZ - 100


def test_a_device_that_was_never_there_lost_nothing() -> None:
    """Retries before the first sample are no loss: the stream begins with its first sample."""
    meter = LossMeter(RATE_HZ)
    meter.reopened()
    assert feed(meter, steady(1000, 30)) == 0


@pytest.mark.parametrize("drift_ppm", [-120.0, 0.0, 45.0])
def test_drift_is_measured_through_jitter(drift_ppm: float) -> None:
    """Ten minutes with 50 ms of jitter give the device's clock to a few ppm."""
    meter = LossMeter(RATE_HZ)
    feed(meter, steady(0, 600, rate_hz=RATE_HZ * (1 + drift_ppm * 1e-6), jitter=0.05))
    assert meter.drift_ppm == pytest.approx(drift_ppm, abs=5)


def test_drift_is_not_stated_before_it_is_known_nor_over_a_loss() -> None:
    """A minute is too short, and the fit begins anew after samples were lost."""
    meter = LossMeter(RATE_HZ)
    feed(meter, steady(0, 60))
    assert meter.drift_ppm is None
    feed(meter, steady(60, 240))
    assert meter.drift_ppm == pytest.approx(0.0, abs=1e-3)
    feed(meter, steady(302, 30))
    assert meter.drift_ppm is None
