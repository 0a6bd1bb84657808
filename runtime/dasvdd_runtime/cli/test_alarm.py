"""`dasvdd-monitor test-alarm`: do alarms arrive where they should?"""

from __future__ import annotations

import sys
import time
import uuid
from datetime import datetime
from pathlib import Path

import click

from ..alarms.arrivals import Arrival
from ..configuration.config import load_config
from ..errors import EXIT_FAILURE, Unavailable
from .check_receivers import nobody_is_called
from .common import examples, reports_errors
from .state import open_state, state_options

POLL_SECONDS = 0.1
KIND = "test_alarm"


@click.command(
    epilog=examples(
        "dasvdd-monitor test-alarm --config monitor.toml",
        "dasvdd-monitor test-alarm --state /var/lib/dasvdd --source pump7",
    )
)
@state_options
@click.option("--source", help="Send it in the name of this source.")
@click.option("--wait", "wait_seconds", type=click.FloatRange(min=1), default=5.0, show_default=True, help="Seconds.")
@reports_errors
def test_alarm(config_path: Path | None, directory: Path | None, source: str | None, wait_seconds: float) -> None:
    """Have the running monitor send the event test_alarm wherever its events go.

    It is marked "test": true and is no alarm of a machine. By receiver, it is told whether that has it, or until when
    its limit holds it. Fails with exit code 1 where one does not have it within --wait, 69 if no monitor takes it.
    """
    id = str(uuid.uuid4())
    found: dict[str, Arrival] | None = None
    with open_state(config_path, directory) as store:
        store.ask_for_test(id, source)
        deadline = time.monotonic() + wait_seconds
        while time.monotonic() < deadline and (found is None or _on_its_way(found)):
            time.sleep(POLL_SECONDS)
            found = store.arrivals(id)
        taken = store.test_taken(id)
        store.forget_test(id)
    if not taken:
        raise Unavailable(
            f"no monitor took the test alarm within {wait_seconds:g} s. Does it run, with this state directory? "
            "`systemctl status dasvdd-monitor` shows it."
        )
    config = None if config_path is None else load_config(config_path)
    if config is not None and not config.receivers:
        click.echo(f"the monitor has taken the test alarm {id}, but {nobody_is_called(config)}")
        return
    click.echo(f"the monitor has sent the test alarm {id}.")
    passed_over = [] if config is None else [table.receiver for table in config.email if KIND not in table.events]
    for name, arrival in (found or {}).items():
        click.echo(f"  {name}: {f'its events leave {KIND} out' if name in passed_over else _in_words(arrival)}")
    click.echo("Has it arrived where alarms should?")
    if any(arrival.state in ("refused", "waiting") for arrival in (found or {}).values()):
        sys.exit(EXIT_FAILURE)


def _on_its_way(found: dict[str, Arrival]) -> bool:
    return any(arrival.state == "waiting" for arrival in found.values())


def _in_words(arrival: Arrival) -> str:
    if arrival.state == "held":
        assert arrival.until is not None
        until = f"{datetime.fromtimestamp(arrival.until):%H:%M:%S}"
        return f"held until {until} by its most_per_hour; what must call goes at once"
    if arrival.state == "waiting":
        return f"not delivered: {arrival.fault or 'no answer yet'}. It is tried again until it works"
    return "refused; the log says what it answered" if arrival.state == "refused" else "delivered"
