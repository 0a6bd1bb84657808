"""The findings of `dasvdd-monitor check`: a line each, and the exit code that they come to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ..errors import EXIT_FAILURE, EXIT_OK, DasvddError

if TYPE_CHECKING:
    from ..condition.comparison import Verdict


class Report:
    """Prints one line a finding and remembers the exit code of the first failure."""

    def __init__(self) -> None:
        self.exit_code = EXIT_OK
        self.warnings = 0

    def add(self, verdict: Verdict, subject: str, text: str, *, exit_code: int = EXIT_FAILURE) -> None:
        """Print a finding; `exit_code` counts where it is a failure."""
        click.echo(f"{verdict:<8} {subject}: {text}")
        self.warnings += verdict == "warning"
        if verdict == "FAIL" and self.exit_code == EXIT_OK:
            self.exit_code = exit_code

    def fail(self, subject: str, error: DasvddError) -> None:
        """Print the fault `error`."""
        self.add("FAIL", subject, str(error), exit_code=error.exit_code)
