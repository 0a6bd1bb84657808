"""The judge of a source's state."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from dasvdd_runtime.condition.health import SourceHealth, State
from numpy.typing import NDArray

RATE_HZ = 1000.0


def noise(seconds: float, *, amplitude: float = 0.1, channels: int = 1) -> NDArray[np.float32]:
    random = np.random.default_rng(1)
    shape = (round(seconds * RATE_HZ), channels)
    return (amplitude * random.uniform(-1, 1, shape)).astype(np.float32)


def zeros(seconds: float) -> NDArray[np.float32]:
    return np.zeros((round(seconds * RATE_HZ), 1), np.float32)


def audio_health() -> SourceHealth:
    return SourceHealth(kind="audio", used_channels=[0], sample_rate_hz=RATE_HZ, silent_seconds=2.0, stall_seconds=5.0)


def states(health: SourceHealth, blocks: Sequence[NDArray[np.float32]]) -> list[State]:
    """The states that `health` changed to."""
    changes = [health.samples(block) for block in blocks]
    return [change.state for change in changes if change is not None]


def test_a_machine_is_ok_until_it_falls_silent() -> None:
    """Silence is a state once it has lasted silent_seconds, and sound ends it at once."""
    health = audio_health()
    assert states(health, [noise(1)] * 3) == [State.OK]
    assert states(health, [zeros(1)]) == []
    assert states(health, [zeros(1)]) == [State.SILENT]
    assert states(health, [zeros(1), noise(0.1)]) == [State.OK]


def test_sixteen_bit_quantisation_noise_is_not_silence() -> None:
    """One least significant bit of movement, at -98 dBFS, is a live microphone in a quiet room."""
    health = audio_health()
    assert states(health, [noise(10, amplitude=1) // 1 / 32768]) == [State.OK]


def test_a_constant_offset_is_silence() -> None:
    """A dead input that rests at another value than 0 is silent too."""
    health = audio_health()
    assert states(health, [zeros(3) + 0.25]) == [State.SILENT]


def test_sensors_are_silent_only_if_no_channel_moves() -> None:
    """One stuck channel of two may be real; all of them stuck is a dead sensor, and tiny changes are life."""
    health = SourceHealth(
        kind="sensor", used_channels=[0, 1], sample_rate_hz=RATE_HZ, silent_seconds=2.0, stall_seconds=5.0
    )
    moving = noise(3, amplitude=1e-9, channels=2)
    moving[:, 0] = 20.0
    assert states(health, [moving]) == [State.OK]
    assert states(health, [np.full((3000, 2), 20.0, np.float32)]) == [State.SILENT]


def test_clipping_is_flagged_and_passes() -> None:
    """More than 0.1 % of a second at full scale is CLIPPED, until five seconds without."""
    health = audio_health()
    loud = noise(1)
    loud[:20] = 1.0
    assert states(health, [noise(1), loud]) == [State.OK, State.CLIPPED]
    assert states(health, [noise(1)] * 4) == []
    assert states(health, [noise(1)] * 2) == [State.OK]


def test_a_single_full_scale_sample_is_not_clipping() -> None:
    """One sample of 1000 is at the limit, not above it."""
    health = audio_health()
    click = noise(1)
    click[500] = -1.0
    assert states(health, [click]) == [State.OK]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_one_value_that_is_not_finite_is_a_fault(bad: float) -> None:
    """NaN is never normal: FAULT at once, and for five seconds after, so that it does not chatter."""
    health = audio_health()
    broken = noise(1)
    broken[3] = bad
    assert states(health, [noise(1), broken, noise(1), broken, noise(1)]) == [State.OK, State.FAULT]
    assert states(health, [noise(1)] * 3) == []
    assert states(health, [noise(1)] * 2) == [State.OK]


def test_fault_outranks_silence() -> None:
    """A source that sends NaN among zeros is at fault, whatever else it is."""
    health = audio_health()
    broken = zeros(3)
    broken[-1] = np.nan
    assert states(health, [broken, zeros(1)]) == [State.FAULT]


def test_stalled_then_missing_then_back() -> None:
    """Waiting makes STALLED, a lost device MISSING (and waiting then says nothing more), and samples end both."""
    health = audio_health()
    health.samples(noise(1))
    assert health.waiting(4.9) is None
    change = health.waiting(5.0)
    assert change is not None
    assert (change.previous, change.state) == (State.OK, State.STALLED)
    assert "5.0 s" in change.reason
    assert health.waiting(6.0) is None
    change = health.missing("unplugged")
    assert change is not None
    assert (change.previous, change.state, change.reason) == (State.STALLED, State.MISSING, "unplugged")
    assert health.waiting(100.0) is None
    assert states(health, [noise(0.1)]) == [State.OK]


def test_slow_sensors_are_not_stalled_between_two_rows() -> None:
    """At a row a minute, five seconds without one is no news."""
    health = SourceHealth(
        kind="sensor", used_channels=[0], sample_rate_hz=1 / 60, silent_seconds=600.0, stall_seconds=5.0
    )
    health.samples(np.ones((1, 1), np.float32))
    assert health.waiting(61.0) is None
    assert health.waiting(181.0) is not None


def test_rows_slower_than_silent_seconds_are_silent_once_three_are_alike() -> None:
    """At a row a minute each row that differs is life, though it comes long after silent_seconds."""
    health = SourceHealth(
        kind="sensor", used_channels=[0], sample_rate_hz=1 / 60, silent_seconds=10.0, stall_seconds=5.0
    )
    assert states(health, [np.full((1, 1), value, np.float32) for value in (1, 2, 3, 3)]) == [State.OK]
    assert states(health, [np.full((1, 1), 3, np.float32)]) == [State.SILENT]


def test_only_the_channels_that_the_model_uses_are_judged() -> None:
    """A dead or clipped channel is a state where the model listens to it, and no news where it does not."""
    dead_beside_clipped = np.concatenate([zeros(3), np.ones((3000, 1), np.float32)], axis=1)
    dead_beside_clipped[::2, 1] = -1.0

    def state_of(used_channels: list[int]) -> State:
        health = SourceHealth(
            kind="audio", used_channels=used_channels, sample_rate_hz=RATE_HZ, silent_seconds=2.0, stall_seconds=5.0
        )
        health.samples(dead_beside_clipped)
        return health.state

    assert state_of([0]) is State.SILENT
    assert state_of([1]) is State.CLIPPED
    assert state_of([0, 1]) is State.SILENT


def test_the_silent_channel_is_named() -> None:
    """Of several used channels, the reason says which one is dead."""
    health = SourceHealth(
        kind="audio", used_channels=[1, 3], sample_rate_hz=RATE_HZ, silent_seconds=2.0, stall_seconds=5.0
    )
    samples = noise(3, channels=4)
    samples[:, 3] = 0
    change = health.samples(samples)
    assert change is not None
    assert change.reason.startswith("channel 3: level at or below -100 dBFS for 3.0 s")


def test_a_value_that_is_not_finite_counts_in_any_channel() -> None:
    """NaN in a channel that the model does not use still makes the whole window's score NaN, so it is a fault."""
    health = audio_health()
    broken = noise(1, channels=2)
    broken[5, 1] = np.nan
    assert states(health, [broken]) == [State.FAULT]
