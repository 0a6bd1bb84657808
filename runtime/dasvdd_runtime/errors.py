"""Errors that a user can act on, and the exit codes of all programs.

An error says what was wrong, with both numbers, why it matters and what to do next. The exit codes are those of
sysexits.h, so that a service manager can tell a broken configuration (do not restart) from a passing fault.
"""

from __future__ import annotations

EXIT_OK = 0
EXIT_FAILURE = 1  # the program did its work and the answer is no: a parity gate or a check that failed
EXIT_USAGE = 2  # command line options; click's own code
EXIT_DATA = 65  # recordings or a model file that cannot be used
EXIT_NO_INPUT = 66  # recordings, data, a model, a key or a state directory that is not there
EXIT_UNAVAILABLE = 69  # a package, a provider or a device that is not there
EXIT_CONFIG = 78  # a configuration that cannot work or is not there; systemd is told not to restart on it


class DasvddError(Exception):
    """A fault with a message for the user; the program prints it without a traceback and exits with `exit_code`."""

    exit_code = EXIT_FAILURE


class DataError(DasvddError):
    """Recordings or tables that cannot be used."""

    exit_code = EXIT_DATA


class ModelError(DasvddError):
    """A model file that is damaged, incomplete or of an unknown schema."""

    exit_code = EXIT_DATA


class SignatureError(ModelError):
    """A model whose signature is missing, does not fit, is not trusted, has expired or is older than what ran."""


class InputMissing(DasvddError):
    """A path that does not exist."""

    exit_code = EXIT_NO_INPUT


class Unavailable(DasvddError):
    """A package, an execution provider or a capture device that this machine does not have."""

    exit_code = EXIT_UNAVAILABLE


class ConfigError(DasvddError):
    """A configuration value that is unknown, out of range or contradictory."""

    exit_code = EXIT_CONFIG


def nearest(word: str, known: list[str]) -> str:
    """` Did you mean 'x'?` for the known word most like `word`, or an empty string."""
    import difflib

    matches = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f" Did you mean '{matches[0]}'?" if matches else ""
