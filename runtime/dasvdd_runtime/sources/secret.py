"""A secret from a file or the environment, never from the configuration itself, and never into the log."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import ConfigError


def read_secret(key: str, file: Path | None, variable: str | None) -> str | None:
    """The secret in `file` without its line end, or in the environment `variable`; None where neither is given.

    Raises ConfigError, which names `key` and not the secret, where it cannot be read or is empty.
    """
    if file is not None:
        try:
            secret = file.read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{key}_file: {file} cannot be read: {error}") from error
        origin = f"{key}_file: {file}"
    elif variable is not None:
        secret, origin = os.environ.get(variable, ""), f"{key}_env: the environment variable {variable}"
    else:
        return None
    if not secret:
        raise ConfigError(f"{origin} is empty or not there; the secret belongs there")
    return secret
