"""One training a folder: a lock that the operating system releases with the process."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dasvdd_runtime.errors import ConfigError


@contextmanager
def sole_training_in(out: Path) -> Iterator[None]:
    """Make the folder `out` if need be, and keep other trainings out of it. Raises ConfigError if one is there."""
    out.mkdir(parents=True, exist_ok=True)
    folder = os.open(out, os.O_RDONLY)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(
                f"{out}: another training is at work in this folder, and two would overwrite each other's checkpoints "
                "and model. Wait until it has ended, or give --out another folder."
            ) from error
        except OSError:
            pass  # a file system without locks
        yield
    finally:
        os.close(folder)
