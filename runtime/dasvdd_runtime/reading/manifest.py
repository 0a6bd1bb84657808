"""Which parts of which recordings, and what for: a folder, one file, or a manifest CSV."""

from __future__ import annotations

import csv
import math
import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from ..errors import DataError, InputMissing, nearest
from ..recordings import AUDIO_SUFFIXES, TABLE_SUFFIXES, RecordingError, is_audio, is_table
from ..words import count
from .recording_types import operating_system_faults
from .tables import sniff_delimiter

Role = Literal["train", "holdout", "test_normal", "test_anomalous"]
ROLES: tuple[Role, ...] = get_args(Role)
COLUMNS = ("path", "start_seconds", "end_seconds", "role", "machine", "condition", "note")
"""Columns of a manifest, in any order; only `path` must be there."""
_HEADER_CHARACTERS = 4096
_UNREAD_AUDIO = (".mp3", ".m4a", ".aac", ".wma", ".opus", ".aif", ".aiff", ".amr", ".caf", ".mp4")
"""Suffixes of sound that a person would expect to be read, and that is not."""


@dataclass(frozen=True)
class Segment:
    """A part of a recording and its use."""

    path: Path
    start_seconds: float = 0.0
    """Start of the part in the file."""
    end_seconds: float | None = None
    """End of the part in the file; None = the file's end."""
    role: Role = "train"
    machine: str = ""
    """Which machine, for people."""
    condition: str = ""
    """Operating point or fault, for people; the evaluation is grouped by it and by the machine."""
    note: str = ""
    """What somebody said of it, for people alone."""


def is_manifest(path: str | Path) -> bool:
    """True for a .csv file whose first line has a column `path`."""
    path = Path(path)
    if path.suffix.lower() != ".csv" or not path.is_file():
        return False
    with operating_system_faults(path), path.open(encoding="utf-8-sig", errors="replace") as file:
        line = file.readline(_HEADER_CHARACTERS)
    return "path" in _cells(line, sniff_delimiter(line))


def read_manifest(path: str | Path, *, role: Role = "train") -> list[Segment]:
    """Segments of the manifest CSV at `path`, in its order; paths are relative to the manifest's folder.

    `role` is that of rows which name none. Raises InputMissing if the manifest or a recording that it names is not
    there, and DataError, with line and column, for an unknown column or role, a time that is not a number of seconds, a
    part that is empty, and a manifest without rows.
    """
    path = Path(path)
    if not path.is_file():
        raise InputMissing(f"{path}: there is no such manifest. Check the path.")
    with operating_system_faults(path), path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        first_line = file.readline(_HEADER_CHARACTERS)
        file.seek(0)
        reader = csv.reader(file, delimiter=sniff_delimiter(first_line), skipinitialspace=True)
        try:
            rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if any(map(str.strip, row))]
        except csv.Error as error:
            raise DataError(f"{path}, line {reader.line_num}: {error}. Save the manifest as CSV in UTF-8.") from error
    if not rows:
        raise DataError(f"{path}: the manifest is empty. Its first line names the columns: {','.join(COLUMNS)}.")
    columns = rows[0][1]
    _check_columns(path, columns)
    if len(rows) == 1:
        raise DataError(f"{path}: the manifest names no recording. Add a line per recording, or per part of one.")
    return [_segment(path, number, _named(path, number, columns, cells), role) for number, cells in rows[1:]]


def find_segments(data: str | Path, *, role: Role = "train") -> list[Segment]:
    """The segments that `data` stands for: a folder (any depth, sorted by name), one recording, or a manifest.

    Files and folders whose names begin with a dot are passed over. Raises InputMissing if `data` is not there or holds
    no recording; DataError for a folder that holds both audio and tables, or a manifest (which must be given itself).
    """
    data = Path(data)
    if not data.exists():
        raise InputMissing(f"{data}: there is no such file or folder. Check the path.")
    if is_manifest(data):
        return read_manifest(data, role=role)
    if data.is_dir():
        return [Segment(path, role=role) for path in _recordings_in(data)]
    if is_audio(data) or is_table(data):
        return [Segment(data, role=role)]
    refuse_unread_sound(data)
    raise RecordingError(data, f"this is neither a recording ({_suffixes()}) nor a manifest nor a folder of recordings")


def passed_over(data: Path) -> str:
    """Sentences about the sound in the folder `data` that cannot be read; empty where there is none."""
    if not data.is_dir():
        return ""
    unread = _unread_in(data)
    converted = f"{data}: {_convert_words(unread)}" if unread else ""
    return " ".join(filter(None, (converted, _closed_words(data))))


def refuse_unread_sound(path: Path) -> None:
    """Raises RecordingError for a file of sound of a kind that is not read, with the command that converts it."""
    if path.suffix.lower() in _UNREAD_AUDIO:
        raise RecordingError(path, _convert_words([path]))


def files_below(folder: Path, suits: Callable[[Path], bool]) -> list[Path]:
    """The files in `folder`, at any depth, that `suits` takes, sorted by name; those with a dot before it are left out.

    So are those in folders with one.
    """
    found = [path for path in folder.rglob("*") if suits(path) and path.is_file() and not _is_hidden(path, folder)]
    return sorted(found, key=lambda path: path.relative_to(folder).parts)


def _unread_in(folder: Path) -> list[Path]:
    return files_below(folder, lambda path: path.suffix.lower() in _UNREAD_AUDIO)


def _closed_words(folder: Path) -> str:
    """About the folders in `folder` that may not be opened; empty where there is none."""
    faults: list[OSError] = []
    for _ in os.walk(folder, onerror=faults.append):
        pass
    if not faults:
        return ""
    first = f"{faults[0].filename} ({faults[0].strerror})"
    closed = f"{count(len(faults), 'folder')} cannot be opened, {first}"
    return f"{closed}: recordings in there are left out, unless you make them readable."


def _is_hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def _convert_words(unread: Sequence[Path]) -> str:
    kinds = ", ".join(sorted({path.suffix.lower() for path in unread}))
    return (
        f"{count(len(unread), 'file')} of a kind that is not read ({kinds}). Convert them, for instance "
        f"ffmpeg -i {shlex.quote(unread[0].name)} {shlex.quote(unread[0].with_suffix('.wav').name)}, and record as "
        "WAV or FLAC: what MP3 and its like leave out may be the fault."
    )


def check_apart(segments: Sequence[Segment]) -> None:
    """Raises DataError where the same samples have two roles: what was trained on can neither test nor calibrate."""
    furthest: dict[tuple[Path, Role], Segment] = {}  # of the parts so far, the one that ends last
    for segment in sorted(segments, key=lambda part: part.start_seconds):
        path = segment.path.resolve()
        for role in get_args(Role):
            other = furthest.get((path, role))
            if other is not None and role != segment.role and segment.start_seconds < end_of(other):
                raise DataError(
                    f"{segment.path}: {_place(other)} has the role {other.role} and {_place(segment)} the role "
                    f"{segment.role}. What was trained on can neither test a model nor set its threshold: give each "
                    "part one role."
                )
        before = furthest.get((path, segment.role))
        if before is None or end_of(segment) > end_of(before):
            furthest[path, segment.role] = segment


def end_of(segment: Segment) -> float:
    """Where the part ends in its file; infinite: with the file."""
    return math.inf if segment.end_seconds is None else segment.end_seconds


def _place(segment: Segment) -> str:
    end = "the end" if segment.end_seconds is None else f"{segment.end_seconds:g} s"
    return f"the part from {segment.start_seconds:g} s to {end}"


def _suffixes() -> str:
    return ", ".join(AUDIO_SUFFIXES + TABLE_SUFFIXES)


def _recordings_in(folder: Path) -> list[Path]:
    found = files_below(folder, lambda path: is_audio(path) or is_table(path))
    if not found:
        unread = _unread_in(folder)
        raise InputMissing(
            f"{folder}: no recordings here. Looked for {_suffixes()} files in this folder and the folders below it"
            + (f", and found {_convert_words(unread)}" if unread else ".")
            + f" {_closed_words(folder)}".rstrip()
        )
    audio = [path for path in found if is_audio(path)]
    tables = [path for path in found if is_table(path)]
    manifest = next((path for path in tables if is_manifest(path)), None)
    if manifest is not None:
        raise DataError(
            f"{folder}: holds the manifest {manifest.relative_to(folder)}. Give the manifest itself instead of the "
            "folder, or move it elsewhere to use every recording."
        )
    if audio and tables:
        raise DataError(
            f"{folder}: holds {len(audio)} audio files and {len(tables)} tables, for instance "
            f"{audio[0].relative_to(folder)} and {tables[0].relative_to(folder)}. One model takes one kind: "
            "put them into folders of their own."
        )
    return found


def _cells(line: str, delimiter: str) -> list[str]:
    try:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])]
    except csv.Error:
        return []


def _check_columns(path: Path, columns: list[str]) -> None:
    for column in columns:
        if column not in COLUMNS:
            raise DataError(
                f"{path}, line 1: unknown column '{column}'.{nearest(column, list(COLUMNS))} "
                f"A manifest has the columns {', '.join(COLUMNS)}."
            )
        if columns.count(column) > 1:
            raise DataError(f"{path}, line 1: {columns.count(column)} columns are called '{column}'. Keep one.")
    if "path" not in columns:
        raise DataError(
            f"{path}, line 1: the column 'path' is missing. A manifest has the columns {', '.join(COLUMNS)}."
        )


def _named(path: Path, number: int, columns: list[str], cells: list[str]) -> dict[str, str]:
    if len(cells) != len(columns):
        raise DataError(
            f"{path}, line {number}: {len(cells)} columns, the first line has {len(columns)}. "
            "A comma inside a name needs quotes around it; a number needs a decimal point."
        )
    return dict(zip(columns, cells, strict=True))


def _segment(path: Path, number: int, row: Mapping[str, str], default_role: Role) -> Segment:
    start_seconds = _seconds(path, number, "start_seconds", row.get("start_seconds", "")) or 0.0
    end_seconds = _seconds(path, number, "end_seconds", row.get("end_seconds", ""))
    if end_seconds is not None and end_seconds <= start_seconds:
        raise DataError(
            f"{path}, line {number}, column end_seconds: {end_seconds:g} s is not after the start {start_seconds:g} s. "
            "Leave it empty for the end of the file."
        )
    role = row.get("role", "") or default_role
    if role not in ROLES:
        raise DataError(
            f"{path}, line {number}, column role: unknown role '{role}'.{nearest(role, list(ROLES))} "
            f"A role is one of {', '.join(ROLES)}."
        )
    return Segment(
        path=_recording(path, number, row["path"]),
        start_seconds=start_seconds,
        end_seconds=end_seconds,
        role=role,
        machine=row.get("machine", ""),
        condition=row.get("condition", ""),
        note=row.get("note", ""),
    )


def _recording(manifest: Path, number: int, cell: str) -> Path:
    where = f"{manifest}, line {number}, column path"
    if not cell:
        raise DataError(f"{where}: no recording is named. Paths are relative to the manifest's folder.")
    recording = manifest.parent / cell
    if not recording.is_file():
        raise InputMissing(f"{where}: there is no file {recording}. Paths are relative to the manifest's folder.")
    if not (is_audio(recording) or is_table(recording)):
        raise DataError(f"{where}: '{cell}' is no recording. {_suffixes()} files can be read.")
    return recording


def _seconds(path: Path, number: int, column: str, cell: str) -> float | None:
    """Seconds in `cell`; None if it is empty."""
    if not cell:
        return None
    try:
        seconds = float(cell)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise DataError(
            f"{path}, line {number}, column {column}: '{cell}' is not a number of seconds. "
            "Write seconds from the start of the file with a decimal point, for instance 12.5."
        )
    return seconds
