"""`dasvdd-monitor hours`: for how long each machine was watched, and why not."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import IO, Any

import click

from ..condition.health import State
from ..configuration.config import EventsTable, load_config
from ..errors import ConfigError, DataError, InputMissing, nearest
from ..events import stamp
from ..watched_hours import ClockSet, Reckoning, Stretch, last_seconds, longest_unwatched, reckon, total
from ..words import DAY_SECONDS, count, duration, harmless, long_duration
from .common import examples, reports_errors
from .state import shown


def _since(ctx: click.Context, param: click.Parameter, text: str) -> float:
    """Seconds, from a number of hours or days."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?(h|d)", text)
    if match is None or float(match[1]) == 0:
        raise click.BadParameter(f"'{text}' is no time. Write a number and a unit: 12h or 7d.")
    return float(match[1]) * {"h": 3600.0, "d": DAY_SECONDS}[match[2]]


@click.command(
    epilog=examples(
        "dasvdd-monitor hours",
        "dasvdd-monitor hours --config /etc/dasvdd/monitor.toml --since 30d --source pump7",
        "dasvdd-monitor hours --json | jq '.sources[] | {source, unwatched_seconds}'",
    )
)
@click.option(
    "--config",
    "config_path",
    metavar="MONITOR.TOML",
    type=click.Path(path_type=Path),
    default="monitor.toml",
    show_default=True,
    help="Take the event file of this configuration.",
)
@click.option(
    "--since",
    "seconds",
    metavar="TIME",
    callback=_since,
    default="7d",
    show_default=True,
    help="How far back: 12h, 7d.",
)
@click.option("--source", help="Only this source.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, with times in seconds.")
@reports_errors
def hours(config_path: Path, seconds: float, source: str | None, as_json: bool) -> None:
    """Say for how many hours each machine was watched, and why not, from the event file.

    Works while the monitor runs and while it does not.
    """
    events = load_config(config_path).events
    if events.path is None:
        raise ConfigError(
            f"{config_path}: there is no event file, so nobody can say when a machine was watched. Add\n"
            '  [events]\n  path = "events.jsonl"\nand restart the monitor; its hours are known from then on.'
        )
    with ExitStack() as stack:
        lines = chain.from_iterable(_opened(events, events.path, stack))
        whole = reckon(lines, now=datetime.now(UTC))
    found = last_seconds(whole, seconds)
    if not found.stretches:
        raise DataError(f"{events.path}: no event tells of a source. Has the monitor run with {config_path}?")
    if source not in (None, *found.stretches):
        raise ConfigError(
            f"{events.path} tells of no source '{source}' in this time.{nearest(str(source), list(found.stretches))} "
            f"It has: {', '.join(found.stretches)}"
        )
    accounts = [_account(name, found) for name in found.stretches if source in (None, name)]
    known_seconds = min(seconds, whole.seconds)
    if as_json:
        clock_sets = [{"to": stamp(one.to), "seconds": one.seconds, "told": one.told} for one in found.clock_sets]
        told = {"known_seconds": known_seconds, "clock_set": clock_sets, "damaged_lines": found.damaged_lines}
        click.echo(json.dumps({"sources": accounts, **told}, ensure_ascii=False))
        return
    for account in accounts:
        click.echo(harmless("\n".join(_lines(account))) + "\n")
    if known_seconds < seconds:
        click.echo(f"The events begin {long_duration(known_seconds)} ago; of the time before nothing is known.")
    for clock_set in found.clock_sets:
        click.echo(_clock_line(clock_set))
    if found.damaged_lines:
        click.echo(f"Left out: {count(found.damaged_lines, 'damaged line')} of the event file.")


def _opened(table: EventsTable, path: Path, stack: ExitStack) -> Sequence[IO[bytes]]:
    """The event file and its rotated parts, oldest first; all open before one is read, so that none rotates away."""
    parts = [*(path.with_name(f"{path.name}.{number}") for number in range(table.keep, 0, -1)), path]
    try:
        files = [stack.enter_context(part.open("rb")) for part in parts if part.exists()]
    except OSError as error:
        raise InputMissing(f"{error.filename}: {error.strerror}. Run it as the monitor's user or as root.") from error
    if not files:
        raise InputMissing(f"{path}: there is no such file. Has the monitor run with this configuration?")
    return files


def _account(name: str, found: Reckoning) -> dict[str, Any]:
    """What is said of a source, in seconds."""
    stretches = found.stretches[name]
    return {
        "source": name,
        "from": stamp(stretches[0].start),
        "to": stamp(stretches[-1].end),
        "span_seconds": total(stretches),
        "watched_seconds": total([one for one in stretches if one.watched]),
        "clipped_seconds": total([one for one in stretches if one.kind == State.CLIPPED]),
        "dropped_seconds": sum(seconds for _, source, seconds in found.dropped if source == name),
        "idle_seconds": total([one for one in stretches if one.kind == State.IDLE]),
        "unwatched_seconds": total([one for one in stretches if one.unwatched]),
        "muted_seconds": total([one for one in stretches if one.muted]),
        "unwatched": {kind: _extent(of_kind) for kind, of_kind in _by_kind(stretches).items()},
        "longest_unwatched": _longest(longest_unwatched(stretches)),
    }


def _by_kind(stretches: list[Stretch]) -> dict[str, list[Stretch]]:
    """What was not watched, the longest kind first."""
    kinds: dict[str, list[Stretch]] = {}
    for one in stretches:
        if one.unwatched:
            kinds.setdefault(one.kind, []).append(one)
    return dict(sorted(kinds.items(), key=lambda item: -total(item[1])))


def _extent(stretches: list[Stretch]) -> dict[str, Any]:
    return {"seconds": total(stretches), "at_most": any(one.at_most for one in stretches)}


def _longest(run: list[Stretch]) -> dict[str, Any] | None:
    if not run:
        return None
    kinds = [f"{kind} ({of_kind[0].reason})" if of_kind[0].reason else kind for kind, of_kind in _by_kind(run).items()]
    return {"from": stamp(run[0].start), "to": stamp(run[-1].end), **_extent(run), "why": ", ".join(kinds)}


def _lines(account: dict[str, Any]) -> list[str]:
    """The table of a source."""
    span_seconds = account["span_seconds"]

    def row(title: str, seconds: float, note: str = "") -> str:
        return f"  {title:<16}{seconds / 3600:9.2f} h {100 * seconds / span_seconds:6.2f} %{note}"

    lines = [
        f"{account['source']}: {span_seconds / 3600:.2f} h, {_shown(account)}",
        row("watched", account["watched_seconds"]),
    ]
    if account["clipped_seconds"]:
        lines.append(row("  CLIPPED", account["clipped_seconds"], "  scored, but samples are at full scale"))
    if account["dropped_seconds"]:
        lines.append(row("  dropped", account["dropped_seconds"], "  not scored, which fell behind"))
    lines += [row("idle", account["idle_seconds"]), row("not watched", account["unwatched_seconds"])]
    for kind, extent in account["unwatched"].items():
        lines.append(row(f"  {kind}", extent["seconds"], "  at most" if extent["at_most"] else ""))
    if account["muted_seconds"]:
        lines.append(row("muted", account["muted_seconds"], "  of all this: nobody was called"))
    if longest := account["longest_unwatched"]:
        lasted = f"{'at most ' if longest['at_most'] else ''}{duration(longest['seconds'])}"
        lines.append(f"  longest not watched: {_shown(longest)}, {lasted}: {longest['why']}")
    return lines


def _shown(span: dict[str, Any]) -> str:
    return f"{shown(datetime.fromisoformat(span['from']))} to {shown(datetime.fromisoformat(span['to']))}"


def _clock_line(clock: ClockSet) -> str:
    far = f"{long_duration(abs(clock.seconds))} to {shown(clock.to)}"
    if not clock.told:
        return (
            f"The wall clock was set back by at least {far}, which no event tells; of the time around it less is known."
        )
    if clock.seconds < 0:
        return f"The wall clock was set back by {far}; no time is counted twice."
    return (
        f"The wall clock was set forwards by {far}; that time is not counted. If the device slept, or was off without "
        "a clock of its own, nothing was watched for as long."
    )
