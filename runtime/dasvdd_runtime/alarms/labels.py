"""Judged alarms -> parts of recordings with a role, for a manifest. Pure, but for asking how long recordings are."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ..errors import DasvddError
from ..evidence.kept import KeptClip
from ..files import file_name
from ..reading.audio_files import read_audio_header
from ..reading.manifest import Role, Segment, end_of
from .book import Alarm, AlarmState

ROLES: dict[str | None, Role] = {"false": "train", "real": "test_anomalous"}
"""What a verdict makes of a sound. A false alarm is a healthy machine that the model does not know yet; a fault must
never be trained on, but a new model can be tested with it."""
_STAMP = re.compile(r"-(\d{8}T\d{6}\.\d{3})Z$")
"""How `dasvdd-monitor record` ends the names of its files."""


@dataclass(frozen=True)
class Recorded:
    """A file of `dasvdd-monitor record`: when it was recorded."""

    path: Path
    name: str
    """What its name begins with: the source."""
    start: datetime
    seconds: float


@dataclass(frozen=True)
class Labels:
    """What a manifest can hold of the alarms, and what it cannot."""

    segments: list[Segment]
    left_out: list[tuple[Alarm, str]]
    """Alarms without a segment, and why."""


def find_recorded(folder: Path) -> list[Recorded]:
    """The files that `dasvdd-monitor record` wrote into `folder`, known by their names; others are passed over."""
    return recorded_among(sorted(folder.rglob("*.wav")))


def recorded_among(paths: Iterable[Path]) -> list[Recorded]:
    """Those of `paths` that `dasvdd-monitor record` wrote, known by their names."""
    found = []
    for path in paths:
        stamp = _STAMP.search(path.stem)
        if stamp is None:
            continue
        start = datetime.strptime(stamp[1], "%Y%m%dT%H%M%S.%f").replace(tzinfo=UTC)
        try:
            found.append(Recorded(path, path.stem[: stamp.start()], start, read_audio_header(path).seconds))
        except DasvddError:
            continue
    return found


def labels_of(
    alarms: Iterable[Alarm], recorded: Sequence[Recorded], clips: Mapping[str, KeptClip] | None = None
) -> Labels:
    """The segments of `alarms`, newest first; where two overlap, the newest verdict holds.

    Those of a replay lie in the file that was replayed; those of a live source in its clip (`clips`, by the alarm's
    id), which may hold its beginning only, or else in one of `recorded`, placed by the wall clock.
    """
    segments: list[Segment] = []
    left_out: list[tuple[Alarm, str]] = []
    for alarm in alarms:
        if alarm.verdict not in ROLES:
            left_out.append((alarm, "no verdict that says what it was"))
            continue
        segment = _segment(alarm, recorded, (clips or {}).get(alarm.id))
        if isinstance(segment, str):
            left_out.append((alarm, segment))
        elif any(_overlap(segment, other) for other in segments):
            left_out.append((alarm, "a newer alarm covers the same part of the recording"))
        else:
            segments.append(segment)
    return Labels(segments, left_out)


def perhaps_faulty(
    alarms: Iterable[Alarm], recorded: Sequence[Recorded], clips: Mapping[str, KeptClip] | None = None
) -> list[tuple[Segment, str]]:
    """The parts of recordings that may hold a fault, each with the reason: in them fell an alarm not judged false.

    Of a live source's alarm that is the whole of its clip, and of each of `recorded` that it touches by the wall clock.
    """
    found = []
    for alarm in alarms:
        if alarm.verdict == "false":
            continue
        why = _why_not_trained(alarm)
        if alarm.recording is not None:
            found.append((Segment(Path(alarm.recording), alarm.start_seconds, alarm.end_seconds), why))
        if (clip := (clips or {}).get(alarm.id)) is not None:
            found.append((Segment(clip.path), why))
        found += [(Segment(file.path), why) for file in recorded if _fell_in(alarm, file)]
    return found


def with_recordings(
    labels: Labels, recordings: Iterable[Segment], faulty: Collection[tuple[Segment, str]]
) -> tuple[list[Segment], list[tuple[Path, str]]]:
    """The labels and `recordings` as one manifest, and the recordings that are left out, with why.

    Left out is what overlaps one of `faulty`, the parts that may hold a fault, unless it is there to test with. Of a
    false alarm within a recording that trains, the recording is enough. The machine is that of the labels, where they
    name one.
    """
    machines = {segment.machine for segment in labels.segments}
    machine = machines.pop() if len(machines) == 1 else ""
    kept: list[Segment] = []
    left_out: list[tuple[Path, str]] = []
    for recording in recordings:
        reasons = [why for part, why in faulty if _overlap(part, recording)]
        if reasons and recording.role != "test_anomalous":
            left_out.append((recording.path, reasons[0]))
        else:
            kept.append(recording if recording.machine else replace(recording, machine=machine))
    alone = [label for label in labels.segments if not any(_overlap(label, recording) for recording in kept)]
    return [*alone, *kept], left_out


def _why_not_trained(alarm: Alarm) -> str:
    if alarm.verdict == "real":
        return "a real alarm is in it"
    judged = "nobody has judged" if alarm.verdict is None else f"was judged {alarm.verdict}"
    return (
        f"an alarm that {judged} is in it, and a fault would be learnt as healthy. If it was healthy: "
        f"`dasvdd-monitor ack {alarm.id} --verdict false`"
    )


def _fell_in(alarm: Alarm, file: Recorded) -> bool:
    """True where `alarm` touches `file` by the wall clock; an active one lasts, one that was broken off is its rise."""
    begin, end = alarm.raised_at, alarm.ended_at
    if end is None:
        end = datetime.max.replace(tzinfo=UTC) if alarm.state is AlarmState.ACTIVE else begin
    elif alarm.end_seconds is not None:
        begin = end - timedelta(seconds=alarm.end_seconds - alarm.start_seconds)
    last = file.start + timedelta(seconds=file.seconds)
    return file.name == file_name(alarm.source) and begin <= last and file.start <= end


def _segment(alarm: Alarm, recorded: Sequence[Recorded], clip: KeptClip | None) -> Segment | str:
    """The part of a recording that `alarm` covers, or why there is none."""
    if alarm.end_seconds is None:
        return "it is not over, or its monitor was killed while it lasted"
    in_clip = None if clip is None else clip.place_of(alarm.start_seconds, alarm.end_seconds)
    if alarm.recording is not None and Path(alarm.recording).is_file():
        path, start_seconds, end_seconds = Path(alarm.recording), alarm.start_seconds, alarm.end_seconds
    elif clip is not None and in_clip is not None:
        path, start_seconds, end_seconds = clip.path, *in_clip
    elif alarm.recording is not None:
        return f"the recording {alarm.recording} is not there any more"
    elif (found := _in_recorded(alarm, recorded)) is not None:
        path, start_seconds, end_seconds = found
    else:
        return (
            'no recording holds it: [evidence] mode = "audio" keeps the samples of an alarm, and `dasvdd-monitor '
            "record` beside the monitor all of them"
        )
    return Segment(
        path=path,
        start_seconds=round(start_seconds, 3),
        end_seconds=round(end_seconds, 3),
        role=ROLES[alarm.verdict],
        machine=alarm.source,
        note=alarm.note or f"alarm judged {alarm.verdict}",
    )


def _in_recorded(alarm: Alarm, recorded: Sequence[Recorded]) -> tuple[Path, float, float] | None:
    """The file that holds the whole of a live source's alarm, with start and end in seconds."""
    assert alarm.end_seconds is not None
    if alarm.ended_at is None:
        return None
    begin = alarm.ended_at - timedelta(seconds=alarm.end_seconds - alarm.start_seconds)
    for file in recorded:
        start_seconds = (begin - file.start).total_seconds()
        end_seconds = (alarm.ended_at - file.start).total_seconds()
        if file.name == file_name(alarm.source) and start_seconds >= 0 and end_seconds <= file.seconds:
            return file.path, start_seconds, end_seconds
    return None


def _overlap(one: Segment, other: Segment) -> bool:
    same = one.path.resolve() == other.path.resolve()
    return same and one.start_seconds < end_of(other) and other.start_seconds < end_of(one)
