"""Recordings without what a monitor would withhold: silence is never normal, on the device or in training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from dasvdd_runtime.errors import DataError
from dasvdd_runtime.fit_parts import fit_parts
from dasvdd_runtime.reading.recording_types import Kind, used_channels

from .config import DataSettings
from .corpus import Corpus, Stretch
from .features import Geometry

MOST_PLACES = 3
"""Silent places of a recording that are named."""


@dataclass(frozen=True)
class TrainingWindows:
    """A `WindowFormat`, before there is a model."""

    kind: Kind
    sample_rate_hz: float
    channels: int
    used_channels: list[int]
    window_samples: int
    window_hop_samples: int


def without_silence(corpus: Corpus, sizes: Geometry, settings: DataSettings) -> tuple[Corpus, list[str]]:
    """`corpus` with its stretches cut where `run` would withhold a window, and a line for each recording that was cut.

    `settings` say what the model listens to and from when on silence counts. Raises DataError where nothing is left.
    """
    windows = TrainingWindows(
        corpus.kind,
        corpus.sample_rate_hz,
        len(corpus.channel_names),
        used_channels(settings.channel_for(corpus.kind), len(corpus.channel_names)),
        sizes.window_samples,
        sizes.window_hop_samples,
    )
    kept: list[Stretch] = []
    places: dict[str, list[tuple[float, float]]] = {}
    seconds: dict[str, float] = {}
    for stretch in corpus.stretches:
        parts = fit_parts(stretch.samples, windows, silent_seconds=settings.silent_seconds)
        kept += [_part(stretch, part, corpus.sample_rate_hz) for part in parts]
        seconds[stretch.name] = seconds.get(stretch.name, 0.0) + len(stretch.samples) / corpus.sample_rate_hz
        for first, end in _between(parts, len(stretch.samples)):
            start_seconds = stretch.start_seconds + first / corpus.sample_rate_hz
            places.setdefault(stretch.name, []).append((start_seconds, (end - first) / corpus.sample_rate_hz))
    lines = [_words(name, seconds[name], found, corpus.kind, settings.silent_seconds) for name, found in places.items()]
    if not kept:
        raise DataError("no recording is left:\n  " + "\n  ".join(lines))
    return replace(corpus, stretches=kept), lines


def _part(stretch: Stretch, part: tuple[int, int], rate_hz: float) -> Stretch:
    if part == (0, len(stretch.samples)):
        return stretch
    return replace(
        stretch, start_seconds=stretch.start_seconds + part[0] / rate_hz, samples=stretch.samples.part(*part)
    )


def _between(parts: Sequence[tuple[int, int]], samples: int) -> list[tuple[int, int]]:
    """What `parts` leave of `samples`."""
    ends, firsts = [0, *(end for _, end in parts)], [*(first for first, _ in parts), samples]
    return [(end, first) for end, first in zip(ends, firsts, strict=True) if end < first]


def _words(name: str, seconds: float, places: Sequence[tuple[float, float]], kind: Kind, silent_seconds: float) -> str:
    starts = [f"{start:.1f} s" for start, _ in places[:MOST_PLACES]]
    more = f" and {len(places) - MOST_PLACES} more places" if len(places) > MOST_PLACES else ""
    left_out = f"{sum(length for _, length in places):.1f} s of {seconds:.1f} s"
    where = f"from {', '.join(starts)} on{more}"
    if kind == "audio":
        return f"{name}: {left_out} are silent ({where}) and are left out"
    return (
        f"{name}: in {left_out} no channel had changed for {silent_seconds:g} s ({where}), and they are left out, as a "
        "monitor would. If that is how the machine runs, raise data.silent_seconds and the monitor's silent_seconds"
    )
