"""`dasvdd-export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from dasvdd_runtime import __version__
from dasvdd_runtime.cli.common import reports_errors

if TYPE_CHECKING:
    from .export import Outcome

PATH = click.Path(path_type=Path)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("model", type=PATH)
@click.option("--out", type=PATH, help="Where to write; default: model.onnx next to the model.")
@click.option(
    "--calibration",
    "calibration_data",
    type=click.Path(exists=True, path_type=Path),
    help="Normal recordings that were not trained on, in place of holdout.npz: a folder, a file or a manifest.",
)
@click.option("--false-alarms-per-day", type=click.FloatRange(min=0, min_open=True), help="Calibrate for another rate.")
@click.option("--sbom", is_flag=True, help="Also write a CycloneDX bill of materials beside it (dasvdd[sbom]).")
@click.version_option(__version__, prog_name="dasvdd-export")
@reports_errors
def main(
    model: Path, out: Path | None, calibration_data: Path | None, false_alarms_per_day: float | None, sbom: bool
) -> None:
    """Fuse front end, networks, center and gamma of MODEL (a model.pt) into one ONNX file that emits the score.

    Nothing is written unless torch and onnxruntime agree on held-out windows and on silence, noise, tones, squares
    and clipped input.

    \b
    Examples:
      dasvdd-export runs/pump7/model.pt
      dasvdd-export runs/pump7/model.pt --sbom
      dasvdd-export runs/pump7/model.pt --false-alarms-per-day 0.2
      dasvdd-export runs/pump7/model.pt --calibration recordings/healthy_next_week --out pump7.onnx
    """
    from dasvdd_runtime.extras import require

    require("dasvdd-export", "export", ("torch", "onnx", "onnxscript", "onnxruntime", "rich"))
    if sbom:
        require("--sbom", "sbom", ("cyclonedx", "packageurl", "packaging"))
    from .export import export

    click.echo(f"exporting {model} and comparing torch with onnxruntime ...", err=True)
    outcome = export(
        model,
        out or model.with_suffix(".onnx"),
        calibration_data=calibration_data,
        false_alarms_per_day=false_alarms_per_day,
    )
    _show(outcome)
    if sbom:
        from .sbom import write_sbom

        click.echo(f"wrote {write_sbom(outcome.path, outcome.metadata)}")


def _show(outcome: Outcome) -> None:
    from dasvdd_runtime.words import duration
    from rich.console import Console
    from rich.table import Table

    table = Table("input", "windows", "largest relative difference", "allowed")
    for finding in outcome.findings:
        table.add_row(finding.name, str(finding.windows), f"{finding.difference:.1e}", f"{finding.limit:.0e}")
    Console().print(table)
    calibration = outcome.calibration
    extrapolated = ", extrapolated" if calibration.extrapolates else ""
    click.echo(
        f"one window, one thread: torch {outcome.torch_milliseconds:.2f} ms, "
        f"onnxruntime {outcome.onnxruntime_milliseconds:.2f} ms"
    )
    click.echo(
        f"threshold {calibration.threshold:.6g} for {calibration.false_alarms_per_day:g} false alarm(s) a day "
        f"({duration(3600 * calibration.hours)} of normal running{extrapolated})"
    )
    click.echo(f"wrote {outcome.path} ({outcome.bytes_written / 1024:,.0f} KiB)")
