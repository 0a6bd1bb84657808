"""`holdout.npz` beside `model.pt`: held-out windows and scores, for the export's parity check and calibration."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from dasvdd_runtime.errors import ModelError
from dasvdd_runtime.files import write_atomically
from dasvdd_runtime.reading.arrays import DAMAGE
from numpy.typing import NDArray

MAX_WINDOWS = 512
MAX_BYTES = 64 * 2**20
MAX_TEST_WINDOWS = 256
MAX_TEST_BYTES = 16 * 2**20
"""Of each class."""


@dataclass(frozen=True)
class LabelledWindows:
    """Windows of the recordings that were to be tested."""

    normal: NDArray[np.float32]
    """Shape [windows, window_samples, channels]; at most 256 and 16 MiB, evenly spaced."""
    anomalous: NDArray[np.float32]
    """Likewise."""


@dataclass(frozen=True)
class Holdout:
    """Held-out normal running."""

    windows: NDArray[np.float32]
    """Evenly spaced windows, shape [windows, window_samples, channels]; at most 512 and 64 MiB."""
    window_scores: NDArray[np.float64]
    """Score of each of `windows`, as the trainer computed it: shows whether the model beside it is still that one."""
    streams: list[NDArray[np.float64]]
    """Every held-out score in time order, one array per held-out stretch."""
    labelled: LabelledWindows | None = None
    """None where the training was given no labelled recordings of both classes."""

    @property
    def window_positions(self) -> NDArray[np.int64]:
        """Where the scores of `windows` stand in the joined `streams`."""
        return evenly_spaced(sum(map(len, self.streams)), len(self.windows))


def evenly_spaced(count: int, *most: int) -> NDArray[np.int64]:
    """Indices of at most the smallest of `most` out of `count` items, evenly spaced, but of at least one."""
    chosen = min(count, max(1, min(most)))
    return np.linspace(0, count - 1, chosen).round().astype(np.int64)


def save_holdout(path: Path, holdout: Holdout) -> None:
    """Write `holdout` to `path`, whole or not at all."""
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {
        "windows": holdout.windows,
        "window_scores": holdout.window_scores,
        "scores": np.concatenate([*holdout.streams, np.empty(0)]),
        "stream_lengths": np.array([len(stream) for stream in holdout.streams], np.int64),
    }
    if holdout.labelled:
        arrays |= {"test_normal": holdout.labelled.normal, "test_anomalous": holdout.labelled.anomalous}
    np.savez_compressed(buffer, **arrays)
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
            labelled = "test_normal" in content and LabelledWindows(content["test_normal"], content["test_anomalous"])
            return Holdout(content["windows"], content["window_scores"], streams, labelled or None)
    except DAMAGE as error:
        raise ModelError(
            f"{path}: not readable ({error}). Train again, or remove it and export with --calibration DATA."
        ) from error
