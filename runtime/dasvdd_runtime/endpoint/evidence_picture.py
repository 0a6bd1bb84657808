"""A clip's samples -> what the page draws of them: levels in third octaves, or a line a channel."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DasvddError
from ..events import finite
from ..evidence.bands import BandLevels
from ..evidence.rows import AUDIO_STEP_SECONDS

MOST_STEPS = 480
"""Columns of a picture: a step lasts longer in a longer clip."""
MOST_CHANNELS = 16
MOST_VALUES = 40_000_000
"""Samples through all channels of a clip of which a picture is made: 40 minutes of a 16 kHz microphone."""
BLOCK_VALUES = 500_000


def picture(sidecar: Path) -> dict[str, Any]:
    """For JSON, of the samples beside `sidecar`.

    Audio: `spectrogram` as in a sidecar, of all channels the loudest. Sensors: `lines`, each with its channel's `name`
    and the `low` and `high` of each of at most MOST_STEPS steps. Raises DasvddError where there are no samples, too
    many, or some that cannot be read.
    """
    try:
        if (flac := sidecar.with_suffix(".flac")).is_file():
            return {"spectrogram": _spectrogram(flac)}
        if (npz := sidecar.with_suffix(".npz")).is_file():
            return {"lines": _lines(npz)}
    except (OSError, RuntimeError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DasvddError(f"the clip cannot be read: {error}") from error
    raise DasvddError("no samples are kept of this alarm")


def _spectrogram(path: Path) -> dict[str, Any]:
    import soundfile

    with soundfile.SoundFile(path) as file:
        _require_few(file.frames * file.channels)
        bands = BandLevels(
            file.samplerate, step_seconds=max(AUDIO_STEP_SECONDS, file.frames / file.samplerate / MOST_STEPS)
        )
        steps_at_once = max(1, BLOCK_VALUES // (bands.step_samples * file.channels))
        levels = [np.empty((0, bands.count), np.float32)]
        for block in file.blocks(steps_at_once * bands.step_samples, dtype="float32", always_2d=True):
            whole = len(block) // bands.step_samples
            steps = block[: whole * bands.step_samples].reshape(whole, bands.step_samples, file.channels)
            levels.append(bands.levels_db(steps).max(axis=1))
    rounded = np.round(np.concatenate(levels).astype(np.float64), 1).tolist()
    edges = [round(edge, 2) for edge in bands.edges_hz]
    return {"step_seconds": bands.step_seconds, "edges_hz": edges, "levels_db": [rounded]}


def _lines(path: Path) -> list[dict[str, Any]]:
    with zipfile.ZipFile(path) as archive:
        _require_few(archive.getinfo("samples.npy").file_size // 4)
    with np.load(path, allow_pickle=False) as archive:
        samples, names = archive["samples"], [str(name) for name in archive["channel_names"]]
    if not len(samples):
        return []
    begins = np.unique(np.linspace(0, len(samples), min(MOST_STEPS, len(samples)), endpoint=False).astype(np.int64))
    low, high = np.fmin.reduceat(samples, begins), np.fmax.reduceat(samples, begins)
    lines = zip(names[:MOST_CHANNELS], low.T, high.T, strict=False)
    return [{"name": name, "low": _short(lows), "high": _short(highs)} for name, lows, highs in lines]


def _short(values: NDArray[np.float32]) -> list[float | None]:
    """`values` [steps] with five digits; None where none is finite."""
    shortened: list[float | None] = finite([float(f"{value:.5g}") for value in values.tolist()])
    return shortened


def _require_few(values: int) -> None:
    if values > MOST_VALUES:
        raise DasvddError(f"the clip has {values} samples, and a picture is made of {MOST_VALUES} at most")
