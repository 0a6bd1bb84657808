"""Do the places to which a configuration has the monitor write spare what it reads, and each other? Reads no file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import ConfigError

if TYPE_CHECKING:
    from .config import MonitorConfig

_DATABASES = ("state.db", "outbox.db")
_BESIDE_A_DATABASE = ("", "-wal", "-shm", "-journal")


def refuse_overlaps(path: Path, config: MonitorConfig) -> None:
    """Raise ConfigError if the event file, or one that it is rotated to, is another file of the monitor's, or a folder.

    `path`: of the configuration. Those of `config` are relative to the working directory.
    """
    events = config.events.path
    if events is None:
        return
    written = {events.resolve(): events}
    for number in range(1, config.events.keep + 1):
        rotated = events.with_name(f"{events.name}.{number}")
        written[rotated.resolve()] = rotated
    for file in [path, *_read(config)]:
        if (clash := written.get(file.resolve())) is not None:
            raise ConfigError(
                f"[events] path: {clash} is a file that the monitor reads, and events would overwrite it. "
                "Choose another, for instance events.jsonl."
            )
    for key, folder in _folders(config).items():
        for name in (base + end for base in _DATABASES for end in _BESIDE_A_DATABASE):
            if (clash := written.get((folder / name).resolve())) is not None:
                raise ConfigError(
                    f"[events] path: {clash} is a file that the monitor keeps for {key}, and events would destroy it. "
                    "Choose another, for instance events.jsonl."
                )
        for target, clash in written.items():
            if target in (folder.resolve(), *folder.resolve().parents):
                raise ConfigError(
                    f"[events] path: {clash} is to be a file, and {key} = {folder} needs a folder there. "
                    "Choose another, for instance events.jsonl."
                )


def _read(config: MonitorConfig) -> Iterable[Path]:
    """The files that tables name: models, recordings, keys, tokens."""
    tables = [*config.models, *config.sources, *config.webhook, config.mqtt, config.http]
    for table in tables:
        if table is not None:
            yield from table.paths().values()
    for model in config.models:
        yield from model.trusted_keys


def _folders(config: MonitorConfig) -> dict[str, Path]:
    folders = {"[state] directory": config.state.directory, "[evidence] directory": config.evidence.directory}
    if config.mqtt is not None or config.webhook:
        folders["[outbox] folder"] = config.outbox.folder
    return {key: folder for key, folder in folders.items() if folder is not None}
