"""Clips of made-up alarms, as the monitor's own writer leaves them."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
from dasvdd_runtime.evidence.bands import BandLevels
from dasvdd_runtime.evidence.clip_file import ClipFile, ClipFormat
from dasvdd_runtime.evidence.folder import EvidenceFolder, stem_of
from dasvdd_runtime.evidence.rows import Rows
from dasvdd_runtime.evidence.tables import EvidenceTable
from page_scenes import NAMES

RATE_HZ = 16000
SENSOR_RATE_HZ = 100.0
SECONDS = 30.0
BEGIN_SECONDS, END_SECONDS = 10.0, 18.0
STREAM_SECONDS = 100.0
"""Where in the stream the clip begins."""


def keep_clip(directory: Path, kind: Literal["audio", "spectrogram", "sensor"], source: str) -> str:
    """A clip of an alarm from the 10th to the 18th second of 30, of a whine at 2 kHz or in the sensor's `y`; its id."""
    alarm = str(uuid.uuid4())
    folder = EvidenceFolder(directory, EvidenceTable(), now=lambda: datetime.now(UTC))
    directory.mkdir(exist_ok=True)
    stem = stem_of(source, alarm, datetime.now(UTC))
    rows: Rows
    if kind == "sensor":
        format, rows = ClipFormat(".npz", SENSOR_RATE_HZ, ("x", "y", "temperature")), _acceleration()
    elif kind == "audio":
        format, rows = ClipFormat(".flac", RATE_HZ, ("mic",)), np.round(32767 * _sound()).astype(np.int16)[:, None]
    else:
        bands = BandLevels(RATE_HZ, step_seconds=0.125)
        format = ClipFormat("", RATE_HZ, ("mic",), bands)
        rows = bands.levels_db(_sound().reshape(-1, bands.step_samples, 1)).reshape(-1, bands.count)
    clip = ClipFile(folder, stem, format)
    clip.append(rows)
    clip.note(_described(alarm, source, format))
    return alarm


def _sound() -> np.ndarray[Any, np.dtype[np.float32]]:
    times = np.arange(round(SECONDS * RATE_HZ)) / RATE_HZ
    hum = np.convolve(np.random.default_rng(0).normal(0, 0.03, len(times)), np.ones(8) / 8, "same")
    hum += 0.05 * np.sin(2 * np.pi * 120 * times)
    whine = 0.05 * np.sin(2 * np.pi * 2000 * times) * ((times > BEGIN_SECONDS) & (times < END_SECONDS))
    return (hum + whine).astype(np.float32)


def _acceleration() -> np.ndarray[Any, np.dtype[np.float32]]:
    times = np.arange(round(SECONDS * SENSOR_RATE_HZ)) / SENSOR_RATE_HZ
    values = np.random.default_rng(0).normal(0, 0.1, (len(times), 3))
    values[:, 1] += np.sin(20 * times) * ((times > BEGIN_SECONDS) & (times < END_SECONDS))
    values[:200, 2] = np.nan
    return values.astype(np.float32)


def _described(alarm: str, source: str, format: ClipFormat) -> dict[str, Any]:
    times = np.arange(1.0, SECONDS + 0.1, 0.5)
    scores = 0.009 + 0.04 * np.clip((times - BEGIN_SECONDS) / 3, 0, 1) * (times < END_SECONDS + 1)
    return {
        "schema": "1.0",
        "alarm": alarm,
        "source": source,
        "raised_at": "2026-11-20T10:11:12.000Z",
        "kind": "sensor" if format.suffix == ".npz" else "audio",
        "sample_rate_hz": format.sample_rate_hz,
        "channels": list(format.channel_names),
        "threshold": 0.02,
        "seconds": SECONDS,
        "pieces": [{"clip_seconds": 0.0, "stream_seconds": STREAM_SECONDS, "seconds": SECONDS}],
        "alarm_start_seconds": STREAM_SECONDS + BEGIN_SECONDS,
        "rise_seconds": STREAM_SECONDS + BEGIN_SECONDS + 1,
        "clear_seconds": STREAM_SECONDS + END_SECONDS + 1,
        "alarm_end_seconds": STREAM_SECONDS + END_SECONDS + 1,
        "tail_seconds": 0.0,
        "residual": {
            "names": NAMES,
            "peak": [0.13 if 92 <= i < 98 else 0.01 for i in range(128)],
            "usual": [0.01] * 128,
        },
        "scores": {
            "stream_seconds": (STREAM_SECONDS + times).tolist(),
            "score": scores.tolist(),
            "smoothed_score": scores.tolist(),
        },
    }
