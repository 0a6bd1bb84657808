"""`dasvdd-monitor`: a group of commands, each in the module of its name, imported when it is used."""

from __future__ import annotations

import importlib
from typing import Any, cast

import click

from .. import __version__
from ..errors import nearest
from .common import examples, reports_errors

COMMANDS = {
    "init": "Write the files that set a device up.",
    "run": "Watch sources and raise alarms, as a configuration says.",
    "check": "Say whether a configuration, its model and its microphone are fit to run.",
    "inspect": "Say what a model file is, with a page for people if wanted.",
    "verify": "Say where each node of a model runs here, and whether its scores hold.",
    "score": "Score recordings with a model.",
    "record": "Record training data with the capture code of run.",
    "devices": "List the capture devices.",
    "calibrate": "Learn the thresholds on site, from a time of normal running.",
    "alarms": "List alarms, what was said of them, and mutes.",
    "ack": "Acknowledge alarms and say whether they were real.",
    "mute": "Keep alarms of a source from calling anybody, for a time.",
    "test-alarm": "Send a test alarm through the running monitor.",
    "hours": "Say for how many hours each machine was watched, and why not.",
    "export-labels": "Write judged alarms as a manifest for training and testing.",
    "bench": "Measure how fast a model runs here and how much memory it takes.",
}


class LazyGroup(click.Group):
    """Knows its commands' names and one-line helps without importing them, so that --help is quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order in which a user meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command `cmd_name`, imported now; None if there is no such command."""
        if cmd_name not in COMMANDS:
            return None
        name = cmd_name.replace("-", "_")
        return cast(click.Command, getattr(importlib.import_module(f"{__name__}.{name}"), name))

    def invoke(self, ctx: click.Context) -> Any:
        """Click's, with the exit code and word of `reports_errors` for a Ctrl-C while a command is imported."""
        return reports_errors(super().invoke)(ctx)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Click's, with the nearest known command where there is none of the name."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            ctx.fail(f"no such command '{args[0]}'.{nearest(args[0], list(COMMANDS))}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands from the table above."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=examples(
        "dasvdd-monitor score model.onnx recordings/",
        "dasvdd-monitor check monitor.toml",
        "dasvdd-monitor run monitor.toml",
    ),
)
@click.version_option(__version__, prog_name="dasvdd-monitor")
def main() -> None:
    """Listen to a machine with a model from dasvdd-export and raise an alarm when it sounds different."""
