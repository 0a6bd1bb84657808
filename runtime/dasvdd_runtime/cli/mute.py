"""`dasvdd-monitor mute`: nobody is called for a source, for a time."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import click

from ..alarms import commands as alarm_commands
from ..alarms.mutes import ALL
from ..configuration.config import load_config
from ..errors import ConfigError, nearest
from .common import examples, reports_errors
from .state import open_state, shown, state_options

_UNIT_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}


def _duration(ctx: click.Context, param: click.Parameter, text: str | None) -> float | None:
    """Seconds, from a number with a unit. Raises BadParameter for none, or one beyond LONGEST_SECONDS."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?(s|m|min|h|d)", text)
    if match is None:
        raise click.BadParameter(f"'{text}' is no duration. Write a number and a unit: 90s, 30m, 2h or 1d.")
    seconds = float(match[1]) * _UNIT_SECONDS[match[2]]
    if fault := alarm_commands.duration_fault(seconds):
        raise click.BadParameter(f"'{text}': {fault}")
    return seconds


@click.command(
    epilog=examples(
        "dasvdd-monitor mute pump7 --for 2h --note maintenance --config monitor.toml",
        "dasvdd-monitor mute --all --for 30m --state /var/lib/dasvdd",
        "dasvdd-monitor mute pump7 --end --config monitor.toml",
    )
)
@click.argument("source", default="")
@state_options
@click.option("--all", "everything", is_flag=True, help="Every source.")
@click.option(
    "--for", "seconds", metavar="DURATION", callback=_duration, help="How long: 90s, 30m, 2h, 1d; at most 7d."
)
@click.option("--note", default="", help="Why.")
@click.option("--end", is_flag=True, help="End the mute now.")
@reports_errors
def mute(
    source: str,
    config_path: Path | None,
    directory: Path | None,
    everything: bool,
    seconds: float | None,
    note: str,
    end: bool,
) -> None:
    """Keep alarms of SOURCE, or of --all, from calling anybody, for a time.

    The machine is still watched: its alarms are recorded and written, with "muted": true. A second mute of the same
    source replaces the first. It goes on over a restart of the monitor.
    """
    if bool(source) == everything:
        raise click.UsageError("give a SOURCE or --all")
    if end == (seconds is not None):
        raise click.UsageError("say how long with --for, for instance --for 2h, or --end to end a mute")
    name = ALL if everything else source
    what = alarm_commands.in_words(name)
    if config_path is not None and source:
        _require_known(config_path, source)
    with open_state(config_path, directory) as store:
        if seconds is None:
            alarm_commands.end_mute(store, name)
            click.echo(f"{what}: muted no longer")
            return
        until = alarm_commands.mute(store, name, seconds, note)
    click.echo(f"{what}: muted until {shown(datetime.fromtimestamp(until, UTC))}")


def _require_known(config_path: Path, source: str) -> None:
    names = [table.name for table in load_config(config_path).sources]
    if source not in names:
        raise ConfigError(f"{config_path} has no source '{source}'.{nearest(source, names)} It has: {', '.join(names)}")
