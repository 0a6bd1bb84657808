"""What the page's live spectrogram is made of: the newest second of each source as levels a band."""

from __future__ import annotations

import base64
from dataclasses import replace
from itertools import pairwise

import numpy as np
import page_scenes as scenes
import pytest
import scipy.signal
from dasvdd_runtime.condition.health import State
from dasvdd_runtime.condition.newest_second import NewestSecond
from dasvdd_runtime.endpoint.history import History
from dasvdd_runtime.endpoint.live_spectrum import LOWEST_DB, UNKNOWN, live_edges_hz, live_levels
from dasvdd_runtime.running.snapshot import Heard
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

RATE_HZ = 16000


def noise_and_tone(rate_hz: int, tone_hz: float) -> NDArray[np.float32]:
    """A second of a tone at -20 dB of full scale in noise."""
    times = np.arange(rate_hz) / rate_hz
    samples = 0.1 * np.sin(2 * np.pi * tone_hz * times) + np.random.default_rng(0).normal(0, 0.01, rate_hz)
    return samples.astype(np.float32)[:, None]


@pytest.mark.parametrize(("rate_hz", "tone_hz"), [(16000, 2000.0), (44100, 300.0), (200, 31.0)])
def test_levels_are_those_of_welch(rate_hz: int, tone_hz: float) -> None:
    """Each band has the power that scipy's Welch finds between its limits, within what a second of noise allows."""
    samples = noise_and_tone(rate_hz, tone_hz)
    heard = Heard((samples,), rate_hz)
    edges, levels = live_edges_hz(heard), live_levels(heard).astype(np.float64) + LOWEST_DB - 1
    nperseg = rate_hz if rate_hz < 4000 else rate_hz // 8
    frequency_hz, density = scipy.signal.welch(samples[:, 0], rate_hz, nperseg=nperseg, detrend=False)
    for (low, high), level in zip(pairwise(edges), levels, strict=True):
        inside = (frequency_hz >= low) & (frequency_hz < high)
        if inside.sum() < 6:
            continue
        power = 2 * density[inside].sum() * frequency_hz[1]
        assert level == pytest.approx(10 * np.log10(power), abs=1.5)
    tone = np.searchsorted(edges, tone_hz) - 1
    assert levels[tone] == pytest.approx(-20, abs=1) and levels[tone] == levels.max()


def test_a_level_is_never_unknown_and_nan_always_is() -> None:
    """Digital silence is the lowest level, what is louder than a byte can say the highest; NaN says nothing."""
    for value, byte in ((0.0, 1), (np.nan, UNKNOWN)):
        levels = live_levels(Heard((np.full((RATE_HZ, 1), value, np.float32),), RATE_HZ))
        assert set(levels.tolist()) == {byte}
    loud = 1e9 * noise_and_tone(RATE_HZ, 2000.0)
    assert live_levels(Heard((loud,), RATE_HZ)).max() == 255


def test_of_several_channels_the_loudest_is_shown() -> None:
    """A tone in the second channel stands as if it were alone."""
    tone = noise_and_tone(RATE_HZ, 2000.0)
    both = np.concatenate([0.01 * tone, tone], axis=1)
    assert live_levels(Heard((both,), RATE_HZ)).tolist() == live_levels(Heard((tone,), RATE_HZ)).tolist()


def test_rows_too_slow_for_a_spectrum_have_none() -> None:
    """A temperature a second has no bands, and less than a second of sound has no levels."""
    slow = Heard((np.zeros((10, 1), np.float32),), 1.0)
    assert live_edges_hz(slow) == [] and len(live_levels(slow)) == 0
    assert len(live_levels(Heard((np.zeros((RATE_HZ - 1, 1), np.float32),), RATE_HZ))) == 0


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 40), max_size=30), st.integers(1, 20))
def test_the_newest_second_is_the_end_of_the_stream(lengths: list[int], rate_hz: int) -> None:
    """Whatever the blocks: once a second has come it is there, and no block more than it takes is held."""
    newest = NewestSecond(rate_hz)
    stream = np.arange(sum(lengths), dtype=np.float32)[:, None]
    place = 0
    for length in lengths:
        newest.add(stream[place : place + length])
        place += length
        held = np.concatenate(newest.blocks)
        assert held.tolist() == stream[place - len(held) : place].tolist()
        assert len(held) >= min(place, rate_hz) and len(held) - len(newest.blocks[0]) < rate_hz


def test_the_picture_is_blank_where_nothing_arrived() -> None:
    """A source that is missing, stalled, starting, at its end or has given nothing for seconds shows no old sound."""
    well = scenes.listening("a", 0.0)
    sources = [well]
    now = [0.0]
    history = History(lambda: sources, clock=lambda: now[0])
    for sources[0] in (
        well,
        replace(well, state=State.MISSING),
        replace(well, state=State.STALLED),
        replace(well, state=State.STARTING),
        replace(well, ended=True),
        replace(well, waiting_seconds=3.0),
        replace(well, state=State.IDLE),
        replace(well, state=State.SILENT),
    ):
        history.look()
        now[0] += 1.0
    points = history.after(-1)["sources"]["a"]
    assert [bool(text) for text in points["heard"]] == [True] + 5 * [False] + [True, True]
    assert well.heard is not None
    levels = np.frombuffer(base64.b64decode(points["heard"][0]), np.uint8)
    assert levels.tolist() == live_levels(well.heard).tolist()
    assert len(points["edges_hz"]) == len(levels) + 1
