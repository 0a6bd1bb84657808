"""`dasvdd-export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click
from dasvdd_runtime import __version__
from dasvdd_runtime.cli.common import InputPath, reports_errors
from dasvdd_runtime.errors import EXIT_FAILURE

if TYPE_CHECKING:
    from .checked import FileFormat
    from .variants import VariantName

PATH = click.Path(path_type=Path)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("model", type=PATH)
@click.option("--out", type=PATH, help="Where to write; default: model.onnx next to the model.")
@click.option(
    "--calibration",
    "calibration_data",
    type=InputPath(),
    help="Normal recordings that were not trained on, in place of holdout.npz: a folder, a file or a manifest.",
)
@click.option("--false-alarms-per-day", type=click.FloatRange(min=0, min_open=True), help="Calibrate for another rate.")
@click.option(
    "--recenter",
    type=InputPath(),
    help="Normal recordings of this site: set standardisation, center and threshold anew from them, without training. "
    "--out then names a folder for the new model.pt and model.onnx; default: recentred/ next to the model.",
)
@click.option(
    "--variant",
    type=click.Choice(["fp32", "fp16", "int8"]),
    default="fp32",
    show_default=True,
    help="Precision of the networks; the front end and the score stay fp32.",
)
@click.option("--all", "all_variants", is_flag=True, help="fp32, int8, and fp16 where it is faster, with a table.")
@click.option(
    "--for",
    "device",
    metavar="DEVICE",
    help="The variant, and the threads to measure with, that a device's profile names (firmware_configs/devices); fp32 "
    "where the model does not bear that variant.",
)
@click.option(
    "--max-drop",
    type=click.FloatRange(0, 1),
    default=0.02,
    show_default=True,
    help="Write no variant that moves a larger share of windows across the threshold, or whose rank correlation with "
    "fp32 lacks more than this to 1.",
)
@click.option("--even-if-slower", is_flag=True, help="Write fp16 also where it is no faster.")
@click.option(
    "--measure-on",
    type=click.Choice(["cpu", "cuda"]),
    default="cpu",
    show_default=True,
    help="Provider that the variants' speed is measured on.",
)
@click.option(
    "--format",
    "file_format",
    type=click.Choice(["onnx", "ort"]),
    default="onnx",
    show_default=True,
    help="ort: onnxruntime's own format, which builds without an ONNX parser read.",
)
@click.option(
    "--stream",
    is_flag=True,
    help="Also write the stream form, model.stream.onnx: it computes each frame of overlapping windows once.",
)
@click.option("--sbom", is_flag=True, help="Also write a CycloneDX bill of materials beside it (dasvdd[sbom]).")
@click.version_option(__version__, prog_name="dasvdd-export")
@reports_errors
def main(
    model: Path,
    out: Path | None,
    calibration_data: Path | None,
    false_alarms_per_day: float | None,
    recenter: Path | None,
    variant: VariantName,
    all_variants: bool,
    device: str | None,
    max_drop: float,
    even_if_slower: bool,
    measure_on: Literal["cpu", "cuda"],
    file_format: FileFormat,
    stream: bool,
    sbom: bool,
) -> None:
    """Fuse front end, networks, center and gamma of MODEL (a model.pt) into one ONNX file that emits the score.

    Nothing is written unless torch and onnxruntime agree on held-out windows and on silence, noise, tones, squares
    and clipped input. A variant in fewer bits has a threshold of its own; exit code 1 where it is not good enough.

    \b
    Examples:
      dasvdd-export runs/pump7/model.pt
      dasvdd-export runs/pump7/model.pt --stream
      dasvdd-export runs/pump7/model.pt --sbom
      dasvdd-export runs/pump7/model.pt --variant int8
      dasvdd-export runs/pump7/model.pt --for raspberry-pi-5
      dasvdd-export runs/pump7/model.pt --all --out pump7.onnx
      dasvdd-export runs/pump7/model.pt --false-alarms-per-day 0.2
      dasvdd-export runs/pump7/model.pt --recenter recordings/after_new_microphone
      dasvdd-export runs/pump7/model.pt --calibration recordings/healthy_next_week --out pump7.onnx
    """
    from dasvdd_runtime.extras import require

    require("dasvdd-export", "export", ("torch", "onnx", "onnxscript", "onnxruntime", "rich"))
    if sbom:
        require("--sbom", "sbom", ("cyclonedx", "packageurl", "packaging"))
    if recenter and calibration_data:
        raise click.UsageError("--recenter sets the threshold from its own recordings: leave out --calibration.")
    if recenter and out and out.suffix in (".onnx", ".ort"):
        raise click.UsageError(f"--out {out}: with --recenter it names a folder, for the new model.pt and model.onnx.")
    if out and not recenter and out.resolve() in (model.resolve(), model.with_name("holdout.npz").resolve()):
        raise click.UsageError(f"--out {out}: that is what the export reads, and would be lost. Name an .onnx file.")
    if device and (all_variants or variant != "fp32"):
        raise click.UsageError("--for takes the variant from the device's profile: leave out --variant and --all.")
    from dasvdd_runtime.devices.profile import load_profile

    if stream and (device or all_variants or variant != "fp32"):
        raise click.UsageError("--stream is made of the fp32 form alone: leave out --variant, --all and --for.")
    profile = load_profile(device) if device else None
    variant = profile.variant if profile else variant
    from .export import check, export
    from .export_variants import export_variants
    from .tables import show_outcome, show_recentring, show_variants, warn_not_ready
    from .variants import VARIANTS

    def say(step: str) -> None:
        click.echo(f"{step} ...", err=True)

    if recenter:
        from .recenter import recenter as set_anew

        report = set_anew(model, recenter, out or model.with_name("recentred"), say=say)
        show_recentring(report)
        model, out = report.model, None
    say(f"exporting {model}")
    if variant == "fp32" and not all_variants:
        outcome = export(
            model,
            out or model.with_suffix(f".{file_format}"),
            calibration_data=calibration_data,
            false_alarms_per_day=false_alarms_per_day,
            file_format=file_format,
            stream=stream,
            say=say,
        )
        show_outcome(outcome)
        not_ready = outcome.not_ready
        written = [(outcome.path, outcome.metadata)]
        failed = False
    else:
        names = VARIANTS if all_variants else (variant,)
        checked = check(
            model,
            calibration_data=calibration_data,
            false_alarms_per_day=false_alarms_per_day,
            file_format=file_format,
            say=say,
        )
        say(f"making and measuring {', '.join(names)}")
        rows = export_variants(
            checked,
            {name: _path(out, model.with_suffix(f".{file_format}"), name, alone=not all_variants) for name in names},
            max_drop=max_drop,
            even_if_slower=even_if_slower,
            provider=measure_on,
            threads=profile.threads if profile else 1,
            instead=_path(out, model.with_suffix(f".{file_format}"), "fp32", alone=True) if profile else None,
        )
        show_variants(rows)
        not_ready = checked.trained.not_ready
        written = [(row.path, row.finished.metadata) for row in rows if row.path]
        failed = not profile and any(row.failed or (row.name == variant and row.refusal) for row in rows)
    if sbom:
        from .sbom import write_sbom

        for path, metadata in written:
            click.echo(f"wrote {write_sbom(path, metadata)}")
    warn_not_ready(not_ready)
    if written and not not_ready:
        click.echo(f"next: dasvdd-monitor score {written[0][0]} RECORDINGS --summary, then dasvdd-monitor init")
    if failed:
        raise SystemExit(EXIT_FAILURE)


def _path(out: Path | None, default: Path, name: VariantName, *, alone: bool) -> Path:
    """Where a variant goes: `out` where it is the only one, else beside that or `default`: model.int8.onnx."""
    base = out or default
    return base if name == "fp32" or (out and alone) else base.with_suffix(f".{name}{base.suffix}")
