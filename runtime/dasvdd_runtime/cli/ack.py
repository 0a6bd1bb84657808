"""`dasvdd-monitor ack`: somebody has looked at an alarm."""

from __future__ import annotations

from pathlib import Path

import click

from ..alarms.book import VERDICTS, Alarm, AlarmState, Verdict
from ..alarms.commands import judge
from ..errors import DataError
from ..state.state_store import StateStore
from .alarms import named
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
    that nobody has judged. A latched alarm is over with it. A second verdict
    replaces the first, and its note goes with it; the same verdict without a note leaves the note that is there.
    """
    if alarm_id and source:
        raise click.UsageError("give an ALARM-ID or --source, not both")
    with open_state(config_path, directory) as store:
        chosen = _by_id(store, alarm_id) if alarm_id else _not_judged(store, source)
        judge(store, chosen, verdict, note)
    for alarm in chosen:
        over = "; it is over as soon as a monitor looks" if alarm.state is AlarmState.LATCHED else ""
        click.echo(f"{named(alarm)}: {verdict}{_before(alarm, verdict)}{over}")


def _before(alarm: Alarm, verdict: Verdict) -> str:
    """What somebody had said of the alarm before, where that was something else."""
    if alarm.verdict in (None, verdict):
        return ""
    return f" (before: {alarm.verdict}{f', {alarm.note}' if alarm.note else ''})"


def _by_id(store: StateStore, prefix: str) -> list[Alarm]:
    found = store.find(prefix)
    if len(found) == 1:
        return found
    if not found:
        raise DataError(f"no alarm has an id that begins with '{prefix}'. `dasvdd-monitor alarms` lists them.")
    raise DataError(f"{len(found)} alarms have an id that begins with '{prefix}'; give more of it: {_listed(found)}")


def _not_judged(store: StateStore, source: str | None) -> list[Alarm]:
    found = store.alarms(source=source, only_open=True)
    if not found:
        where = "" if source is None else f" of source '{source}'"
        raise DataError(f"there is no alarm{where} that nobody has judged. `dasvdd-monitor alarms` lists all.")
    if source is None and len(found) > 1:
        raise DataError(f"{len(found)} alarms are not judged: give the ALARM-ID or --source. {_listed(found)}")
    return found


def _listed(alarms: list[Alarm]) -> str:
    shown_alarms = "".join(f"\n  {named(alarm)}" for alarm in alarms[:10])
    return shown_alarms + ("\n  ..." if len(alarms) > 10 else "")
