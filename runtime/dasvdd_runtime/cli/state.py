"""How the commands about alarms find state.db."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ParamSpec, TypeVar

import click

from ..alarm_commands import opened_state
from ..config import load_config, state_directory_from_environment
from ..errors import ConfigError
from ..state_store import StateStore

P = ParamSpec("P")
R = TypeVar("R")


def state_options(command: Callable[P, R]) -> Callable[P, R]:
    """The options `--config` and `--state`, one of which says where state.db is."""
    config = click.option(
        "--config",
        "config_path",
        metavar="MONITOR.TOML",
        type=click.Path(path_type=Path),
        help="Take the state directory of this configuration.",
    )
    state = click.option(
        "--state", "directory", type=click.Path(path_type=Path, file_okay=False), help="The state directory itself."
    )
    return config(state(command))


@contextmanager
def open_state(config_path: Path | None, directory: Path | None) -> Iterator[StateStore]:
    """state.db, as the options say. Raises ConfigError where nothing says so, and as StateStore.open_existing."""
    if directory is None and config_path is not None:
        directory = load_config(config_path).state.directory
        if directory is None:
            raise ConfigError(
                f"{config_path}: there is no state directory, so alarms are not kept. Add\n"
                '  [state]\n  directory = "/var/lib/dasvdd"\nand restart the monitor, or give --state DIRECTORY.'
            )
    directory = directory or state_directory_from_environment()
    if directory is None:
        raise ConfigError(
            "where does the monitor keep its state? Give --config MONITOR.TOML (with a table [state] in it), or "
            "--state DIRECTORY."
        )
    with opened_state(directory) as store:
        yield store
