"""`dasvdd-monitor inspect`: what a model file is."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from ..errors import EXIT_DATA
from .common import examples, reports_errors


@click.command(
    epilog=examples(
        "dasvdd-monitor inspect model.onnx",
        "dasvdd-monitor inspect model.onnx --html model_card.html",
        "dasvdd-monitor inspect model.onnx --json | jq .fingerprints",
    )
)
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="One JSON object in place of lines for people.")
@click.option(
    "--html", "html_path", type=click.Path(path_type=Path), help="Also write a model card: one page, no links."
)
@reports_errors
def inspect(model: Path, as_json: bool, html_path: Path | None) -> None:
    """Say what MODEL is: input, threshold and how it came about, training data, graph, fingerprints, golden windows.

    Exit code 65 for a file that cannot be used, and also where its golden windows do not repeat on this machine.
    """
    from ..model_files.inspection import facts, inspect_model

    found = inspect_model(model)
    if html_path is not None:
        from ..files import write_atomically
        from ..model_files.model_card import model_card

        write_atomically(html_path, model_card(found).encode("utf-8"))
        click.echo(f"wrote {html_path}", err=True)
    if as_json:
        click.echo(json.dumps(found.as_json()))
    else:
        for heading, rows in facts(found).items():
            click.echo(heading)
            for name, value in rows:
                click.echo(f"  {name:<16}{value}")
    if found.golden_fault is not None:
        sys.exit(EXIT_DATA)
