"""Does what a device captures look like what its model was trained on? Pure: samples and a baseline -> findings.

A different gain moves all octave bands alike; a different microphone or position bends the spectrum; automatic gain
control keeps the level steadier than the machine ever was in training. None of this decides a score.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..contract import ModelMetadata
from .levels import CLIPPED_SHARE, SILENT_DBFS, Baseline, clipped_share, level_dbfs, octave_levels_db

LEVEL_TOLERANCE_DB = 6.0
"""How far beyond the 5th to 95th percentile of training the level may lie."""
SPECTRUM_TOLERANCE_DB = 7.0
"""Largest rms deviation of the octave bands from training once their common shift is removed. Five seconds of a
brushless motor deviated by 2 to 6 dB from sixteen recordings of it and of another at other speeds."""
GAIN_CONTROL_SHARE = 0.1
"""A level spread below this share of training's may be automatic gain control."""
GAIN_CONTROL_LEAST_SPREAD_DB = 6.0
"""Where training's own level spread is below this, a steady level says nothing."""
GAIN_CONTROL_LEAST_SECONDS = 5
OFFSET_TOLERANCE_STD = 5.0
"""How far a sensor's mean may lie from training's, in standard deviations of training."""
SPREAD_TOLERANCE_RATIO = 5.0
"""By what factor a sensor's standard deviation may differ from training's."""

Verdict = Literal["ok", "warning", "FAIL"]


@dataclass(frozen=True)
class Finding:
    """One line of a check."""

    verdict: Verdict
    subject: str
    """What was looked at, in a word or two."""
    text: str
    """What was found, with both numbers and, unless it is ok, what to do."""


def compare_capture(samples: NDArray[np.float32], metadata: ModelMetadata) -> list[Finding]:
    """Judge `samples` [samples, channels], captured at the model's sample rate, against the model's training.

    Only the channels that the model uses are judged.

    Raises ValueError for another number of channels than the model's.
    """
    if samples.ndim != 2 or samples.shape[1] != metadata.channels:
        raise ValueError(f"samples of shape {samples.shape} for a model of {metadata.channels} channels")
    seconds = len(samples) / metadata.sample_rate_hz
    if len(samples) < metadata.sample_rate_hz:
        return [Finding("FAIL", "capture", f"only {seconds:.2f} s arrived; judging needs at least 1 s.")]
    broken = int(np.count_nonzero(~np.isfinite(samples)))
    if broken:
        return [Finding("FAIL", "capture", f"{broken} of {samples.size} samples are not finite; the source is faulty.")]
    if metadata.kind == "audio":
        return _audio_findings(samples[:, metadata.used_channels], metadata.sample_rate_hz, metadata.baseline)
    return _sensor_findings(samples, metadata)


def _audio_findings(samples: NDArray[np.float32], sample_rate_hz: float, baseline: Baseline) -> list[Finding]:
    level = min(level_dbfs(samples[:, [channel]]) for channel in range(samples.shape[1]))
    if level <= SILENT_DBFS:
        return [
            Finding(
                "FAIL",
                "level",
                f"silent: {level:.1f} dBFS, in training {_range(baseline)}. Check the cable, the mute switch, the "
                "input gain, and that this is the right device (dasvdd-monitor devices).",
            )
        ]
    second = round(sample_rate_hz)
    levels = [level_dbfs(samples[start : start + second]) for start in range(0, len(samples) - second + 1, second)]
    return [
        _clipping(clipped_share(samples)),
        _level_and_spectrum(float(np.median(levels)), *octave_levels_db(samples, sample_rate_hz), baseline),
        _gain_control(levels, baseline),
    ]


def _clipping(share: float) -> Finding:
    if share > CLIPPED_SHARE:
        return Finding(
            "FAIL",
            "clipping",
            f"{100 * share:.2g} % of the samples are at full scale, at most {100 * CLIPPED_SHARE:.2g} % may be; "
            "clipping adds harmonics that the machine does not make. Lower the input gain.",
        )
    return Finding("ok", "clipping", f"{100 * share:.2g} % of the samples at full scale")


def _level_and_spectrum(
    level: float, band_hz: NDArray[np.float64], band_levels_db: NDArray[np.float64], baseline: Baseline
) -> Finding:
    low, _, high = baseline.level_dbfs
    in_range = low - LEVEL_TOLERANCE_DB <= level <= high + LEVEL_TOLERANCE_DB
    heard = f"level {level:.1f} dBFS, in training {_range(baseline)}"
    common = sorted(set(band_hz.tolist()) & set(baseline.band_hz))
    if not common:
        if in_range:
            return Finding("ok", "level", heard)
        return Finding("warning", "level", f"{heard}. Set the input gain to what it was in training.")
    here = dict(zip(band_hz.tolist(), band_levels_db.tolist(), strict=True))
    trained = dict(zip(baseline.band_hz, baseline.band_levels_db, strict=True))
    # Below the level that counts as silent, a band holds only the converter's noise.
    shifts = np.array([max(here[hz], SILENT_DBFS) - max(trained[hz], SILENT_DBFS) for hz in common])
    shift = float(np.median(shifts))
    bend = float(np.sqrt(np.mean((shifts - shift) ** 2)))
    if bend > SPECTRUM_TOLERANCE_DB:
        worst = int(np.argmax(np.abs(shifts - shift)))
        return Finding(
            "warning",
            "spectrum",
            f"the octave bands deviate by {bend:.1f} dB rms from training beside a common shift of {shift:+.1f} dB (at "
            f"most {SPECTRUM_TOLERANCE_DB:g} is usual), most at {common[worst]:g} Hz, "
            f"{shifts[worst] - shift:+.1f} dB; {heard}. Is it the microphone and the position of the training "
            "recordings, does the machine run, and is noise suppression off?",
        )
    if not in_range:
        return Finding(
            "warning",
            "gain",
            f"all octave bands are shifted alike by {shift:+.1f} dB ({bend:.1f} dB rms between them); {heard}. The "
            f"gain differs: turn the input gain {'down' if shift > 0 else 'up'} by {abs(shift):.0f} dB.",
        )
    return Finding("ok", "level", f"{heard}; octave bands within {bend:.1f} dB rms of training's spectrum")


def _gain_control(levels_dbfs: list[float], baseline: Baseline) -> Finding:
    here = float(np.ptp(np.percentile(levels_dbfs, [5, 95])))
    trained = baseline.level_dbfs[2] - baseline.level_dbfs[0]
    spread = f"level spread {here:.1f} dB over {len(levels_dbfs)} s, in training {trained:.1f} dB"
    if len(levels_dbfs) < GAIN_CONTROL_LEAST_SECONDS or trained < GAIN_CONTROL_LEAST_SPREAD_DB:
        return Finding("ok", "gain control", f"{spread}: too short or too steady to tell automatic gain control")
    if here < GAIN_CONTROL_SHARE * trained:
        return Finding(
            "warning",
            "gain control",
            f"{spread}. Either the machine ran unusually steadily, or automatic gain control is on: switch it off (for "
            "instance in alsamixer), since it hides a machine that grows louder.",
        )
    return Finding("ok", "gain control", spread)


def _sensor_findings(samples: NDArray[np.float32], metadata: ModelMetadata) -> list[Finding]:
    means, stds = samples.mean(axis=0, dtype=np.float64), samples.std(axis=0, dtype=np.float64)
    baseline = metadata.baseline
    return [
        _sensor_finding(
            metadata.channel_names[channel],
            metadata.units[channel],
            float(means[channel]),
            float(stds[channel]),
            baseline.channel_mean[channel],
            baseline.channel_std[channel],
        )
        for channel in metadata.used_channels
    ]


def _sensor_finding(
    subject: str, unit: str, mean: float, std: float, trained_mean: float, trained_std: float
) -> Finding:
    heard = (
        f"mean {mean:.4g} and deviation {std:.3g} {unit}, in training {trained_mean:.4g} and {trained_std:.3g} {unit}"
    )
    if std == 0:
        if trained_std == 0 and mean == trained_mean:
            return Finding("ok", subject, f"{heard}: constant, as in training")
        return Finding("FAIL", subject, f"constant: {heard}. Check the sensor, its cable and its supply.")
    ratio = std / trained_std if trained_std else float("inf")
    if not 1 / SPREAD_TOLERANCE_RATIO <= ratio <= SPREAD_TOLERANCE_RATIO:
        return Finding(
            "warning",
            subject,
            f"{heard}: {ratio:.3g} times. Check the unit (1 g = 9.81 m/s²), the range, and that the machine runs.",
        )
    if abs(mean - trained_mean) > OFFSET_TOLERANCE_STD * trained_std:
        return Finding("warning", subject, f"{heard}. Check the unit, the mounting direction and the sensor's zero.")
    return Finding("ok", subject, heard)


def _range(baseline: Baseline) -> str:
    return f"{baseline.level_dbfs[0]:.1f} to {baseline.level_dbfs[2]:.1f} dBFS"
