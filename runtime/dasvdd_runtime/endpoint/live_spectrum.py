"""What a source sounds like now: levels in third octaves over its newest second, a byte a band.

As coarse in frequency as the evidence of mode "spectrogram" and eight times coarser in time, so that no speech can be
rebuilt from what the page shows, whatever is kept of alarms.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ..condition.spectrum import FAST_HZ
from ..evidence.bands import BandLevels
from ..evidence.rows import AUDIO_STEP_SECONDS, SENSOR_STEP_SECONDS
from ..running.snapshot import Heard

AUDIO_HZ = 4000.0
"""From this rate on the bands are those of audio in the evidence; below, those of sensors."""
LOWEST_DB = -120
UNKNOWN = 0
"""The byte that says nothing. Others are decibels above LOWEST_DB, and one."""


def live_edges_hz(heard: Heard) -> list[float]:
    """Limits of the bands, one more than there are; none for a source too slow to have a spectrum."""
    return _bands(heard.sample_rate_hz).edges_hz if heard.sample_rate_hz >= FAST_HZ else []


def live_levels(heard: Heard) -> NDArray[np.uint8]:
    """The newest second's level a band [bands], of all channels the loudest, as bytes; empty before there is one.

    In dB of a full-scale sine (of sensors: of a sine of one unit), from LOWEST_DB on.
    """
    second = round(heard.sample_rate_hz)
    if heard.sample_rate_hz < FAST_HZ or sum(map(len, heard.blocks)) < second:
        return np.empty(0, np.uint8)
    bands = _bands(heard.sample_rate_hz)
    newest = np.concatenate(heard.blocks)[-second:]
    steps = second // bands.step_samples
    parts = newest[: steps * bands.step_samples].reshape(steps, bands.step_samples, newest.shape[1])
    powers = 10 ** (bands.levels_db(parts).max(axis=1).astype(np.float64) / 10)
    levels = 10 * np.log10(powers.mean(axis=0))
    known = np.clip(np.round(np.nan_to_num(levels, nan=LOWEST_DB)) - LOWEST_DB + 1, 1, 255)
    return np.where(np.isfinite(levels), known, UNKNOWN).astype(np.uint8)


@lru_cache(maxsize=16)
def _bands(sample_rate_hz: float) -> BandLevels:
    step_seconds = AUDIO_STEP_SECONDS if sample_rate_hz >= AUDIO_HZ else SENSOR_STEP_SECONDS
    return BandLevels(sample_rate_hz, step_seconds=step_seconds)
