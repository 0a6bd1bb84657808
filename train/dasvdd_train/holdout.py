"""`holdout.npz` beside `model.pt`: held-out windows and scores, for the export's parity check and calibration."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from dasvdd_runtime.errors import ModelError
from dasvdd_runtime.files import write_atomically
from dasvdd_runtime.reading.arrays import DAMAGE
from numpy.typing import NDArray

from .spacing import evenly_spaced

MAX_WINDOWS = 512
MAX_BYTES = 64 * 2**20
MAX_TEST_WINDOWS = 256
MAX_TEST_BYTES = 16 * 2**20
"""Of each class."""
MOST_BYTES = 2**30
"""Of a file's arrays; several times what a training keeps."""
ARRAYS = {
    "windows": ("f", 3),
    "window_scores": ("f", 1),
    "scores": ("f", 1),
    "stream_lengths": ("i", 1),
    "test_normal": ("f", 3),
    "test_anomalous": ("f", 3),
}
"""Kind of number and dimensions of each array of a file."""


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
        arrays = _read_arrays(path)
        lengths, scores, windows = arrays["stream_lengths"], arrays["scores"], arrays["windows"]
        if (lengths < 0).any() or lengths.sum() != len(scores):
            raise ValueError(f"{len(scores)} scores for streams of {lengths.sum()}")
        streams = np.split(scores, np.cumsum(lengths)[:-1]) if len(lengths) else []
        if len(arrays["window_scores"]) != len(windows):
            raise ValueError(f"{len(arrays['window_scores'])} scores for {len(windows)} windows")
        labelled = None
        if "test_normal" in arrays:
            labelled = LabelledWindows(arrays["test_normal"], arrays["test_anomalous"])
            if not windows.shape[1:] == labelled.normal.shape[1:] == labelled.anomalous.shape[1:]:
                raise ValueError("the labelled windows have another shape than the others")
        return Holdout(windows, arrays["window_scores"], streams, labelled)
    except DAMAGE as error:
        raise ModelError(
            f"{path}: not readable ({error}). Train again, or remove it and export with --calibration DATA."
        ) from error


def _read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a file by name.

    Raises what numpy does for a damaged one, and ValueError for one that is no array of finite numbers of its kind.
    """
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
    if unpacked > MOST_BYTES:
        raise ValueError(f"it unpacks to {unpacked} bytes, and at most {MOST_BYTES} are read")
    arrays = dict[str, NDArray[Any]]()
    with np.load(path, allow_pickle=False) as content:
        for name in ARRAYS.keys() & set(content.files):
            values = content[name]  # bytes where the file in the archive is no array
            if not isinstance(values, np.ndarray) or (values.dtype.kind, values.ndim) != ARRAYS[name]:
                raise ValueError(f"{name} is no array of {ARRAYS[name][1]} dimension(s) as training writes it")
            if not np.isfinite(values).all():
                raise ValueError(f"{name} holds numbers that are not finite")
            arrays[name] = values
    return arrays
