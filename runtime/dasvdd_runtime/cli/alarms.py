"""`dasvdd-monitor alarms`: what happened, and what was said of it."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import click

from ..alarms.book import Alarm, AlarmState, lasted_seconds
from ..alarms.mutes import ALL, Mute
from ..evidence.folder import sidecars
from ..state.directory_lock import is_locked
from ..words import duration
from .common import examples, reports_errors
from .state import evidence_directory, open_state, shown, state_directory, state_options

ID_LETTERS = 8
"""Letters of an id that are shown; a command takes any beginning that no other alarm has."""


@click.command(
    epilog=examples(
        "dasvdd-monitor alarms --config monitor.toml",
        "dasvdd-monitor alarms --state /var/lib/dasvdd --source pump7 --open",
        "dasvdd-monitor alarms --config monitor.toml --json | jq .verdict",
    )
)
@state_options
@click.option("--source", help="Only alarms of this source.")
@click.option("--open", "only_open", is_flag=True, help="Only those that nobody has judged.")
@click.option("--last", type=click.IntRange(min=1), default=20, show_default=True, help="How many, newest first.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, with the whole ids.")
@reports_errors
def alarms(
    config_path: Path | None, directory: Path | None, source: str | None, only_open: bool, last: int, as_json: bool
) -> None:
    """List the newest alarms and the mutes, also while no monitor runs."""
    with open_state(config_path, directory) as store:
        found = store.alarms(source=source, limit=last, only_open=only_open)
        mutes = store.mutes()
    if as_json:
        evidence = sidecars(evidence_directory(config_path, directory))
        for alarm in found:
            record = {**asdict(alarm), "evidence": evidence.get(alarm.id)}
            click.echo(json.dumps(record, default=_as_text, ensure_ascii=False))
        return
    at = state_directory(config_path, directory)
    runs, now = is_locked(at), datetime.now(UTC)
    if found:
        click.echo(_table([_HEADER, *(_cells(alarm, now if runs else None) for alarm in found)]))
        left = sum(alarm.state is AlarmState.ACTIVE for alarm in found)
        if left and not runs:
            click.echo(
                f"{left} active as the last monitor left it: none runs on {at}. How long it lasted is not known."
            )
        waiting = sum(alarm.state is AlarmState.LATCHED for alarm in found)
        if waiting:
            click.echo(f"{waiting} latched: `dasvdd-monitor ack ID --verdict real|false|unknown` releases them.")
    else:
        click.echo("no alarms")
    for mute in mutes:
        if mute.until > now.timestamp():
            click.echo(_mute_line(mute))


_HEADER = ("ID", "SOURCE", "RAISED", "LASTED", "PEAK/THRESHOLD", "STATE", "VERDICT", "NOTE")


def named(alarm: Alarm) -> str:
    """An alarm, as commands tell which one they mean."""
    return f"{alarm.id[:ID_LETTERS]} {alarm.source} {shown(alarm.raised_at)}"


def _as_text(value: object) -> str:
    """ISO 8601 for a time; a state or verdict as it is."""
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _cells(alarm: Alarm, now: datetime | None) -> tuple[str, ...]:
    """`now`: None while no monitor runs."""
    lasted = ""
    if alarm.end_seconds is not None:
        lasted = duration(lasted_seconds(alarm.start_seconds, alarm.end_seconds))
    elif alarm.state is AlarmState.ACTIVE and now is not None:
        lasted = f"{duration(max(0.0, (now - alarm.raised_at).total_seconds()))} so far"
    state = f"{alarm.state}, muted" if alarm.muted else str(alarm.state)
    ratio = f"{alarm.peak_score / alarm.threshold:.2f}"
    return (
        alarm.id[:ID_LETTERS],
        alarm.source,
        shown(alarm.raised_at),
        lasted,
        ratio,
        state,
        alarm.verdict or "",
        alarm.note,
    )


def _table(rows: list[tuple[str, ...]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _mute_line(mute: Mute) -> str:
    what = "all sources are" if mute.source == ALL else f"source '{mute.source}' is"
    note = f" ({mute.note})" if mute.note else ""
    return f"{what} muted until {shown(datetime.fromtimestamp(mute.until, UTC))}{note}"
