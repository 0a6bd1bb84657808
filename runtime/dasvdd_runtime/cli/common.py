"""What the commands of all three programs share: faults become one line and an exit code, and common options."""

from __future__ import annotations

import functools
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, ParamSpec, TypeVar, cast

import click

from ..errors import EXIT_NO_INPUT, DasvddError
from ..words import harmless

EXIT_INTERRUPTED = 128 + signal.SIGINT
EXIT_BROKEN_PIPE = 128 + signal.SIGPIPE

P = ParamSpec("P")
R = TypeVar("R")


def reports_errors(command: Callable[P, R]) -> Callable[P, R]:
    """Decorator of a command's function, innermost.

    A DasvddError is printed as `error: ...` on standard error and exits with its exit code; Ctrl-C exits with 130;
    a reader of standard output that went away (`| head`) ends the program quietly with 141. Any other exception is
    a fault of the program and keeps its traceback.
    """

    @functools.wraps(command)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            result = command(*args, **kwargs)
            sys.stdout.flush()
            return result
        except DasvddError as error:
            click.echo(f"error: {harmless(str(error))}", err=True)
            sys.exit(error.exit_code)
        except (KeyboardInterrupt, click.Abort):
            click.echo("interrupted", err=True)
            sys.exit(EXIT_INTERRUPTED)
        except BrokenPipeError:
            # What is still buffered has no reader; without this the interpreter complains at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(EXIT_BROKEN_PIPE)

    return guarded


class InputPath(click.Path):
    """A path that must be there: exit code 66 where it is not, and click's 2 for a file where a folder is wanted."""

    def __init__(self, *, file_okay: bool = True) -> None:
        super().__init__(file_okay=file_okay, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """`value` as a Path."""
        path = cast(Path, super().convert(value, param, ctx))
        if not path.exists():
            name = "" if param is None else param.get_error_hint(ctx) if ctx else param.name
            raise _InputMissing(f"{name}: {path}: there is no such file or folder. Check the path.")
        return path


class _InputMissing(click.ClickException):
    exit_code = EXIT_NO_INPUT

    def show(self, file: IO[Any] | None = None) -> None:
        click.echo(f"error: {self.message}", file=file, err=file is None)


def examples(*lines: str) -> str:
    """An epilog for a command's help: the heading `Examples:` and `lines`, which click then leaves unwrapped."""
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)])


def _known_provider(context: click.Context, parameter: click.Parameter, name: str) -> str:
    from ..model_files.execution_providers import AUTO, unknown_provider

    fault = None if name == AUTO else unknown_provider(name)
    if fault:
        raise click.BadParameter(fault)
    return name


def model_options(command: Callable[P, R]) -> Callable[P, R]:
    """The options `--provider` and `--threads` of commands that open a model."""
    provider = click.option(
        "--provider",
        metavar="NAME",
        callback=_known_provider,
        default="auto",
        show_default=True,
        help="Where the model runs: cpu, cuda, tensorrt, openvino, xnnpack, or a name that another package registers; "
        "an error unless all arithmetic really runs there. auto: CUDA if it can be had, else the CPU.",
    )
    threads = click.option(
        "--threads", type=click.IntRange(min=1), default=1, show_default=True, help="Threads for one run of the model."
    )
    return provider(threads(command))
