"""`dasvdd-monitor export-labels`: what people said of alarms, for the next training."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import click

from ..alarms.labels import find_recorded, labels_of, perhaps_faulty, recorded_among, with_recordings
from ..errors import DataError
from ..evidence.kept import kept_clips
from ..files import write_atomically
from ..reading.manifest import COLUMNS, Segment, find_segments
from ..words import count
from .alarms import named
from .common import InputPath, examples, reports_errors
from .state import evidence_directory, open_state, state_options


@click.command(
    epilog=examples(
        "dasvdd-monitor export-labels --config monitor.toml --out labels.csv",
        "dasvdd-monitor export-labels --config monitor.toml --recordings recordings/ --out labels.csv",
        "dasvdd-monitor export-labels --config monitor.toml --with recordings/healthy --out labels.csv",
        "dasvdd-train labels.csv --out runs/pump7",
    )
)
@state_options
@click.option("--source", help="Only alarms of this source.")
@click.option(
    "--recordings",
    type=InputPath(file_okay=False),
    help="Folder into which `dasvdd-monitor record` wrote while the source was watched.",
)
@click.option(
    "--with",
    "healthy",
    metavar="DATA",
    type=InputPath(),
    help="Recordings of healthy running to train on as well: a folder, a file or a manifest.",
)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The manifest, a CSV file.")
@reports_errors
def export_labels(
    config_path: Path | None,
    directory: Path | None,
    source: str | None,
    recordings: Path | None,
    healthy: Path | None,
    out: Path,
) -> None:
    """Write judged alarms as a manifest, as dasvdd-train reads it.

    A false alarm gets the role train, a real one test_anomalous. An alarm is a place in a recording: a replayed file,
    the clip that [evidence] kept of it (mode = "audio"), or a file that `dasvdd-monitor record` wrote beside the
    monitor (--recordings). Where there is no recording, there is nothing to train on, and the alarm is named and left
    out. False alarms alone teach a model nothing of the machine: --with adds the recordings of healthy running, but
    none in which an alarm fell that nobody has judged false.
    """
    with open_state(config_path, directory) as store:
        alarms = store.alarms()
    found = [alarm for alarm in alarms if source in (None, alarm.source)]
    clips = kept_clips(evidence_directory(config_path, directory))
    labels = labels_of(found, [] if recordings is None else find_recorded(recordings), clips)
    for alarm, reason in labels.left_out:
        click.echo(f"left out: {named(alarm)}: {reason}", err=True)
    if not labels.segments:
        raise DataError(f"none of {len(found)} alarms can be written to {out}; the lines above say why.")
    segments = labels.segments
    left_out = f"{len(labels.left_out)} of {count(len(found), 'alarm')}"
    if healthy is not None:
        given = find_segments(healthy)
        faulty = perhaps_faulty(alarms, recorded_among({part.path for part in given}), clips)
        segments, without = with_recordings(labels, given, faulty)
        for path, reason in without:
            click.echo(f"left out: {path}: {reason}", err=True)
        left_out += f", {len(without)} of {count(len(given), 'recording')}"
    write_atomically(out, _manifest(segments, out.parent.resolve()).encode())
    roles = [segment.role for segment in segments]
    to_test = len(roles) - roles.count("train")
    click.echo(f"{out}: {roles.count('train')} for training, {to_test} to test with; left out: {left_out}")


def _manifest(segments: list[Segment], folder: Path) -> str:
    """The manifest's text; paths below `folder` are relative to it."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(COLUMNS)
    for part in reversed(segments):
        path = part.path.resolve()
        written = path.relative_to(folder) if path.is_relative_to(folder) else path
        rows.writerow(
            [written, part.start_seconds, part.end_seconds, part.role, part.machine, part.condition, part.note]
        )
    return text.getvalue()
