"""A clip's samples -> what the page draws of them: levels in third octaves, or a line a channel."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DasvddError
from ..events import finite
from ..evidence.bands import BandLevels
from ..evidence.rows import AUDIO_STEP_SECONDS
from ..reading.arrays import DAMAGE

MOST_STEPS = 480
"""Columns of a picture: a step lasts longer in a longer clip."""
MOST_CHANNELS = 16
MOST_VALUES = 40_000_000
"""Samples through all channels of a clip of which a picture is made: 40 minutes of a 16 kHz microphone."""
BLOCK_VALUES = 100_000


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
    except DAMAGE as error:
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
        with archive.open("channel_names.npy") as file:
            names = [str(name) for name in np.lib.format.read_array(file, allow_pickle=False)]
        with archive.open("samples.npy") as file:
            low, high = _extremes(file)
    lines = zip(names[:MOST_CHANNELS], low.T, high.T, strict=False)
    return [{"name": name, "low": _short(lows), "high": _short(highs)} for name, lows, highs in lines]


def _extremes(file: IO[bytes]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Least and greatest value of each step [steps, channels] of the float32 rows in the `.npy` stream `file`.

    Reads a step at a time, so that a long clip takes no more memory. NaN where no value of a step is a number.
    """
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError("another version of NumPy's format than 1.0")
    (rows, channels), by_columns, dtype = np.lib.format.read_array_header_1_0(file)
    if by_columns or dtype != np.float32:
        raise ValueError(f"{dtype} is not float32 in rows")
    _require_few(rows * channels)
    ends = np.linspace(0, rows, min(MOST_STEPS, rows) + 1).astype(np.int64)
    low = np.empty((len(ends) - 1, channels), np.float32)
    high = low.copy()
    for step, count in enumerate(np.diff(ends).tolist()):
        values = np.frombuffer(file.read(4 * count * channels), np.float32).reshape(count, channels)
        low[step], high[step] = np.fmin.reduce(values), np.fmax.reduce(values)
    return low, high


def _short(values: NDArray[np.float32]) -> list[float | None]:
    """`values` [steps] with five digits; None where none is finite."""
    shortened: list[float | None] = finite([float(f"{value:.5g}") for value in values.tolist()])
    return shortened


def _require_few(values: int) -> None:
    if values > MOST_VALUES:
        raise DasvddError(f"the clip has {values} samples, and a picture is made of {MOST_VALUES} at most")
