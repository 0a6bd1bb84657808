"""Rows at any times -> rows at the model's rate, and what is said to be lost."""

from __future__ import annotations

import math
import threading
import time

import numpy as np
import pytest
from dasvdd_runtime.running.capture import Capture
from dasvdd_runtime.running.message_queue import Samples
from dasvdd_runtime.sources.base import Block
from dasvdd_runtime.sources.row_alignment import SLIP_ROWS, Fill, RowAligner
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

FILLS: list[Fill] = ["hold", "linear"]
RATE_HZ = 10.0


def aligner(fill: Fill = "hold", *, channels: int = 1, max_gap_seconds: float | None = None) -> RowAligner:
    return RowAligner(sample_rate_hz=RATE_HZ, channels=channels, fill=fill, max_gap_seconds=max_gap_seconds)


def values_of(blocks: list[Block]) -> list[list[float]]:
    """The rows of each block, of the first channel, as text can compare them."""
    return [[round(float(value), 4) for value in block.samples[:, 0]] for block in blocks]


def lost_in(blocks: list[Block]) -> int:
    return sum(block.lost or 0 for block in blocks)


@st.composite
def arrivals(draw: st.DrawFn) -> NDArray[np.float64]:
    """Times of rows, from a tenth of the model's step to outages of hundreds of rows, on any part of the axis."""
    steps = draw(st.lists(st.floats(0.01, 0.24) | st.floats(0.26, 40.0), min_size=2, max_size=60))
    return draw(st.floats(0.0, 2e9)) + np.cumsum([0.0, *steps])


@pytest.mark.parametrize("fill", FILLS)
@given(times=arrivals(), taken=st.integers(1, 9))
def test_every_row_of_the_time_that_passed_is_given_or_lost(fill: Fill, times: NDArray[np.float64], taken: int) -> None:
    """Whenever rows are taken in between, given and lost ones together are elapsed time times rate, within one."""
    rows = aligner(fill)
    blocks: list[Block] = []
    for number, seconds in enumerate(times):
        rows.add(seconds, [1.0])
        if number % taken == 0:
            blocks += rows.take()
    end = times[-1]
    for number in range(3):  # so that a gap at the end is followed by a row, which says how much was lost
        end = times[-1] + 0.1 * (number + 1)
        rows.add(end, [1.0])
    blocks += rows.take()
    given_rows = sum(len(block.samples) for block in blocks)
    within = 1.01 + (SLIP_ROWS if fill == "hold" else 0.0)
    assert abs(given_rows + lost_in(blocks) - (end - times[0]) * RATE_HZ) <= within


@pytest.mark.parametrize("fill", FILLS)
@given(times=arrivals())
def test_no_row_is_made_within_a_gap(fill: Fill, times: NDArray[np.float64]) -> None:
    """A row repeats a value that is max_gap old at most, or lies between two values no further apart than that."""
    rows = aligner(fill)
    for seconds in times:
        rows.add(seconds, [seconds - times[0]])  # the value is its own time
    at = 0
    for block in rows.take():
        at += block.lost or 0
        place = (at + np.arange(len(block.samples))) / RATE_HZ
        at += len(block.samples)
        value = block.samples[:, 0].astype(np.float64)
        offsets = times - times[0]
        before = offsets[np.maximum(0, np.searchsorted(offsets, place + 1e-3) - 1)]
        if fill == "hold":
            assert np.all(np.abs(place - value) <= rows.max_gap_seconds + SLIP_ROWS / RATE_HZ + 1e-2)
        else:
            after = offsets[np.minimum(len(offsets) - 1, np.searchsorted(offsets, place - 1e-3))]
            assert np.all(after - before <= rows.max_gap_seconds + 1e-2)
            np.testing.assert_allclose(value, place, atol=1e-3)


@given(
    seed=st.integers(0, 1000),
    frequency_hz=st.floats(0.1, 2.0),
    source_hz=st.floats(11.0, 200.0),
    taken=st.integers(1, 50),
)
def test_a_sine_is_interpolated_as_numpy_does(seed: int, frequency_hz: float, source_hz: float, taken: int) -> None:
    """An irregularly sampled sine, resampled piece by piece, is what numpy.interp gives for the whole of it."""
    random = np.random.default_rng(seed)
    times = np.cumsum(random.uniform(0.2, 1.8, 300) / source_hz)
    values = np.sin(2 * np.pi * frequency_hz * times)
    rows = aligner("linear")
    blocks: list[Block] = []
    for number, (seconds, value) in enumerate(zip(times, values, strict=True)):
        rows.add(seconds, [value])
        if number % taken == 0:
            blocks += rows.take()
    blocks += rows.take()
    found = np.concatenate([block.samples for block in blocks])[:, 0]
    grid = times[0] + np.arange(len(found)) / RATE_HZ
    np.testing.assert_allclose(found, np.interp(grid, times, values), atol=1e-5)
    assert lost_in(blocks) == 0
    assert grid[-1] <= times[-1] < grid[-1] + 1.01 / RATE_HZ


@given(seed=st.integers(0, 1000))
def test_rows_at_the_models_rate_pass_as_they_are(seed: int) -> None:
    """With hold, the default, jitter of just under half a row makes none twice and loses none."""
    jitter = np.random.default_rng(seed).uniform(-0.049, 0.049, 200)
    jitter[0] = 0
    rows = aligner()
    for number in range(200):
        rows.add(1e6 + number / RATE_HZ + jitter[number], [number])
    assert values_of(rows.take()) == [list(range(199))]


@pytest.mark.parametrize("drift", [1e-3, -1e-3])
def test_clocks_that_drift_apart_cost_one_row_for_each_row_of_drift(drift: float) -> None:
    """Not more, also while jitter carries rows to and fro over the middle between two."""
    jitter = np.random.default_rng(1).uniform(-0.02, 0.02, 5000)
    rows = aligner()
    for number in range(5000):
        rows.add(number * (1 + drift) / RATE_HZ + jitter[number], [number])
    steps = np.diff(np.concatenate([block.samples for block in rows.take()])[:, 0])
    assert 4 <= np.count_nonzero(steps != 1) <= 6
    assert set(steps.tolist()) == {1.0, 0.0 if drift > 0 else 2.0}


def test_of_a_faster_source_nothing_bad_is_passed_over() -> None:
    """The last value of each row counts, but a row with a value that is not finite is NaN."""
    rows = aligner()
    for number in range(100):
        rows.add(number / 100, [math.nan if number == 42 else number])
    samples = np.concatenate([block.samples for block in rows.take()])[:, 0]
    assert len(samples) == 10
    assert np.isnan(samples).sum() == 1
    assert np.nanmax(np.abs(samples - 10 * np.arange(10))) <= 5


def test_one_missing_row_is_held_and_two_are_a_gap() -> None:
    """The default: what is missing is repeated for two and a half rows, then lost."""
    rows = aligner()
    for number in (0, 1, 3, 4, 14, 15):
        rows.add(number / RATE_HZ, [number])
    blocks = rows.take()
    assert values_of(blocks) == [[0, 1, 1, 3, 4, 4, 4], [14]]
    assert [block.lost for block in blocks] == [0, 7]


def test_linear_gives_nothing_between_two_sides_of_a_gap() -> None:
    """A straight line needs a value on both sides: of a gap all rows are lost."""
    rows = aligner("linear")
    for number in (0, 1, 3, 4, 14, 15):
        rows.add(number / RATE_HZ, [number])
    blocks = rows.take()
    assert values_of(blocks) == [[0, 1, 2, 3, 4], [14, 15]]
    assert [block.lost for block in blocks] == [0, 9]


@pytest.mark.parametrize("fill", FILLS)
def test_slow_rows_are_filled_as_far_as_they_are_allowed_to_lie_apart(fill: Fill) -> None:
    """A value a second at 10 rows a second: without a longer max_gap all but its surroundings is lost."""
    for max_gap_seconds, lost in ((1.0, False), (None, True)):
        rows = aligner(fill, max_gap_seconds=max_gap_seconds)
        for second in range(5):
            rows.add(second, [second])
        assert (lost_in(rows.take()) > 0) is lost


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_stays_nan(fill: Fill, bad: float) -> None:
    """It is neither replaced by the value before nor drawn over, and infinity becomes no number either."""
    rows = aligner(fill)
    for number in range(6):
        rows.add(number / RATE_HZ, [bad if number == 3 else 1.0])
    samples = np.concatenate([block.samples for block in rows.take()])[:, 0]
    assert np.flatnonzero(~np.isfinite(samples)).tolist() == [3]
    assert not np.isinf(samples).any()


@pytest.mark.parametrize("fill", FILLS)
def test_what_cannot_be_read_is_nan(fill: Fill) -> None:
    """Garbage without a time takes the place of the next row, however much there is of it."""
    rows = aligner(fill)
    for number in range(7):
        for _ in range(100 if number == 3 else 0):
            rows.spoil()
        rows.add(number / RATE_HZ, [1.0])
    samples = np.concatenate([block.samples for block in rows.take()])[:, 0]
    assert np.flatnonzero(~np.isfinite(samples)).tolist() == [3]


def test_rows_that_come_twice_or_late_are_dropped_and_counted() -> None:
    """The value that came first stays."""
    rows = aligner()
    for seconds, value in ((0.0, 0), (0.1, 1), (0.1, 7), (0.2, 2), (0.15, 7), (math.nan, 7), (0.3, 3), (0.4, 4)):
        rows.add(seconds, [value])
    assert values_of(rows.take()) == [[0, 1, 2, 3]]
    assert (rows.duplicates, rows.late) == (1, 2)


@pytest.mark.parametrize("step_seconds", [-3600.0, 30 * 86_400.0])
def test_a_clock_that_is_set_is_a_gap_of_unknown_length(step_seconds: float) -> None:
    """Rows go on at once, no month is counted as lost, and no window reaches across."""
    rows = aligner()
    for number in range(10):
        rows.add(1e9 + number / RATE_HZ + (step_seconds if number >= 5 else 0.0), [number])
    blocks = rows.take()
    assert values_of(blocks) == [[5, 6, 7, 8]]
    assert blocks[0].overflowed
    rows.add(1e9 + step_seconds + 1.0, [10])
    assert not any(block.overflowed for block in rows.take())


@pytest.mark.parametrize("fill", FILLS)
def test_channels_may_come_one_by_one(fill: Fill) -> None:
    """They are put together by their times, in whichever order they come; rows begin once all were heard."""
    rows = aligner(fill, channels=2)
    blocks: list[Block] = []
    for number in range(10):
        rows.add(number / RATE_HZ, [number], channels=[1])
        blocks += rows.take()
        rows.add(number / RATE_HZ - 0.01, [-number], channels=[0])
        blocks += rows.take()
    samples = np.concatenate([block.samples for block in blocks])
    assert len(samples) >= 8
    assert np.isfinite(samples).all()
    assert np.abs(samples.sum(axis=1)).max() <= (0.0 if fill == "hold" else 0.11)
    assert (lost_in(blocks), rows.late) == (0, 0)


@pytest.mark.parametrize("fill", FILLS)
def test_a_channel_that_falls_silent_is_nan_and_not_held_for_ever(fill: Fill) -> None:
    """The others go on: the rows are there, and no model judges them; what never came is named."""
    rows = aligner(fill, channels=3)
    for number in range(30):
        rows.add(number / RATE_HZ, [1.0, 2.0] if number < 10 else [1.0], channels=[0, 1] if number < 10 else [0])
    samples = np.concatenate([block.samples for block in rows.take()])
    assert rows.unheard == [2]
    assert np.isfinite(samples[:, 0]).all()
    assert np.isnan(samples[:, 2]).all()
    assert np.isnan(samples[-10:, 1]).all()


Values = list[tuple[float, float]]
"""Place and value of one channel, in order."""


def slow_row(channels: list[Values], row: int, fill: Fill, max_gap: float) -> list[float] | None:
    """The policy, value by value: what each channel has at `row`, NaN for nothing; None where none has anything."""
    found = []
    for values in channels:
        before = [(place, value) for place, value in values if place <= row]
        after = [(place, value) for place, value in values if place > row]
        found.append(math.nan)
        if not before:
            continue
        place, value = before[-1]
        if fill == "hold":
            covered = row - place <= max_gap
        else:
            covered = place == row or (bool(after) and after[0][0] - place <= max_gap)
        if covered:
            share = (row - place) / (after[0][0] - place) if fill == "linear" and place != row else 0.0
            found[-1] = value + share * (after[0][1] - value) if share else value
        else:
            found[-1] = math.inf  # nothing is known
    return None if all(math.isinf(value) for value in found) else [math.nan if math.isinf(v) else v for v in found]


@pytest.mark.parametrize("fill", FILLS)
@given(data=st.data())
def test_any_stream_gives_what_the_policy_says_value_by_value(fill: Fill, data: st.DataObject) -> None:
    """Channels that come apart, out of order among each other, with NaN and gaps, taken at any time."""
    rows = RowAligner(sample_rate_hz=1.0, channels=2, fill=fill)
    rows.add(0.0, [0.0, 0.0])
    heard: list[Values] = [[(0.0, 0.0)], [(0.0, 0.0)]]
    blocks: list[Block] = []
    at = [0, 0]
    for number in range(data.draw(st.integers(0, 40))):
        channel = data.draw(st.integers(0, 1))
        step = data.draw(st.sampled_from([1, 1, 1, 2, 3, 5])) if fill == "hold" else data.draw(st.integers(1, 9)) / 2
        # No later than the policy waits for: a line needs the next value before it is given up.
        at[channel] = max(at[channel] + step, max(at) - (2 if fill == "hold" else 0))
        value = math.nan if data.draw(st.integers(0, 9)) == 0 else float(number)
        if at[channel] > heard[channel][-1][0]:
            heard[channel].append((float(at[channel]), value))
        rows.add(float(at[channel]), [value], channels=[channel])
        if data.draw(st.booleans()):
            blocks += rows.take()
    blocks += rows.take()
    row = 0
    for block in blocks:
        for _ in range(block.lost or 0):
            assert slow_row(heard, row, fill, 2.5) is None
            row += 1
        for found in block.samples:
            np.testing.assert_allclose(found, slow_row(heard, row, fill, 2.5) or [], rtol=1e-5)
            row += 1


def test_an_outage_of_a_week_costs_no_memory() -> None:
    """Lost rows are counted, not made."""
    rows = RowAligner(sample_rate_hz=25_600.0, channels=3)
    for seconds in (0.0, 1 / 25_600, 6 * 86_400.0, 6 * 86_400.0 + 1 / 25_600):
        rows.add(seconds, [1.0, 1.0, 1.0])
    begin = time.monotonic()
    assert lost_in(rows.take()) == pytest.approx(6 * 86_400 * 25_600, abs=10)
    assert time.monotonic() - begin < 1.0


class OutageSource:
    """Rows at 1 kHz by the clock; the fifth read fails."""

    sample_rate_hz = 1000.0
    live = True

    def __init__(self) -> None:
        self._rows = RowAligner(sample_rate_hz=1000.0, channels=1)
        self._blocks: list[Block] = []
        self._reads = 0

    def open(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing to do."""

    def read(self) -> Block:
        self._reads += 1
        if self._reads == 5:
            raise OSError("unplugged")
        begin = time.monotonic()
        time.sleep(0.05)
        for number in range(50):
            self._rows.add(begin + number / 1000, [1.0])
        self._blocks += self._rows.take()
        return self._blocks.pop(0)


def test_the_capture_counts_an_outage_by_the_times_of_the_rows() -> None:
    """The second until the source is opened again is lost, and marked as a gap."""
    capture = Capture(OutageSource(), name="s", stall_seconds=5.0, wake=threading.Event())
    begin = time.monotonic()
    capture.start()
    messages: list[Samples] = []
    while lost_samples(messages) < 900 and time.monotonic() - begin < 10:
        time.sleep(0.02)
        messages += [message for message in capture.take_all() if isinstance(message, Samples)]
    capture.request_stop()
    assert capture.join()
    elapsed_seconds = time.monotonic() - begin
    rows = sum(len(message.samples) for message in messages)
    assert 900 <= lost_samples(messages) < 1000 * elapsed_seconds - rows + 50
    assert all(message.gap for message in messages if message.lost)
    assert capture.drift_ppm is None


def lost_samples(messages: list[Samples]) -> int:
    return sum(message.lost for message in messages)
