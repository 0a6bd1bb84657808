"""A rotating machine as a microphone hears it, healthy or with a bearing fault that grows. Numpy only, no recording.

The sound is a sum of five physical parts, each driven by the same slowly drifting load:

1. Speed. An induction motor slips under load: f_r = f_sync (1 - slip * load). The load wanders between two bounds:
   load = m + s tanh(y), y being an Ornstein-Uhlenbeck process of variance 1 (exact update of Gillespie, Phys. Rev.
   E 54, 1996): y' = a y + sqrt(1 - a^2) w, a = exp(-dt / tau), w standard normal.
2. Lines. With shaft angle phi(t) = 2 pi integral f_r dt: harmonics A_h cos(h phi + theta_h) of the unbalanced,
   misaligned shaft; the fan's blade pass at B f_r; the gear mesh at Z f_r with sidebands at +-f_r, since
   (1 + m cos phi) cos(Z phi) is the tooth force modulated once a turn.
3. Turbulence. White noise, in proportion to the load, through the housing's modes. Each is a damped oscillator
   with impulse response exp(-zeta w t) sin(w sqrt(1 - zeta^2) t), w = 2 pi f_n (any vibration textbook, e.g. Rao,
   section 4.5).
4. Room. Pink noise (power falling as 1/f) and the microphone's white noise.
5. Fault. A ball that passes a defect of the outer race strikes it once: BPFO = n/2 f_r (1 - d/D cos a), with n
   balls of diameter d on pitch diameter D and contact angle a. Balls slip, so that successive intervals scatter by
   1 to 2 % (Randall and Antoni, "Rolling element bearing diagnostics - a tutorial", MSSP 25, 2011, eq. 1 and
   section 2.1). Each strike rings a mode of the bearing's seat, in a band where the healthy machine is quiet.

The machine (its modes, amplitudes and phases) is always the same; a seed chooses load and noise.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE_HZ = 16_000

SYNCHRONOUS_HZ = 25.0
FULL_LOAD_SLIP = 0.03
LOAD_MEAN, LOAD_SWING, LOAD_TIME_SECONDS = 0.6, 0.2, 5.0

SHAFT_AMPLITUDES = (0.020, 0.012, 0.007, 0.004, 0.003, 0.002)
BLADES, BLADE_AMPLITUDES = 7, (0.015, 0.005)
GEAR_TEETH, GEAR_AMPLITUDES, GEAR_MODULATION = 31, (0.010, 0.004), 0.4

# Natural frequency in Hz, damping ratio, rms amplitude of the response to turbulence (full scale 1).
HOUSING_MODES = ((410.0, 0.03, 0.020), (1130.0, 0.02, 0.014), (2350.0, 0.015, 0.007))
PINK_RMS, MICROPHONE_RMS = 0.006, 0.002

# A deep-groove ball bearing of size 6205.
BALLS, BALL_DIAMETER_MM, PITCH_DIAMETER_MM, CONTACT_ANGLE_RADIANS = 9, 7.94, 39.04, 0.0
BALL_SLIP = 0.015
FAULT_MODES = ((4200.0, 0.02, 1.0), (5700.0, 0.02, 0.5))
FAULT_PEAK = 0.02
FAULT_GROWTH_SECONDS = 60.0

Samples = NDArray[np.float32]
Series = NDArray[np.float64]


def healthy(*, seconds: float, seed: int) -> Samples:
    """The healthy machine: shape [samples] at SAMPLE_RATE_HZ, full scale 1.0."""
    load_rng, noise_rng, _ = _generators(seed)
    load = _load_drift(seconds, load_rng)
    angle = _turns(_shaft_hz(load)) * 2 * np.pi
    sound = _lines(angle, load) + _turbulence(load, noise_rng) + _room(len(load), noise_rng)
    return sound.astype(np.float32)


def developing_fault(*, seconds: float, fault_onset_seconds: float, seed: int) -> Samples:
    """The same machine whose bearing begins to fail: shape [samples] at SAMPLE_RATE_HZ, full scale 1.0.

    Until `fault_onset_seconds` the sound is that of `healthy` with the same seed, sample by sample. From there the
    strikes grow in proportion to time, from nothing to full strength FAULT_GROWTH_SECONDS later.
    """
    load_rng, _, fault_rng = _generators(seed)
    load = _load_drift(seconds, load_rng)
    strikes = _bearing_strikes(_shaft_hz(load), fault_onset_seconds, fault_rng)
    return healthy(seconds=seconds, seed=seed) + strikes.astype(np.float32)


def shaft_hz(*, seconds: float, seed: int) -> Series:
    """Rotation frequency f_r in Hz at every sample of the recording with this length and seed, shape [samples]."""
    load_rng, _, _ = _generators(seed)
    return _shaft_hz(_load_drift(seconds, load_rng))


def ball_pass_order() -> float:
    """BPFO / f_r: strikes on the outer race per turn of the shaft."""
    return BALLS / 2 * (1 - BALL_DIAMETER_MM / PITCH_DIAMETER_MM * math.cos(CONTACT_ANGLE_RADIANS))


def _generators(seed: int) -> list[np.random.Generator]:
    """Independent generators for load, noise and fault, so that a fault changes neither load nor noise."""
    return np.random.default_rng(seed).spawn(3)


def _load_drift(seconds: float, rng: np.random.Generator) -> Series:
    """Load as a share of the rated one, shape [samples]: drawn ten times a second, straight lines between."""
    step_seconds = 0.1
    steps = math.ceil(seconds / step_seconds) + 1
    decay = math.exp(-step_seconds / LOAD_TIME_SECONDS)
    kicks = rng.standard_normal(steps)
    kicks[1:] *= math.sqrt(1 - decay**2)
    wander = np.empty(steps)
    wander[0] = kicks[0]
    for k in range(1, steps):
        wander[k] = decay * wander[k - 1] + kicks[k]
    load = LOAD_MEAN + LOAD_SWING * np.tanh(wander)
    times = np.arange(round(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    return np.interp(times, np.arange(steps) * step_seconds, load)


def _shaft_hz(load: Series) -> Series:
    return SYNCHRONOUS_HZ * (1 - FULL_LOAD_SLIP * load)


def _turns(frequency_hz: Series) -> Series:
    """The integral of a frequency from the first sample on: turns, or events, since the start."""
    return np.cumsum(frequency_hz) / SAMPLE_RATE_HZ


def _lines(angle: Series, load: Series) -> Series:
    """Shaft harmonics, blade pass and gear mesh."""
    phase = np.random.default_rng(0).uniform(0, 2 * np.pi, 100)  # belongs to the machine: the same for every seed
    sound = np.zeros_like(angle)
    for harmonic, amplitude in enumerate(SHAFT_AMPLITUDES, start=1):
        sound += amplitude * np.cos(harmonic * angle + phase[harmonic])
    for harmonic, amplitude in enumerate(BLADE_AMPLITUDES, start=1):
        sound += amplitude * np.cos(harmonic * BLADES * angle + phase[10 + harmonic])
    tooth_force = load / LOAD_MEAN * (1 + GEAR_MODULATION * np.cos(angle))
    for harmonic, amplitude in enumerate(GEAR_AMPLITUDES, start=1):
        sound += amplitude * tooth_force * np.cos(harmonic * GEAR_TEETH * angle + phase[20 + harmonic])
    return sound


def _ringing(frequency_hz: float, damping_ratio: float) -> Series:
    """Impulse response of one mode, until it has decayed by 80 dB."""
    omega = 2 * np.pi * frequency_hz
    seconds = math.log(1e4) / (damping_ratio * omega)
    t = np.arange(math.ceil(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    return np.exp(-damping_ratio * omega * t) * np.sin(omega * math.sqrt(1 - damping_ratio**2) * t)


def _convolve(signal: Series, response: Series) -> Series:
    """The first len(signal) samples of the convolution."""
    length = 1 << (len(signal) + len(response) - 1).bit_length()
    spectrum = np.fft.rfft(signal, length) * np.fft.rfft(response, length)
    convolved: Series = np.fft.irfft(spectrum, length)[: len(signal)]
    return convolved


def _turbulence(load: Series, rng: np.random.Generator) -> Series:
    """White noise through the housing's modes; at mean load each mode has the rms in HOUSING_MODES."""
    excitation = load / LOAD_MEAN * rng.standard_normal(len(load))
    responses = [_ringing(f, zeta) for f, zeta, _ in HOUSING_MODES]
    combined = np.zeros(max(map(len, responses)))
    for response, (_, _, rms) in zip(responses, HOUSING_MODES, strict=True):
        combined[: len(response)] += rms * response / np.sqrt(np.sum(response**2))
    return _convolve(excitation, combined)


def _room(samples: int, rng: np.random.Generator) -> Series:
    """Pink noise above 20 Hz, and the microphone's own white noise."""
    length = 1 << samples.bit_length()
    spectrum = np.fft.rfft(rng.standard_normal(length))
    frequency_hz = np.fft.rfftfreq(length, 1 / SAMPLE_RATE_HZ)
    spectrum *= np.where(frequency_hz < 20, 0, 1 / np.sqrt(np.maximum(frequency_hz, 20)))
    pink: Series = np.fft.irfft(spectrum, length)[:samples]
    return PINK_RMS / float(pink.std()) * pink + MICROPHONE_RMS * rng.standard_normal(samples)


def _bearing_strikes(shaft: Series, onset_seconds: float, rng: np.random.Generator) -> Series:
    """The fault's sound alone, zero before the onset."""
    passes = _turns(ball_pass_order() * shaft)
    intervals = 1 + BALL_SLIP * rng.standard_normal(math.ceil(passes[-1] * 1.01) + 100)
    # To the nearest sample: half a sample is 0.3 % of an interval, well below the slip.
    struck = np.searchsorted(passes, np.cumsum(intervals))
    struck = struck[struck < len(passes)]
    growth = np.clip((struck / SAMPLE_RATE_HZ - onset_seconds) / FAULT_GROWTH_SECONDS, 0, 1)
    impulses = np.zeros_like(shaft)
    impulses[struck] = growth * np.maximum(0, 1 + 0.2 * rng.standard_normal(len(struck)))
    responses = [share * _ringing(f, zeta) for f, zeta, share in FAULT_MODES]
    combined = np.zeros(max(map(len, responses)))
    for response in responses:
        combined[: len(response)] += response
    strikes = _convolve(impulses, FAULT_PEAK * combined)
    strikes[: math.ceil(onset_seconds * SAMPLE_RATE_HZ)] = 0  # the rounding noise of the FFT
    return strikes
