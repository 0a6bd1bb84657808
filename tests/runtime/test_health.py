"""The judge of a source's state."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from dasvdd_runtime.health import LossMeter, SilentRun, SourceHealth, State, has_silent_edge
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

RATE_HZ = 1000.0


def noise(seconds: float, *, amplitude: float = 0.1, channels: int = 1) -> NDArray[np.float32]:
    random = np.random.default_rng(1)
    shape = (round(seconds * RATE_HZ), channels)
    return (amplitude * random.uniform(-1, 1, shape)).astype(np.float32)


def zeros(seconds: float) -> NDArray[np.float32]:
    return np.zeros((round(seconds * RATE_HZ), 1), np.float32)


def audio_health() -> SourceHealth:
    return SourceHealth(kind="audio", sample_rate_hz=RATE_HZ, silent_seconds=2.0, stall_seconds=5.0)


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
    health = SourceHealth(kind="sensor", sample_rate_hz=RATE_HZ, silent_seconds=2.0, stall_seconds=5.0)
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
    health = SourceHealth(kind="sensor", sample_rate_hz=1 / 60, silent_seconds=600.0, stall_seconds=5.0)
    health.samples(np.ones((1, 1), np.float32))
    assert health.waiting(61.0) is None
    assert health.waiting(181.0) is not None


@given(
    values=st.lists(st.sampled_from([0.0, 5e-6, 0.5]), min_size=1, max_size=60),
    cuts=st.lists(st.integers(1, 59), max_size=6),
)
def test_the_silent_run_of_sensors_does_not_depend_on_blocks(values: list[float], cuts: list[int]) -> None:
    """Any blocks give the run that counting backwards sample by sample gives."""
    samples = np.array(values, np.float32)[:, None]
    run = SilentRun("sensor")
    for block in np.split(samples, sorted({cut for cut in cuts if cut < len(values)})):
        if len(block):
            run.add(block)
    expected = next((i for i, value in enumerate(reversed(values)) if value != values[-1]), len(values))
    assert run.samples == expected


@pytest.mark.parametrize(
    ("pieces", "silent"),
    [
        ([noise(2)], False),
        ([noise(1), zeros(1)], True),
        ([zeros(0.3), noise(1)], True),
        ([noise(1), zeros(0.2)], False),
        ([noise(1), zeros(0.5), noise(1)], False),
        ([zeros(0.1)], True),
        ([noise(0.1)], False),
    ],
)
def test_windows_cut_by_silence_are_recognised(pieces: list[NDArray[np.float32]], silent: bool) -> None:
    """A window that begins or ends with a quarter of a second of silence caught a source as it came or went."""
    assert has_silent_edge(np.concatenate(pieces), sample_rate_hz=RATE_HZ) is silent


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


def test_a_device_that_was_never_there_lost_nothing() -> None:
    """Retries before the first sample are no loss: the stream begins with its first sample."""
    meter = LossMeter(RATE_HZ)
    meter.reopened()
    assert feed(meter, steady(1000, 30)) == 0
