"""Where a secret stands: a file or the environment, never the configuration itself, and never the log."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import ConfigError
from .strict_config import StrictModel


class Secret(StrictModel):
    """Where a secret is read from, each time that it is needed, so that a new one needs no restart."""

    label: str
    """What the keys, or options, begin with that say where it is: 'label_file', 'label_env'."""
    file: Path | None
    env: str
    joint: str = "_"
    """What stands behind the label there."""

    def read(self) -> str | None:
        """The secret, or None where none is configured. Raises ConfigError where there is none, or only blanks."""
        if self.env:
            value = os.environ.get(self.env, "")
            if not value.strip():
                raise ConfigError(
                    f"{self.label}{self.joint}env: the environment variable {self.env} is not set or blank"
                )
            return value
        if self.file is None:
            return None
        try:
            value = self.file.read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{self.label}{self.joint}file: {self.file} cannot be read: {_short(error)}") from error
        if not value.strip():
            raise ConfigError(f"{self.label}{self.joint}file: {self.file} is empty or blank: no secret stands in it")
        return value


def refuse_two_places(name: str, file: Path | None, env: str) -> None:
    """Raise ValueError where the secret `name` is said to stand in a file and in the environment."""
    if file is not None and env:
        raise ValueError(f"the {name} is in {name}_file or in {name}_env: keep one of them")


def _short(error: OSError | UnicodeDecodeError) -> str:
    return str(error.strerror) if isinstance(error, OSError) else "it is not UTF-8"
