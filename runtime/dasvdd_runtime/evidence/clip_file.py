"""One clip on its way to the disk: written under a temporary name, whole before its sidecar lists it."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np

from ..errors import DasvddError
from ..events import finite
from ..files import write_atomically
from .bands import BandLevels
from .folder import EvidenceFolder
from .rows import Rows


@dataclass(frozen=True)
class ClipFormat:
    """How a source's clips are kept."""

    suffix: str
    """`.flac`, `.npz`, or "" for band levels in the sidecar."""
    sample_rate_hz: float
    channel_names: tuple[str, ...]
    """Of the columns; with band levels, of the channels that the model uses."""
    bands: BandLevels | None = None


class _Data(Protocol):
    """Takes rows; `finish` makes them durable."""

    def append(self, rows: Rows) -> None:
        """Rows that follow, whatever lies between them in the stream."""

    def finish(self) -> None:
        """Write out what is buffered. Raises OSError or DasvddError where not all of it is on the disk."""


class ClipFile:
    """A clip. Only the writer's thread calls it."""

    def __init__(self, folder: EvidenceFolder, stem: str, format: ClipFormat) -> None:
        self._folder = folder
        self._format = format
        self._sidecar = folder.directory / f"{stem}.json"
        self._path = folder.directory / f"{stem}{format.suffix}"
        self._partial = folder.directory / f".{stem}{format.suffix}.partial"
        self._levels: list[Rows] = []
        self._data: _Data | None = None
        self._finished = False

    def append(self, rows: Rows) -> None:
        """Rows that follow. Raises OSError or DasvddError if the disk does not take them."""
        if not self._format.suffix:
            self._levels.append(rows)
            return
        if self._data is None:
            self._folder.make_room(0)
            make = _Flac if self._format.suffix == ".flac" else _Npz
            self._data = make(self._partial, self._format)
        self._data.append(rows)

    def note(self, described: dict[str, Any]) -> None:
        """There are no more rows. Write the sidecar `described`, or write it anew; from then on the clip is listed."""
        if self._format.suffix:
            self._finish_data()
        described = {**described, "file": self._path.name if self._format.suffix else None, **self._spectrogram()}
        content = json.dumps(finite(described), ensure_ascii=False, allow_nan=False).encode()
        if not self._format.suffix:
            self._folder.make_room(len(content))
        write_atomically(self._sidecar, content)
        self._folder.put_last(self._sidecar)

    def discard(self) -> None:
        """Remove everything of the clip. Does not raise."""
        self._data = None
        self._levels = []
        for path in (self._sidecar, self._path, self._partial):
            try:
                path.unlink(missing_ok=True)
            except OSError:
                continue

    def _finish_data(self) -> None:
        if self._finished:
            if not self._path.exists():
                raise DasvddError("it was removed while the alarm lasted, to keep within the bounds of [evidence]")
            return
        if self._data is None:
            raise DasvddError("no samples arrived")
        self._data.finish()
        self._folder.make_room(self._partial.stat().st_size)
        self._partial.replace(self._path)
        self._finished = True

    def _spectrogram(self) -> dict[str, Any]:
        if (bands := self._format.bands) is None:
            return {}
        channels = len(self._format.channel_names)
        rows = np.concatenate(self._levels or [np.empty((0, channels * bands.count), np.float32)])
        levels = np.round(rows.astype(np.float64), 1).reshape(len(rows), channels, bands.count).swapaxes(0, 1)
        edges = [round(edge, 2) for edge in bands.edges_hz]
        return {"spectrogram": {"step_seconds": bands.step_seconds, "edges_hz": edges, "levels_db": levels.tolist()}}


class _Flac:
    """16-bit FLAC; read back to its end, since libsndfile hides some faults of a full disk."""

    def __init__(self, path: Path, format: ClipFormat) -> None:
        import soundfile

        self._path = path
        self._frames = 0
        path.touch()  # libsndfile would not say why it cannot
        self._file = soundfile.SoundFile(
            str(path), "w", round(format.sample_rate_hz), len(format.channel_names), "PCM_16", format="FLAC"
        )

    def append(self, rows: Rows) -> None:
        import soundfile

        try:
            self._file.write(rows)
        except (soundfile.SoundFileError, AssertionError) as error:  # libsndfile does not say why
            free = shutil.disk_usage(self._path.parent).free
            raise DasvddError(f"the disk does not take it, {free} bytes are free ({error})") from error
        self._frames += len(rows)

    def finish(self) -> None:
        from ..reading.audio_files import read_audio_header

        self._file.close()
        with self._path.open("rb") as file:
            os.fsync(file.fileno())
        if (found := read_audio_header(self._path).frames) != self._frames:
            raise DasvddError(f"{found} of {self._frames} samples are in the file: is the disk full?")


class _Npz:
    """float32 rows as they are, in NumPy's archive as `dasvdd-train` reads it. Bare until the end is known."""

    def __init__(self, path: Path, format: ClipFormat) -> None:
        self._path = path
        self._format = format
        self._bare: BinaryIO = path.open("w+b")

    def append(self, rows: Rows) -> None:
        self._bare.write(rows.tobytes())

    def finish(self) -> None:
        self._bare.flush()
        columns = len(self._format.channel_names)
        samples = np.memmap(self._bare, np.float32, mode="r").reshape(-1, columns)
        self._bare.close()
        self._path.unlink()  # the map stays
        with self._path.open("xb") as file:
            np.savez_compressed(
                file,
                samples=samples,
                sample_rate_hz=np.float64(self._format.sample_rate_hz),
                channel_names=np.array(self._format.channel_names),
            )
            file.flush()
            os.fsync(file.fileno())
