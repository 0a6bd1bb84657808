"""`dasvdd-monitor calibrate`: the threshold of a source, learned on site from a time of normal running."""

from __future__ import annotations

import logging
import math
import os
import shlex
import signal
import sqlite3
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

import click

from ..alarms.book import Alarm
from ..configuration.config import load_config
from ..errors import EXIT_FAILURE, EXIT_OK, ConfigError, DataError, nearest
from ..files import require_writable
from ..logs import log_to_stderr
from ..running.site_session import Session, Subject, prepare
from ..sources.tables import SourceTable
from ..state.state_file import FILE_NAME
from ..state.state_store import StateStore
from ..thresholds.choice import rests_on
from ..thresholds.site_calibration import doubts, needs_a_word
from ..thresholds.site_threshold import SiteFile, SiteThreshold, file_of, restore, use_own, write_site_threshold
from ..words import duration
from .alarms import ID_LETTERS
from .common import examples, reports_errors

TERMINAL_SECONDS, PLAIN_SECONDS = 0.5, 60.0
"""How often progress is shown in a terminal, and elsewhere."""


@click.command(
    epilog=examples(
        "dasvdd-monitor calibrate monitor.toml",
        "dasvdd-monitor calibrate monitor.toml --source pump7 --minutes 60 --alarms-per-day 8",
        "dasvdd-monitor calibrate monitor.toml --source pump7 --from recordings/healthy",
        "dasvdd-monitor calibrate monitor.toml --source pump7 --restore",
        "dasvdd-monitor calibrate monitor.toml --source pump7 --reset",
    )
)
@click.argument("config_path", metavar="MONITOR.TOML", type=click.Path(path_type=Path))
@click.option("--source", "name", help="Which source. Default: all of them.")
@click.option(
    "--minutes",
    type=click.FloatRange(min=0, min_open=True),
    help="Running time to learn from. Default: the least that the rate needs; 7 h 12 min for one alarm a day.",
)
@click.option(
    "--alarms-per-day",
    type=click.FloatRange(min=0, min_open=True),
    help="False alarms per day of running to aim at. Default: what the model was calibrated for.",
)
@click.option(
    "--from",
    "data",
    metavar="DATA",
    type=click.Path(path_type=Path),
    help="Learn from recordings of one source (a file, a folder or a manifest) instead of listening.",
)
@click.option("--restore", "bring_back", is_flag=True, help="Swap the threshold with the former one; learn nothing.")
@click.option("--reset", is_flag=True, help="Go back to the model's own threshold; learn nothing.")
@click.option(
    "--state",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    help="The state directory, where MONITOR.TOML names none.",
)
@reports_errors
def calibrate(
    config_path: Path,
    name: str | None,
    minutes: float | None,
    alarms_per_day: float | None,
    data: Path | None,
    bring_back: bool,
    reset: bool,
    directory: Path | None,
) -> None:
    """Learn the thresholds of MONITOR.TOML's sources on site, while their machines run and are healthy.

    Listens to the sources as run does. Only time that run would judge counts, and nothing that is clipped. The
    threshold is kept in the state directory, for this source with this model; a running monitor takes it with SIGHUP.
    Where the time is too short for the rate or an alarm is open (exit code 65), and after Ctrl-C (130), nothing is
    changed. A threshold whose scores lie far above those of training, or in whose time the one before raised alarms, is
    kept, but not in force until --restore (exit code 1).
    """
    if bring_back and reset:
        raise click.UsageError("--restore brings the former threshold back, --reset the model's own: give one of them")
    if data is not None and minutes is not None:
        raise click.UsageError("--minutes is for listening; --from takes all that the recordings hold")
    config = load_config(config_path)
    directory = directory or config.state.directory
    if directory is None:
        raise ConfigError(
            f"{config_path}: there is no state directory, so there is no place for what is learned. Add\n"
            '  [state]\n  directory = "/var/lib/dasvdd"\nand restart the monitor, or give --state DIRECTORY.'
        )
    tables = _chosen(config.sources, name)
    if (bring_back or reset or data is not None) and len(tables) > 1:
        names = ", ".join(table.name for table in tables)
        raise click.UsageError(f"--restore, --reset and --from are for one source: add --source and one of {names}")
    if bring_back or reset:
        _tell_swapped(tables[0].name, (restore if bring_back else use_own)(directory, tables[0].name))
        return
    log_to_stderr(logging.INFO if data is None else logging.WARNING)  # each recording starts and ends like a source
    _refuse_open_alarms(directory, tables)
    for table in tables:
        require_writable(file_of(directory, table.name))
    wanted_seconds = math.inf if data is not None else None if minutes is None else 60 * minutes
    subjects = prepare(
        config, tables, directory=directory, false_alarms_per_day=alarms_per_day, wanted_seconds=wanted_seconds
    )
    session = _collect(subjects, data)
    _refuse_open_alarms(directory, tables)
    learned = [subject.calibrated(datetime.now(UTC)) for subject in subjects]
    alarmed = session.alarmed_recordings
    place = shlex.join(
        [str(config_path), *([] if directory == config.state.directory else ["--state", str(directory)])]
    )
    in_force = [
        _keep(directory, subject, site, alarmed, place) for subject, site in zip(subjects, learned, strict=True)
    ]
    if any(in_force):
        click.echo("A running monitor takes it with SIGHUP: systemctl reload dasvdd-monitor.")
    exit_code = EXIT_OK if all(in_force) else EXIT_FAILURE
    if not session.all_joined:  # a driver holds a thread; ending the interpreter would wait for it for ever
        sys.stdout.flush()
        os._exit(exit_code)
    sys.exit(exit_code)


def _chosen(tables: Sequence[SourceTable], name: str | None) -> list[SourceTable]:
    chosen = [table for table in tables if name is None or table.name == name]
    if not chosen:
        names = [table.name for table in tables]
        raise ConfigError(f"no source is called '{name}', but {', '.join(names)}.{nearest(str(name), names)}")
    return chosen


def _refuse_open_alarms(directory: Path, tables: Sequence[SourceTable]) -> None:
    """Raise DataError if an alarm lasts of which nobody has said that it is false: that would become normal."""
    if not (directory / FILE_NAME).exists():
        return
    names = [table.name for table in tables]
    store = StateStore.open_existing(directory)
    try:
        lasting = [alarm for alarm in store.lasting() if alarm.source in names and alarm.verdict != "false"]
    except sqlite3.Error as error:
        raise DataError(f"{directory / FILE_NAME}: {error}. Nothing was changed; try it again.") from error
    finally:
        store.close()
    if lasting:
        raise DataError(
            f"{'; '.join(map(_named, lasting))}: what it hears would be learned as normal. Nothing was changed. Look "
            "at the machine. If it is healthy, say so (dasvdd-monitor ack ID --verdict false) and calibrate again."
        )


def _named(alarm: Alarm) -> str:
    return f"the alarm {alarm.id[:ID_LETTERS]} of source '{alarm.source}' is {alarm.state.value}"


def _collect(subjects: Sequence[Subject], data: Path | None) -> Session:
    """Fill the subjects' collectors. Raises KeyboardInterrupt after Ctrl-C or SIGTERM."""
    for subject in subjects:
        if subject.before.origin == "configuration":
            click.echo(
                f"note: [decision] sets the threshold of source '{subject.table.name}', which beats what is learned "
                "here until it is taken out of the configuration",
                err=True,
            )
    progress = _Progress(subjects)
    session = Session(subjects, progress=progress.show)

    def stop(number: int, frame: FrameType | None) -> None:
        session.request_stop()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        if data is None:
            session.listen()
        else:
            session.replay(data)
    finally:
        progress.end()
        for number, handler in before.items():
            signal.signal(number, handler)
    if session.interrupted:
        click.echo("nothing was changed", err=True)
        raise KeyboardInterrupt
    return session


def _keep(
    directory: Path, subject: Subject, site: SiteThreshold, alarmed_recordings: Sequence[str], place: str
) -> bool:
    """Write what was learned and say what it replaces; whether it is in force.

    `place`: the arguments by which a command finds the same file.
    """
    name, metadata, alarms = subject.table.name, subject.model.scorer.metadata, subject.collector.alarms
    in_force = not needs_a_word(site, metadata, alarms=alarms)
    write_site_threshold(directory, site, in_force=in_force)
    for doubt in doubts(site, metadata, alarms=alarms, alarmed_recordings=alarmed_recordings):
        click.echo(f"warning: source '{name}': {doubt}", err=True)
    learned = f"threshold {site.calibration.threshold:.5g}, {rests_on(site.calibration)}"
    before = f"{subject.before.value:.5g} ({subject.before.why})"
    swap = f"dasvdd-monitor calibrate {place} --source {shlex.quote(name)} --restore"
    if in_force:
        click.echo(f"{name}: {learned}; before {before}")
        click.echo(f"kept in {file_of(directory, name)}; `{swap}` takes it back")
    else:
        click.echo(f"{name}: NOT in force: {learned}; what judges is still {before}")
        click.echo(
            f"kept in {file_of(directory, name)}. Was the machine healthy all the time? Then `{swap}` puts it "
            "in force; else repair it and calibrate again."
        )
    return in_force


def _tell_swapped(name: str, swapped: SiteFile) -> None:
    click.echo(f"{name}: in force again: {_described(swapped.current)}; put back: {_described(swapped.former)}")
    click.echo("A running monitor takes it with SIGHUP; the same command swaps them again.")


def _described(site: SiteThreshold | None) -> str:
    if site is None:
        return "the model's own threshold"
    return f"threshold {site.calibration.threshold:.5g} of {site.calibrated_at}, {rests_on(site.calibration)}"


class _Progress:
    """What was collected and what is left: one line that is written over in a terminal, else a line a minute."""

    def __init__(self, subjects: Sequence[Subject]) -> None:
        self._subjects = subjects
        self._in_terminal = sys.stderr.isatty()
        self._next_seconds = -math.inf
        self._line_open = False

    def show(self) -> None:
        """Say it, not more often than is readable."""
        if time.monotonic() < self._next_seconds:
            return
        self._next_seconds = time.monotonic() + (TERMINAL_SECONDS if self._in_terminal else PLAIN_SECONDS)
        line = "; ".join(map(_collected, self._subjects))
        click.echo(f"\r\033[K{line}" if self._in_terminal else line, nl=not self._in_terminal, err=True)
        self._line_open = self._in_terminal

    def end(self) -> None:
        """Begin a new line, with the figures as they are now."""
        if self._line_open:
            click.echo("\r\033[K", nl=False, err=True)
        click.echo("; ".join(map(_collected, self._subjects)), err=True)


def _collected(subject: Subject) -> str:
    seconds, wanted = subject.collector.seconds, subject.wanted_seconds
    left = "" if wanted == math.inf else f", {duration(max(0.0, wanted - seconds))} of {duration(wanted)} left"
    return f"{subject.table.name}: {duration(seconds)} of normal running collected{left}"
