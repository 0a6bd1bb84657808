"""`dasvdd-monitor test-alarm`: do alarms arrive where they should?"""

from __future__ import annotations

import time
import uuid
from pathlib import Path

import click

from ..configuration.config import load_config
from ..errors import Unavailable
from .check_receivers import nobody_is_called
from .common import examples, reports_errors
from .state import open_state, state_options

POLL_SECONDS = 0.1


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

    It is marked "test": true and is no alarm of a machine. Fails with exit code 69 if no monitor takes it.
    """
    id = str(uuid.uuid4())
    with open_state(config_path, directory) as store:
        store.ask_for_test(id, source)
        deadline = time.monotonic() + wait_seconds
        while not (taken := store.test_taken(id)) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        store.forget_test(id)
    if not taken:
        raise Unavailable(
            f"no monitor took the test alarm within {wait_seconds:g} s. Does it run, with this state directory? "
            "`systemctl status dasvdd-monitor` shows it."
        )
    config = None if config_path is None else load_config(config_path)
    if config is not None and not config.receivers:
        click.echo(f"the monitor has taken the test alarm {id}, but {nobody_is_called(config)}")
    else:
        click.echo(f"the monitor has sent the test alarm {id}. Has it arrived where alarms should?")
