"""What the documentation tells people to type, and whether the programs know it. Nothing is run."""

from __future__ import annotations

import importlib
import re
import shlex
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import click

PROGRAMS = {
    "dasvdd-train": "dasvdd_train.cli",
    "dasvdd-export": "dasvdd_export.cli",
    "dasvdd-monitor": "dasvdd_runtime.cli",
    "dasvdd-sign": "dasvdd_runtime.signing.cli",
    "dasvdd-reproduce": "dasvdd_train.reproduction.cli",
}
"""Program -> the module with its `main`, as in pyproject.toml."""

FENCE = re.compile(r"(?ms)^ *```(\w*)\n(.*?)^ *```$")
SPAN = re.compile(r"`([^`\n]+)`")
SEPARATOR = re.compile(r"\s(?:\||>|;|&&|&)(?=\s)")
PLACEHOLDER = re.compile(r"[A-Z$|]|\.\.\.")
"""In a value: NAME, $model, int8|fp16."""


def main_of(program: str) -> click.Command:
    """The click command of `program`."""
    command: click.Command = importlib.import_module(PROGRAMS[program]).main
    return command


def blocks(text: str, *languages: str) -> list[str]:
    """The fenced blocks of a Markdown `text` in one of `languages`; "" is a block without one."""
    return [body for language, body in FENCE.findall(text) if language in languages]


def spans(text: str) -> list[str]:
    """What stands in backticks outside fenced blocks."""
    return SPAN.findall(FENCE.sub("", text))


def command_lines(text: str) -> Iterator[str]:
    """Each command of a Markdown `text`, of blocks and of spans, that names one of the programs."""
    lines = [line for body in blocks(text, "sh", "") for line in body.replace("\\\n", " ").splitlines()]
    for line in lines + spans(text):
        for command in SEPARATOR.split(line):
            if any(program in command for program in PROGRAMS) and "─" not in command:  # which draws a diagram
                yield command.strip()


def complaint(line: str) -> str:
    """Why a program would refuse the command `line` before it looks at any file; empty where it would not."""
    words = shlex.split(line, comments=True)
    places = [
        place
        for place, (before, word) in enumerate(pairwise(["", *words]))
        if Path(word).name in PROGRAMS and before not in ("-u", "-t")  # of a unit, of an image
    ]
    if not places or not words[places[-1] + 1 :]:
        return ""  # a name of a service, or a program without anything to check
    program, arguments = Path(words[places[-1]]).name, words[places[-1] + 1 :]
    try:
        check(main_of(program), arguments, program)
    except click.exceptions.Exit:
        return ""  # --version, --help
    except click.BadOptionUsage as error:
        if error.option_name != words[-1]:  # `dasvdd-monitor record --config` names an option
            return f"{line}: {error.format_message()}"
    except click.UsageError as error:
        return f"{line}: {error.format_message()}"
    return ""


def check(command: click.Command, arguments: list[str], name: str) -> None:
    """Raises click.UsageError where `command` has no such option, command or value, or lacks what it requires."""
    if isinstance(command, click.Group):
        if arguments[0].startswith("-"):  # `dasvdd-reproduce --stack auto` is of its commands
            if arguments[0] not in _options(command):
                raise click.NoSuchOption(arguments[0])
            return
        with click.Context(command, info_name=name) as context:
            _, chosen, rest = command.resolve_command(context, arguments)
        assert chosen is not None
        if rest:  # `dasvdd-monitor ack` alone is a name, not a command to type
            check(chosen, rest, f"{name} {arguments[0]}")
        return
    with click.Context(command, info_name=name) as context:
        values, rest, _ = command.make_parser(context).parse_args(list(arguments))
        if rest:
            raise click.UsageError(f"{name} takes no further {' '.join(rest)}")
        complete = not all(word.startswith("-") for word in arguments[:1])  # `dasvdd-export --all` names an option
        for parameter in command.params:
            given = values.get(parameter.name or "")
            if isinstance(parameter, click.Argument) and parameter.required and complete and not given:
                raise click.MissingParameter(ctx=context, param=parameter)
            for value in given if isinstance(given, list | tuple) else [given]:
                if (
                    isinstance(value, str)
                    and not PLACEHOLDER.search(value)
                    and not isinstance(parameter.type, click.Path)
                ):
                    parameter.type.convert(value, parameter, context)


def options() -> set[str]:
    """Every option of every program."""
    return {option for program in PROGRAMS for option in _options(main_of(program))}


def _options(command: click.Command) -> Iterator[str]:
    with click.Context(command) as context:
        for parameter in command.get_params(context):
            yield from [*parameter.opts, *parameter.secondary_opts]
        if isinstance(command, click.Group):
            for name in command.list_commands(context):
                found = command.get_command(context, name)
                assert found is not None
                yield from _options(found)
