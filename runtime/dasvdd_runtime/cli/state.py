"""How the commands about alarms find state.db."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import ParamSpec, TypeVar

import click

from ..configuration.config import EVIDENCE_FOLDER, load_config, state_directory_from_environment
from ..errors import ConfigError, DasvddError
from ..state.state_store import StateStore

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
    directory = state_directory(config_path, directory)
    store = StateStore.open_existing(directory)
    try:
        yield store
    except sqlite3.Error as error:
        raise DasvddError(f"{directory}/state.db: {error}. Nothing was changed; try it again.") from error
    finally:
        store.close()


def evidence_directory(config_path: Path | None, directory: Path | None) -> Path:
    """Where the clips of alarms are, as the options say. Raises ConfigError where nothing says so."""
    if directory is None and config_path is not None and (found := load_config(config_path).evidence.directory):
        return found
    return state_directory(config_path, directory) / EVIDENCE_FOLDER


def state_directory(config_path: Path | None, directory: Path | None) -> Path:
    """Where state.db is, as the options say. Raises ConfigError where nothing says so."""
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
    return directory


def shown(time: datetime) -> str:
    """`time` in UTC, to the second."""
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"
