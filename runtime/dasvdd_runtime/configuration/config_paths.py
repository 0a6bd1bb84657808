"""Do the places to which a configuration has the monitor write spare what it reads, and each other? Reads no file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from ..errors import ConfigError

_DATABASES = ("state.db", "outbox.db")
_BESIDE_A_DATABASE = ("", "-wal", "-shm", "-journal")


def refuse_overlaps(events: Path, keep: int, *, read: Iterable[Path], folders: Mapping[str, Path]) -> None:
    """Raise ConfigError if the event file, or one that it is rotated to, is another file of the monitor's, or a folder.

    `keep`: rotated files. `read`: what the monitor reads. `folders`: where it keeps its own, by the key that says so.
    """
    written = {events.resolve(): events}
    for number in range(1, keep + 1):
        rotated = events.with_name(f"{events.name}.{number}")
        written[rotated.resolve()] = rotated
    for file in read:
        if (clash := written.get(file.resolve())) is not None:
            raise ConfigError(
                f"[events] path: {clash} is a file that the monitor reads, and events would overwrite it. "
                "Choose another, for instance events.jsonl."
            )
    for key, folder in folders.items():
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
