"""The clips in a directory, for commands: which samples of which alarm are where."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .folder import sidecars

ROUNDING = 1e-3
"""Of a millisecond: what arithmetic may have added."""


@dataclass(frozen=True)
class KeptClip:
    """The samples of an alarm's clip."""

    path: Path
    """FLAC or NPZ."""
    pieces: tuple[tuple[float, float, float], ...]
    """What follows without a gap: seconds in the clip and in the stream at which it begins, and its length."""

    def place_of(self, start_seconds: float, end_seconds: float) -> tuple[float, float] | None:
        """Where in the file the longest piece of this part of the stream lies, in whole ms, or None."""
        found = []
        for clip_seconds, stream_seconds, seconds in self.pieces:
            first = max(start_seconds, stream_seconds)
            last = min(end_seconds, stream_seconds + seconds)
            moved = clip_seconds - stream_seconds
            found.append((last - first, first + moved, last + moved))
        _, first, last = max(found, default=(0.0, 0.0, 0.0))
        first, last = math.ceil(1000 * first - ROUNDING) / 1000, math.floor(1000 * last + ROUNDING) / 1000
        return (first, last) if first < last else None


def kept_clips(directory: Path) -> dict[str, KeptClip]:
    """The clips in `directory` that hold samples, by the ids of their alarms. What cannot be read is passed over."""
    clips = {}
    for alarm, path in sidecars(directory).items():
        try:
            described = json.loads(path.read_bytes())
            data = _data(path, described)
            pieces = [(p["clip_seconds"], p["stream_seconds"], p["seconds"]) for p in described["pieces"]]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if data is not None:
            clips[alarm] = KeptClip(data, tuple(pieces))
    return clips


def _data(sidecar: Path, described: dict[str, Any]) -> Path | None:
    """The file beside `sidecar`, if it is there."""
    name = described["file"]
    if name is None or Path(name).stem != sidecar.stem:
        return None
    path = sidecar.with_name(name)
    return path if path.is_file() else None
