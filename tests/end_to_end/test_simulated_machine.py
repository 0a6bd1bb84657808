"""The simulated machine has the physics that the demonstration relies on; scipy looks, not the simulator."""

from __future__ import annotations

import numpy as np
import pytest
import simulated_machine as machine
from numpy.typing import NDArray
from scipy import signal

SECONDS = 60.0
ONSET_SECONDS = 20.0
RATE_HZ = machine.SAMPLE_RATE_HZ

Series = NDArray[np.float64]


@pytest.fixture(scope="module")
def healthy() -> NDArray[np.float32]:
    """One minute of the healthy machine, seed 3."""
    return machine.healthy(seconds=SECONDS, seed=3)


@pytest.fixture(scope="module")
def faulty() -> NDArray[np.float32]:
    """The same minute with a fault from ONSET_SECONDS on."""
    return machine.developing_fault(seconds=SECONDS, fault_onset_seconds=ONSET_SECONDS, seed=3)


def order_spectrum(samples: NDArray[np.floating], shaft_hz: Series) -> tuple[Series, Series]:
    """Orders (multiples of the shaft's speed) and power: the spectrum of `samples` [n] over shaft angle, not time."""
    turns = np.cumsum(shaft_hz) / RATE_HZ
    per_turn = 512
    angle = np.arange(turns[0], turns[-1], 1 / per_turn)
    orders, power = signal.welch(np.interp(angle, turns, samples), fs=per_turn, nperseg=per_turn * 128)
    return orders, power


def line_db(orders: Series, power: Series, order: float) -> float:
    """How far the line within 1 % of `order` stands above the median of its surroundings, in dB."""
    line = power[np.abs(orders - order) <= 0.01 * order].max()
    around = power[(np.abs(orders - order) > 0.05) & (np.abs(orders - order) < 0.45)]
    return float(10 * np.log10(line / np.median(around)))


def envelope(samples: NDArray[np.floating]) -> Series:
    """Hilbert envelope of the band around the bearing seat's resonance."""
    band = signal.butter(4, [3600, 4800], btype="bandpass", fs=RATE_HZ, output="sos")
    analytic: NDArray[np.complex128] = signal.hilbert(signal.sosfiltfilt(band, samples))
    return np.abs(analytic)


@pytest.mark.parametrize("order", [1, 2, 3, machine.BLADES, machine.GEAR_TEETH, machine.GEAR_TEETH + 1])
def test_the_spectrum_over_shaft_angle_has_a_line_at(order: int, healthy: NDArray[np.float32]) -> None:
    """Shaft harmonics, blade pass, gear mesh and its sideband follow the drifting speed."""
    orders, power = order_spectrum(healthy, machine.shaft_hz(seconds=SECONDS, seed=3))
    assert line_db(orders, power, order) > 10


def test_there_is_no_line_between_the_harmonics(healthy: NDArray[np.float32]) -> None:
    """At an order that nothing in the machine makes, the spectrum is noise."""
    orders, power = order_spectrum(healthy, machine.shaft_hz(seconds=SECONDS, seed=3))
    assert line_db(orders, power, 5.43) < 10


def test_the_envelope_shows_ball_passes_only_after_the_onset(faulty: NDArray[np.float32]) -> None:
    """The envelope's spectrum has a line at BPFO, 3.585 per turn for a 6205 bearing, once the fault has begun."""
    shaft_hz = machine.shaft_hz(seconds=SECONDS, seed=3)
    onset = round(ONSET_SECONDS * RATE_HZ)
    late = slice(len(faulty) // 2, None)
    for piece, least, most in ((slice(0, onset), -np.inf, 8.0), (late, 15.0, np.inf)):
        orders, power = order_spectrum(envelope(faulty)[piece], shaft_hz[piece])
        assert least < line_db(orders, power, 3.585) < most


def test_the_fault_grows(faulty: NDArray[np.float32], healthy: NDArray[np.float32]) -> None:
    """The difference from the healthy machine gets louder with time, in proportion to the severity."""
    strikes = faulty.astype(np.float64) - healthy
    rms = [strikes[round(t * RATE_HZ) : round((t + 10) * RATE_HZ)].std() for t in (20, 30, 40, 50)]
    assert rms[1] / rms[0] == pytest.approx(np.sqrt((20**3 - 10**3) / 10**3), rel=0.15)  # rms of a ramp over 10 s
    assert rms[0] < rms[1] < rms[2] < rms[3]


def test_before_the_onset_the_faulty_machine_is_the_healthy_one(
    faulty: NDArray[np.float32], healthy: NDArray[np.float32]
) -> None:
    """Sample by sample; from there on it is not."""
    onset = round(ONSET_SECONDS * RATE_HZ)
    np.testing.assert_array_equal(faulty[:onset], healthy[:onset])
    assert np.any(faulty[onset : onset + RATE_HZ] != healthy[onset : onset + RATE_HZ])


def test_the_intervals_between_strikes_scatter_by_one_to_two_percent() -> None:
    """Divided by the mean interval at the speed of the moment, intervals have a standard deviation of 1 to 2 %."""
    strikes = machine.developing_fault(seconds=90, fault_onset_seconds=0, seed=5).astype(np.float64)
    strikes -= machine.healthy(seconds=90, seed=5)
    late = slice(60 * RATE_HZ, None)
    peaks, _ = signal.find_peaks(np.abs(strikes[late]), height=0.02, distance=RATE_HZ // 140)
    times = peaks / RATE_HZ
    bpfo_hz = machine.ball_pass_order() * machine.shaft_hz(seconds=90, seed=5)[late]
    passes = np.diff(np.interp(times, np.arange(len(bpfo_hz)) / RATE_HZ, np.cumsum(bpfo_hz) / RATE_HZ))
    single = passes[passes < 1.5]  # a strike too weak to be found leaves a double interval
    assert single.mean() == pytest.approx(1, abs=0.005)
    assert 0.01 < single.std() < 0.025


def test_loudness_leaves_headroom(faulty: NDArray[np.float32]) -> None:
    """Far above 16-bit quantisation, and no sample near full scale even at the height of the fault."""
    loudest = machine.developing_fault(seconds=SECONDS, fault_onset_seconds=-60, seed=7)
    for samples in (faulty, loudest):
        assert 0.02 < samples.std() < 0.1
        assert np.abs(samples).max() < 0.5


def test_the_seed_decides_everything(healthy: NDArray[np.float32]) -> None:
    """The same seed gives the same samples, another seed another load and other noise."""
    np.testing.assert_array_equal(machine.healthy(seconds=SECONDS, seed=3), healthy)
    other = machine.healthy(seconds=SECONDS, seed=4)
    assert len(other) == len(healthy) == SECONDS * RATE_HZ
    assert abs(np.corrcoef(other, healthy)[0, 1]) < 0.5
    assert np.any(machine.shaft_hz(seconds=SECONDS, seed=4) != machine.shaft_hz(seconds=SECONDS, seed=3))
