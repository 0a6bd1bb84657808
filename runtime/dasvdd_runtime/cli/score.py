"""`dasvdd-monitor score`: recordings -> scores, as JSON lines for programs or a table for people."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from ..errors import EXIT_DATA, DasvddError, DataError, InputMissing
from ..words import count
from .common import examples, model_options, reports_errors

if TYPE_CHECKING:
    from ..contract import ModelMetadata
    from ..reading.recording_types import Kind
    from ..recording_scores import RecordingSummary, ScoredWindow, WithheldWindow
    from ..scorer import Scorer

PROGRESS_AFTER_SECONDS = 2.0
PROGRESS_EVERY_SECONDS = 0.5
MOST_PLACES = 3
"""Silent places of a recording that are named."""


@click.command(
    epilog=examples(
        "dasvdd-monitor score model.onnx pump.wav",
        "dasvdd-monitor score model.onnx recordings/ --summary",
        "dasvdd-monitor score model.onnx vibration.csv --channels x,y,z > scores.jsonl",
    )
)
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("recordings", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["table", "jsonl"]),
    help="Default: a table in a terminal, JSON lines elsewhere.",
)
@click.option("--summary", "only_summary", is_flag=True, help="One line a recording, none a window.")
@click.option(
    "--time-column",
    default="auto",
    show_default=True,
    help="Column of a table with the times of its rows, by name or position; 'none': rows are evenly spaced.",
)
@click.option(
    "--channels", help="Columns of a table, by header name or 1-based position: x,y,z. Default: as in training."
)
@click.option(
    "--silent-seconds",
    type=click.FloatRange(min=0, min_open=True),
    default=10.0,
    show_default=True,
    help="What is silent for so long is not judged: silent_seconds of the source in monitor.toml.",
)
@model_options
@reports_errors
def score(
    model: Path,
    recordings: tuple[Path, ...],
    output_format: Literal["table", "jsonl"] | None,
    only_summary: bool,
    channels: str | None,
    time_column: str,
    silent_seconds: float,
    provider: str,
    threads: int,
) -> None:
    """Score RECORDINGS (files, or folders at any depth) with MODEL, window by window.

    Sound is read from WAV, FLAC and OGG files, rows of sensors from CSV, NPY, NPZ and Parquet, as in training; MP3 and
    its like are not, and are named.

    Each recording goes through the decision chain of the model on its own: above_threshold is the smoothed score
    against the threshold, an episode is an alarm from rise to clear. Its peak_score is the largest smoothed score from
    its rise on: the windows that led to the alarm come before that, and may score higher.

    A recording that cannot be read is named on standard error, the others are scored, and the exit code is 65.
    """
    from ..scorer import Scorer

    scorer = Scorer(model, provider=provider, threads=threads)
    scorer.verify_golden()
    for field in scorer.unknown_fields:
        click.echo(f"note: the model's metadata has the field '{field}', unknown to this version and ignored", err=True)
    paths = find_recordings(recordings, kind=scorer.metadata.kind)
    as_table = output_format == "table" if output_format else sys.stdout.isatty()
    printer = (TablePrinter if as_table else JsonPrinter)(scorer.metadata, only_summary)
    chosen = tuple(name.strip() for name in channels.split(",")) if channels else ()
    failed = 0
    for number, path in enumerate(paths, start=1):
        progress = Progress(f"{number}/{len(paths)} {path}", shown=only_summary or not sys.stdout.isatty())
        try:
            score_one(scorer, path, chosen, time_column, silent_seconds, printer, progress)
        except DasvddError as error:
            failed += 1
            progress.clear()
            click.echo(f"error: {error}", err=True)
    if failed:
        click.echo(f"{failed} of {len(paths)} recordings could not be scored", err=True)
        sys.exit(EXIT_DATA)


def find_recordings(given: tuple[Path, ...], *, kind: Kind) -> list[Path]:
    """The files among `given`, and those in the folders among them that suit `kind`, at any depth, sorted.

    Raises InputMissing for a path that is not there, DataError for a folder without any.
    """
    from ..reading.manifest import files_below, passed_over
    from ..recordings import is_audio, is_table

    found: list[Path] = []
    for path in given:
        if path.is_dir():
            suits = is_audio if kind == "audio" else is_table
            inside = files_below(path, suits)
            unread = passed_over(path) if kind == "audio" else ""
            if not inside:
                wanted = "WAV, FLAC or OGG" if kind == "audio" else "CSV, NPY, NPZ or Parquet"
                fault = f"the folder {path} holds no {wanted} file at any depth, and the model is for {kind}."
                raise DataError(f"{fault} {unread}".strip())
            if unread:
                click.echo(f"note: {unread}", err=True)
            found += inside
        elif path.exists():
            found.append(path)
        else:
            raise InputMissing(f"{path}: there is no such file or folder.")
    return found


def score_one(
    scorer: Scorer,
    path: Path,
    channels: tuple[str, ...],
    time_column: str,
    silent_seconds: float,
    printer: TablePrinter | JsonPrinter,
    progress: Progress,
) -> None:
    """Score the recording at `path` and print it. Raises DasvddError if it cannot be scored."""
    from ..reading.manifest import is_manifest, refuse_unread_sound
    from ..recording_scores import RecordingSummary, WithheldWindow, check_fits, score_recording
    from ..recordings import TableFormat

    if is_manifest(path):
        raise DataError(f"{path}: it is a manifest, not a recording. Name the recordings or their folder.")
    refuse_unread_sound(path)
    metadata = scorer.metadata
    table = TableFormat.for_channels(
        channels or metadata.channel_names, sample_rate_hz=metadata.sample_rate_hz, time_column=time_column
    )
    sample_rate_hz = check_fits(path, metadata, table)
    if sample_rate_hz != metadata.sample_rate_hz:
        click.echo(
            f"note: {path}: resampled from {sample_rate_hz:g} Hz to the model's {metadata.sample_rate_hz:g} Hz",
            err=True,
        )
    summary = RecordingSummary()
    printer.recording(path)
    for window in score_recording(scorer, path, table=table, silent_seconds=silent_seconds, summary=summary):
        progress.update(window.start_seconds)
        if isinstance(window, WithheldWindow):
            printer.withheld(path, window)
        else:
            printer.window(path, window)
    progress.clear()
    if summary.note:
        click.echo(f"note: {path}: {summary.note}", err=True)
    if summary.withheld and not summary.fault:
        click.echo(f"warning: {path}: {_withheld_words(summary)}, as a monitor would", err=True)
    if summary.fault:
        click.echo(f"warning: {path}: {summary.fault} Its scores say nothing of the machine.", err=True)
    printer.summary(path, summary)


class JsonPrinter:
    """One JSON object a line: `"type": "window"` or `"withheld"` a window, then `"recording"` for the recording."""

    def __init__(self, metadata: ModelMetadata, only_summary: bool) -> None:
        self._only_summary = only_summary
        self._threshold = metadata.calibration.threshold
        self._windows_to_alarm = metadata.decision.windows_to_alarm(metadata.window_hop_seconds)

    def recording(self, path: Path) -> None:
        """Nothing: every line names its file."""

    def window(self, path: Path, window: ScoredWindow) -> None:
        """Print one window."""
        if not self._only_summary:
            click.echo(json.dumps({"type": "window", "file": str(path), **asdict(window)}))

    def withheld(self, path: Path, window: WithheldWindow) -> None:
        """Print a window that has no score."""
        if not self._only_summary:
            click.echo(json.dumps({"type": "withheld", "file": str(path), **asdict(window), "state": "SILENT"}))

    def summary(self, path: Path, summary: RecordingSummary) -> None:
        """Print what stands out in a recording."""
        episodes = [
            {name: value for name, value in asdict(episode).items() if name != "peak_residual"}
            for episode in summary.episodes
        ]
        line = {
            "type": "recording",
            "file": str(path),
            "windows": summary.windows,
            "withheld": summary.withheld,
            "withheld_from_seconds": summary.withheld_from_seconds,
            "gaps": summary.gaps,
            "fault": summary.fault,
            "max_score": summary.max_score if summary.windows else None,
            "max_smoothed_score": summary.max_smoothed_score if summary.windows else None,
            "threshold": self._threshold,
            "share_above_threshold": summary.share_above_threshold,
            "alarm_possible": summary.longest_stretch >= self._windows_to_alarm,
            "episodes": episodes,
        }
        click.echo(json.dumps(line))


class TablePrinter:
    """Rows for people: a heading a recording, a row a window, a closing line that sums up."""

    def __init__(self, metadata: ModelMetadata, only_summary: bool) -> None:
        self._only_summary = only_summary
        self._windows_to_alarm = metadata.decision.windows_to_alarm(metadata.window_hop_seconds)
        calibration = metadata.calibration
        click.echo(
            f"{metadata.name}: window {metadata.window_seconds:g} s every {metadata.window_hop_seconds:g} s, threshold "
            f"{calibration.threshold:.5g} for {count(calibration.false_alarms_per_day, 'false alarm')} a day"
            + (" (extrapolated)" if calibration.extrapolates else "")
        )

    def recording(self, path: Path) -> None:
        """Print the heading of a recording's windows."""
        if not self._only_summary:
            click.echo(f"\n{path}")
            click.echo(
                f"{'start s':>10} {'score':>12} {'smoothed':>12} {'reconstruction':>14} {'center dist.':>12}  state"
            )

    def window(self, path: Path, window: ScoredWindow) -> None:
        """Print one window."""
        if not self._only_summary:
            state = "ALARM" if window.in_alarm else "above" if window.above_threshold else ""
            click.echo(
                f"{window.start_seconds:10.3f} {window.score:12.6g} {window.smoothed_score:12.6g} "
                f"{window.reconstruction_error:14.6g} {window.center_distance:12.6g}  {state}".rstrip()
            )

    def withheld(self, path: Path, window: WithheldWindow) -> None:
        """Print a window that has no score."""
        if not self._only_summary:
            click.echo(f"{window.start_seconds:10.3f} {'-':>12} {'-':>12} {'-':>14} {'-':>12}  SILENT")

    def summary(self, path: Path, summary: RecordingSummary) -> None:
        """Print what stands out in a recording."""
        if not summary.windows:
            click.echo(f"{path}: {_withheld_words(summary)}, and none is left to judge")
            return
        click.echo(
            f"{path}: {count(summary.windows, 'window')}, largest score {summary.max_score:.5g} (smoothed "
            f"{summary.max_smoothed_score:.5g}), {100 * summary.share_above_threshold:.1f} % above the threshold, "
            f"{self._alarms(summary)}"
        )

    def _alarms(self, summary: RecordingSummary) -> str:
        if summary.episodes:
            return "; ".join(_episodes(summary))
        if summary.longest_stretch >= self._windows_to_alarm:
            return "no alarm"
        return f"too short for an alarm, which takes {self._windows_to_alarm} windows in a row"


def _withheld_words(summary: RecordingSummary) -> str:
    """'40 of 59 windows are silent, from 20.0 s on, and are withheld'."""
    starts = [f"{start:.1f} s" for start in summary.withheld_from_seconds]
    more = f" and {len(starts) - MOST_PLACES} more places" if len(starts) > MOST_PLACES else ""
    return (
        f"{summary.withheld} of {count(summary.windows + summary.withheld, 'window')} are silent (from "
        f"{', '.join(starts[:MOST_PLACES])} on{more}) and are withheld"
    )


def _episodes(summary: RecordingSummary) -> Iterator[str]:
    for episode in summary.episodes:
        end = "to the end" if episode.clear_seconds is None else f"to {episode.clear_seconds:.1f} s"
        yield f"ALARM from {episode.rise_seconds:.1f} s {end}, smoothed up to {episode.peak_score:.5g} from there on"


class Progress:
    """One line on standard error, in a terminal only, for recordings that take longer than two seconds."""

    def __init__(self, label: str, *, shown: bool) -> None:
        self._label = label
        self._shown = shown and sys.stderr.isatty()
        self._next = time.monotonic() + PROGRESS_AFTER_SECONDS
        self._drawn = False

    def update(self, recording_seconds: float) -> None:
        """Say how far into the recording the scoring is."""
        now = time.monotonic()
        if self._shown and now >= self._next:
            click.echo(f"\r\033[K{self._label}: {recording_seconds:.0f} s scored", nl=False, err=True)
            self._next = now + PROGRESS_EVERY_SECONDS
            self._drawn = True

    def clear(self) -> None:
        """Take the line away."""
        if self._drawn:
            click.echo("\r\033[K", nl=False, err=True)
