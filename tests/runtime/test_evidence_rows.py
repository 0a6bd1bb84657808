"""The parts of the pure core of evidence: levels of bands, and the memory of a stream."""

from __future__ import annotations

import numpy as np
import pytest
from dasvdd_runtime.evidence.bands import BandLevels
from dasvdd_runtime.evidence.ring import Ring
from hypothesis import given
from hypothesis import strategies as st

RATE_HZ = 16000


@given(st.data(), st.sampled_from([1, 3]))
def test_the_ring_is_what_a_plain_list_remembers(data: st.DataObject, row_samples: int) -> None:
    """Rows, gaps and forgetting in any order, beyond its capacity too: every part equals that of a list of rows."""
    ring, plain, number = Ring(row_samples, capacity=4), list[tuple[int, int]](), 0
    for _ in range(data.draw(st.integers(1, 12))):
        what = data.draw(st.sampled_from(["add", "add", "jump", "forget"]))
        if what == "add":
            count = data.draw(st.integers(0, 7))
            rows = np.arange(number, number + count)[:, None]
            plain += [(ring.end + i * row_samples, number + i) for i in range(count)]
            ring.add(rows)
            number += count
        elif what == "jump":
            ring.jump(ring.end + data.draw(st.integers(0, 9)))
        else:
            before = data.draw(st.integers(0, ring.end + 1))
            ring.forget(before)
            plain = [row for row in plain if row[0] >= before]
        start, end = sorted(data.draw(st.tuples(st.integers(-3, 60), st.integers(-3, 60))))
        parts = ring.part(start, end)
        found = [
            (part.first_sample + i * row_samples, int(row[0])) for part in parts for i, row in enumerate(part.rows)
        ]
        assert found == [row for row in plain if start <= row[0] < end]


@pytest.mark.parametrize("amplitude", [1.0, 0.01])
@pytest.mark.parametrize("frequency_hz", [40.0, 250.0, 1000.0, 5000.0])
def test_a_sine_is_in_its_band_with_its_level(frequency_hz: float, amplitude: float) -> None:
    """dB of a full-scale sine, in the third octave around it, and 40 dB less two bands away."""
    bands = BandLevels(RATE_HZ, step_seconds=0.125)
    times = np.arange(2000) / RATE_HZ
    sine = (amplitude * np.sin(2 * np.pi * frequency_hz * times)).astype(np.float32)
    levels = bands.levels_db(sine[None, :, None])[0, 0]
    inside = int(np.searchsorted(bands.edges_hz, frequency_hz)) - 1
    assert levels[inside] == pytest.approx(20 * np.log10(amplitude), abs=0.1)
    away = np.abs(np.arange(len(levels)) - inside) > 1
    assert levels[away].max() < levels[inside] - 40


def test_bands_are_third_octaves_and_steps_are_no_shorter_than_100_ms() -> None:
    """So coarse that no word can be rebuilt, at any rate that audio has."""
    for rate_hz in (8000.0, 16000.0, 44100.0, 96000.0):
        bands = BandLevels(rate_hz, step_seconds=0.125)
        edges = np.array(bands.edges_hz)
        assert bands.step_seconds >= 0.1
        assert edges[2:] / edges[1:-1] == pytest.approx(2 ** (1 / 3))
        assert edges[-1] <= rate_hz / 2
        assert 1000 in np.round(np.sqrt(edges[1:] * edges[:-1]))
