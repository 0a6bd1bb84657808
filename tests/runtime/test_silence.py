"""Silence in a stream, over blocks and at the edges of windows."""

from __future__ import annotations

import numpy as np
import pytest
from dasvdd_runtime.condition.silence import SilentRun, has_silent_edge
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


def test_one_dead_channel_of_audio_is_silence_and_one_resting_sensor_is_not() -> None:
    """A microphone that carries nothing among live ones is dead; a sensor that rests may be real."""
    samples = noise(1, channels=3)
    samples[400:, 1] = 0
    audio, sensor = SilentRun("audio"), SilentRun("sensor")
    for block in np.split(samples, [100, 450, 777]):
        audio.add(block)
        sensor.add(block)
    assert (audio.samples, audio.most_silent_channel) == (600, 1)
    assert sensor.samples == 1
    assert has_silent_edge(samples, sample_rate_hz=RATE_HZ)
    assert not has_silent_edge(samples[:, [0, 2]], sample_rate_hz=RATE_HZ)
