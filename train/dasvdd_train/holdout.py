"""`holdout.npz` beside `model.pt`: held-out windows and scores, for the export's parity check and calibration."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from dasvdd_runtime.errors import ModelError
from dasvdd_runtime.files import write_atomically
from numpy.typing import NDArray

MAX_WINDOWS = 512
MAX_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Holdout:
    """Held-out normal running."""

    windows: NDArray[np.float32]
    """Evenly spaced windows, shape [windows, window_samples, channels]; at most 512 and 64 MiB."""
    window_scores: NDArray[np.float64]
    """Score of each of `windows`, as the trainer computed it: shows whether the model beside it is still that one."""
    streams: list[NDArray[np.float64]]
    """Every held-out score in time order, one array per held-out stretch."""


def evenly_spaced(count: int, *most: int) -> NDArray[np.int64]:
    """Indices of at most the smallest of `most` out of `count` items, evenly spaced, but of at least one."""
    chosen = min(count, max(1, min(most)))
    return np.linspace(0, count - 1, chosen).round().astype(np.int64)


def save_holdout(path: Path, holdout: Holdout) -> None:
    """Write `holdout` to `path`, whole or not at all."""
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        windows=holdout.windows,
        window_scores=holdout.window_scores,
        scores=np.concatenate([*holdout.streams, np.empty(0)]),
        stream_lengths=np.array([len(stream) for stream in holdout.streams], np.int64),
    )
    write_atomically(path, buffer.getvalue())


def load_holdout(path: Path) -> Holdout:
    """Read what `save_holdout` wrote. Raises ModelError for a damaged file."""
    try:
        with np.load(path, allow_pickle=False) as content:
            lengths = content["stream_lengths"]
            if lengths.sum() != len(content["scores"]):
                raise ValueError(f"{len(content['scores'])} scores for streams of {lengths.sum()}")
            streams = np.split(content["scores"], np.cumsum(lengths)[:-1]) if len(lengths) else []
            if len(content["window_scores"]) != len(content["windows"]):
                raise ValueError(f"{len(content['window_scores'])} scores for {len(content['windows'])} windows")
            return Holdout(windows=content["windows"], window_scores=content["window_scores"], streams=streams)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ModelError(
            f"{path}: not readable ({error}). Train again, or remove it and export with --calibration DATA."
        ) from error
