"""`dasvdd-monitor verify`: does a model really run where it should, and score there as at its export?"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import click

from ..errors import EXIT_FAILURE
from .common import examples, reports_errors


@click.command(
    epilog=examples(
        "dasvdd-monitor verify model.onnx",
        "dasvdd-monitor verify model.onnx --provider cuda",
        "dasvdd-monitor verify model.onnx --provider xnnpack --allow-cpu",
    )
)
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--provider",
    "name",
    default="cpu",
    show_default=True,
    help="Where it should run: cpu, cuda, tensorrt, openvino, xnnpack, or a name that another package registers.",
)
@click.option("--allow-cpu", is_flag=True, help="Some of the nodes may run on the CPU, but not all.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object in place of lines for people.")
@reports_errors
def verify(model: Path, name: str, allow_cpu: bool, as_json: bool) -> None:
    """List where each node of MODEL really runs, and repeat its golden windows there, without TF32.

    Exit code 1 where nodes fall to the CPU (shapes and indexes may) or a golden window does not repeat; 69 where this
    machine does not have the provider.
    """
    from ..model_files.verification import verify_provider

    found = verify_provider(model, name)
    faults = found.faults(allow_cpu=allow_cpu)
    if as_json:
        click.echo(
            json.dumps(
                {
                    "schema": "1.0",
                    "model": str(model),
                    "asked": found.placement.asked,
                    "nodes": [asdict(node) for node in found.placement.nodes],
                    "relative_difference": found.golden_difference,
                    "relative_tolerance": found.relative_tolerance,
                    "faults": faults,
                }
            )
        )
    else:
        for node in found.placement.nodes:
            note = "  (shapes and indexes)" if node.whole_numbers else ""
            click.echo(f"{node.provider:<27}{node.operator:<14}{node.name}{note}")
        if found.golden_fault is None:
            click.echo(
                f"golden windows score as at the export, to {found.golden_difference:.1g} relative "
                f"(allowed {found.relative_tolerance:.1g})"
            )
        for fault in faults:
            click.echo(f"FAIL: {fault}")
        if not faults:
            click.echo(f"ok: {model} runs on {found.placement.asked}")
    if faults:
        sys.exit(EXIT_FAILURE)
