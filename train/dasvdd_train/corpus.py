"""Recordings -> stretches of samples at one rate, with a role each; what cannot be used is named with its reason."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from dasvdd_runtime.contract import UNIT_NOT_STATED
from dasvdd_runtime.errors import DataError
from dasvdd_runtime.reading.manifest import Role, Segment
from dasvdd_runtime.reading.quality import Quality
from dasvdd_runtime.reading.recording_types import RATE_TOLERANCE, Kind, used_channels
from dasvdd_runtime.recordings import (
    RecordingError,
    TableFormat,
    is_audio,
    open_pieces,
    resampled,
)
from dasvdd_runtime.words import count
from numpy.typing import NDArray

from .config import DataSettings
from .sample_store import SampleStore, StoredSamples

MOST_NAMED = 3
"""Recordings that are named where more have the same fault."""


@dataclass(frozen=True)
class Stretch:
    """A continuous piece of one recording."""

    name: str
    """Path of the recording, with the part's start where it is not the beginning."""
    role: Role
    machine: str
    condition: str
    start_seconds: float
    """Where the stretch starts in its recording."""
    samples: StoredSamples
    """Shape [samples, channels], at the corpus' rate; full scale 1.0 or the sensor's unit."""


@dataclass(frozen=True)
class Corpus:
    """All stretches of a run, and what was said about the recordings while reading them."""

    kind: Kind
    sample_rate_hz: float
    channel_names: tuple[str, ...]
    units: tuple[str, ...]
    stretches: list[Stretch]
    rejected: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    upsampled: list[str] = field(default_factory=list)
    """Recordings of a lower rate than the corpus': what they lack, and what to do."""

    def with_role(self, *roles: Role) -> list[Stretch]:
        """The stretches of these roles, in order."""
        return [stretch for stretch in self.stretches if stretch.role in roles]

    def seconds_of(self, stretches: Sequence[Stretch]) -> float:
        """How long `stretches` are together."""
        return sum(len(stretch.samples) for stretch in stretches) / self.sample_rate_hz


def load_corpus(
    segments: Sequence[Segment],
    settings: DataSettings,
    *,
    folder: Path | None = None,
    on_segment: Callable[[Segment], None] = lambda _: None,
) -> Corpus:
    """Read every segment, check it, and resample it to one rate (`settings`', or the one that most usable ones have).

    A segment that cannot be used goes to `rejected` with the reason; one that is to be tested may be clipped, which
    goes to `notes`. Raises DataError if audio and tables are mixed, if nothing usable is left, or, with
    `settings.strict`, at the first segment that cannot be used.

    The samples lie in a temporary file in `folder` (default: the system's), never whole in memory.
    """
    kind = _kind(segments)
    store = SampleStore(folder)
    read: list[_Recording] = []
    refused: list[RecordingError] = []
    notes: list[str] = []
    same: dict[bytes, Path] = {}
    for segment in segments:
        on_segment(segment)
        try:
            pieces, found, content = _read(segment, settings, kind, store)
        except RecordingError as error:
            if settings.strict:
                raise
            refused.append(error)
            continue
        read += pieces
        notes += found
        twin = same.setdefault(content, segment.path)
        if twin != segment.path:
            notes.append(f"{segment.path}: holds the same samples as {twin}, which so count twice: leave one out")
    if not read:
        raise DataError("no usable recording:\n  " + "\n  ".join(by_reason(refused)))

    channels = Counter(recording.channel_names for recording in read).most_common(1)[0][0]
    usable = [recording for recording in read if recording.channel_names == channels]
    rate_hz = settings.sample_rate_hz or Counter(recording.sample_rate_hz for recording in usable).most_common(1)[0][0]
    stretches = []
    upsampled: list[RecordingError] = []
    for recording in read:
        segment = recording.segment
        if recording.channel_names != channels:
            misfit = RecordingError(
                segment.path,
                f"it has {count(len(recording.channel_names), 'channel')} ({_names(recording.channel_names)}), most "
                f"recordings have {len(channels)} ({_names(channels)}){_layout_advice(kind, len(channels))}",
            )
            if settings.strict:
                raise misfit
            refused.append(misfit)
            continue
        samples = recording.samples
        if not _same_rate(recording, rate_hz):
            if recording.sample_rate_hz < rate_hz:
                upsampled.append(RecordingError(segment.path, _upsampled(recording.sample_rate_hz, rate_hz)))
            else:
                notes.append(f"{segment.path}: resampled from {recording.sample_rate_hz:g} Hz to {rate_hz:g} Hz")
            blocks = resampled(samples.blocks(), recording.sample_rate_hz, rate_hz, len(channels))
            samples = store.add(blocks, channels=len(channels))
        stretches.append(_stretch(segment, samples, recording.start_seconds))
    if settings.units and len(settings.units) != len(channels):
        raise DataError(f"{len(settings.units)} units for {len(channels)} channels ({_names(channels)})")
    units = settings.units or tuple("full scale" if kind == "audio" else _unit_in(name) for name in channels)
    return Corpus(kind, rate_hz, channels, units, stretches, by_reason(refused), notes, by_reason(upsampled))


def by_reason(errors: Sequence[RecordingError]) -> list[str]:
    """`errors` as lines: one for each recording, or for each reason that more than a few have in common."""
    paths: dict[str, list[Path]] = {}
    for error in errors:
        paths.setdefault(error.reason, []).append(error.path)
    lines = []
    for reason, named in paths.items():
        if len(named) > MOST_NAMED:
            shown = ", ".join(map(str, named[:MOST_NAMED]))
            lines.append(f"{len(named)} recordings, {shown} and more: {reason}")
        else:
            lines += [f"{path}: {reason}" for path in named]
    return lines


def seconds_by_recording(stretches: Sequence[Stretch], sample_rate_hz: float) -> dict[str, float]:
    """How long `stretches` are, those of one name together."""
    seconds: dict[str, float] = {}
    for stretch in stretches:
        seconds[stretch.name] = seconds.get(stretch.name, 0.0) + len(stretch.samples) / sample_rate_hz
    return seconds


def fingerprint(stretches: Sequence[Stretch]) -> str:
    """SHA-256 over the samples of `stretches`, hex."""
    digest = hashlib.sha256()
    for stretch in stretches:
        for block in stretch.samples.blocks():
            digest.update(np.ascontiguousarray(block, "<f4").tobytes())
    return digest.hexdigest()


def _kind(segments: Sequence[Segment]) -> Kind:
    audio = [segment for segment in segments if is_audio(segment.path)]
    if audio and len(audio) < len(segments):
        other = next(segment for segment in segments if not is_audio(segment.path))
        raise DataError(f"audio ({audio[0].path}) and tables ({other.path}) cannot train one model: give one kind")
    return "audio" if audio else "sensor"


@dataclass(frozen=True)
class _Recording:
    """A segment as it was read, at its own rate."""

    segment: Segment
    sample_rate_hz: float
    rate_is_measured: bool
    channel_names: tuple[str, ...]
    start_seconds: float
    samples: StoredSamples


def _same_rate(recording: _Recording, rate_hz: float) -> bool:
    """A rate measured from the times of rows varies a little from file to file; that is no reason to resample."""
    tolerance = RATE_TOLERANCE if recording.rate_is_measured else 0.0
    return abs(recording.sample_rate_hz / rate_hz - 1) <= tolerance


def _read(
    segment: Segment, settings: DataSettings, kind: Kind, store: SampleStore
) -> tuple[list[_Recording], list[str], bytes]:
    """The samples of `segment` in `store`, by pieces between gaps, notes about them, and a digest of all of them.

    Raises RecordingError if they are no good.
    """
    opened = open_pieces(
        segment.path,
        start_seconds=segment.start_seconds,
        end_seconds=segment.end_seconds,
        table=TableFormat(settings.sample_rate_hz, settings.columns, settings.time_column),
    )
    names = opened[0].channel_names
    used = used_channels(settings.channel_for(kind), len(names))
    quality = Quality(kind, tuple(names[channel] for channel in used))

    digest = hashlib.sha256()

    def judged(blocks: Iterator[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
        for block in blocks:
            quality.add(block[:, used])
            digest.update(np.ascontiguousarray(block, "<f4").tobytes())
            yield block

    pieces = [
        _Recording(
            segment,
            piece.sample_rate_hz,
            piece.rate_is_measured,
            names,
            piece.start_seconds,
            store.add(judged(piece.blocks), channels=len(names)),
        )
        for piece in opened
    ]
    notes = [f"{segment.path}: {opened[0].note}"] if opened[0].note else []
    fault = quality.fault()
    if fault and not (fault.startswith("clipped") and segment.role.startswith("test_")):
        raise RecordingError(segment.path, fault)
    if fault:
        notes.append(f"{segment.path}: {fault} It is tested all the same: a fault may be loud.")
    return pieces, notes, digest.digest()


def _stretch(segment: Segment, samples: StoredSamples, start_seconds: float) -> Stretch:
    part = f" from {segment.start_seconds:g} s" if segment.start_seconds else ""
    return Stretch(
        name=f"{segment.path}{part}",
        role=segment.role,
        machine=segment.machine,
        condition=segment.condition,
        start_seconds=start_seconds,
        samples=samples,
    )


def _layout_advice(kind: Kind, channels: int) -> str:
    """How a recording with other channels becomes one with `channels`, or how to avoid it."""
    if kind == "audio" and channels == 1:
        return ". `ffmpeg -i IN.wav -ac 1 OUT.wav` makes it mono"
    return ". One model takes one layout: record all alike"


def _upsampled(from_hz: float, to_hz: float) -> str:
    return (
        f"resampled from {from_hz:g} Hz to {to_hz:g} Hz, so that nothing above {from_hz / 2:g} Hz is in it: silence "
        f"there is learnt as healthy, and a fault there is seen less well. Record at {to_hz:g} Hz, leave it out, or "
        f"train at its rate: --rate {from_hz:g}"
    )


def _unit_in(name: str) -> str:
    """'g' of the column name 'acceleration [g]'."""
    found = re.search(r"[\[(]([^\])]+)[\])]\s*$", name)
    return found[1].strip() if found else UNIT_NOT_STATED


def _names(channels: tuple[str, ...]) -> str:
    return ", ".join(channels)
