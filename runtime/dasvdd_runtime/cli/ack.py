"""`dasvdd-monitor ack`: somebody has looked at an alarm."""

from __future__ import annotations

from pathlib import Path

import click

from ..alarm_book import VERDICTS, AlarmState, Verdict
from ..alarm_commands import acknowledge, named
from .common import examples, reports_errors
from .state import open_state, state_options


@click.command(
    epilog=examples(
        "dasvdd-monitor ack --config monitor.toml --verdict real --note 'bearing worn'",
        "dasvdd-monitor ack 3f2a --config monitor.toml --verdict false",
        "dasvdd-monitor ack --source pump7 --state /var/lib/dasvdd --verdict unknown",
    )
)
@click.argument("alarm_id", metavar="[ALARM-ID]", default="")
@state_options
@click.option("--source", help="All alarms of this source that nobody has judged.")
@click.option("--verdict", type=click.Choice(VERDICTS), required=True, help="What it was.")
@click.option("--note", default="", help="What was found.")
@reports_errors
def ack(
    alarm_id: str, config_path: Path | None, directory: Path | None, source: str | None, verdict: Verdict, note: str
) -> None:
    """Acknowledge alarms and say whether they were real: also later, and while no monitor runs.

    ALARM-ID is an id, or a beginning of it that no other alarm has; without it and without --source, the only alarm
    that nobody has judged. A latched alarm is over with it. A second verdict replaces the first.
    """
    if alarm_id and source:
        raise click.UsageError("give an ALARM-ID or --source, not both")
    with open_state(config_path, directory) as store:
        judged = acknowledge(store, verdict=verdict, note=note, alarm_id=alarm_id, source=source)
    for alarm in judged:
        over = ", which is over now" if alarm.state is AlarmState.LATCHED else ""
        click.echo(f"{named(alarm)}: {verdict}{over}")
