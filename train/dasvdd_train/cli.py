"""`dasvdd-train`."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from dasvdd_runtime import __version__
from dasvdd_runtime.cli.common import InputPath, reports_errors
from dasvdd_runtime.errors import ConfigError

if TYPE_CHECKING:
    from dasvdd_runtime.reading.manifest import Segment

    from .config import TrainConfig

EXISTING = InputPath()


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("data", type=EXISTING)
@click.option("--out", type=click.Path(path_type=Path), help="Folder for model.pt and its report.")
@click.option("--dry-run", is_flag=True, help="Read and judge DATA, estimate time and memory, train nothing.")
@click.option("--name", default="", help="What the model listens to; default: the name of the --out folder.")
@click.option("--test-normal", type=EXISTING, help="Recordings of normal running, to evaluate with.")
@click.option("--test-anomalous", type=EXISTING, help="Recordings of faults, to evaluate with.")
@click.option(
    "--holdout",
    type=click.Choice(["tail", "recordings", "none"]),
    help="Held-out data for the threshold: the last 20 % of every recording (default), whole recordings, or none.",
)
@click.option("--strict", is_flag=True, help="A recording that cannot be used is fatal instead of left out.")
@click.option(
    "--rate", "sample_rate_hz", type=float, help="Sample rate of the model in Hz; a table without times needs it."
)
@click.option("--channel", help="A channel's number from 0, 'mean' or 'all'; default 0 for audio, all for sensors.")
@click.option("--columns", help="Columns of a CSV, by name or position from 1, separated by commas.")
@click.option("--units", help="Unit per column, separated by commas, for instance g,g,g.")
@click.option("--epochs", type=int, help="Default 300, as in the paper.")
@click.option("--false-alarms-per-day", type=float, help="What the threshold is calibrated for; default 1.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), help="Default auto: CUDA if it is there.")
@click.option("--precision", type=click.Choice(["fp32", "bf16"]), help="Default fp32.")
@click.option("--seed", type=int, help="Default 0.")
@click.option("--resume", is_flag=True, help="Go on with an interrupted training in --out, with the same options.")
@click.option("--tensorboard", is_flag=True, help="Log each epoch to OUT/tensorboard as well (extra: tensorboard).")
@click.option(
    "--config", type=click.Path(path_type=Path), help="TOML file of settings; config.toml of an earlier run is one."
)
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="One setting over all others.")
@click.version_option(__version__, prog_name="dasvdd-train")
@reports_errors
def main(
    data: Path,
    out: Path | None,
    dry_run: bool,
    name: str,
    test_normal: Path | None,
    test_anomalous: Path | None,
    resume: bool,
    tensorboard: bool,
    config: Path | None,
    assignments: tuple[str, ...],
    **options: Any,
) -> None:
    """Train on recordings of a healthy machine and write model.pt with its report into --out.

    DATA is a folder of WAV, FLAC or OGG files (any depth), a folder of time series (CSV, NPY, NPZ or Parquet), one such
    file, or a manifest: a CSV with the columns path, start_seconds, end_seconds, role, machine, condition, note.

    \b
    Examples:
      dasvdd-train recordings/healthy --out runs/pump7
      dasvdd-train recordings/healthy --out runs/pump7 --test-normal ok/ --test-anomalous broken/
      dasvdd-train vibration.csv --rate 200 --units g,g,g --out runs/fan
      dasvdd-train recordings/healthy --dry-run
      dasvdd-train recordings/healthy --out runs/pump7 --resume
      dasvdd-train protocol.csv --out runs/bldc --set front_end.mel_bands=64 --seed 1
    """
    from dasvdd_runtime.extras import require

    if out is None and not dry_run:
        raise click.UsageError("Missing option '--out': the folder for model.pt and its report (or --dry-run).")
    # Before torch is imported. Threads that spin while they wait make training many times slower as soon as another
    # program wants a core, and gain nothing measurable where none does.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    require("dasvdd-train", "train", ("torch", "matplotlib", "jinja2", "rich", "sklearn", "tomli_w"))
    from dasvdd_runtime.reading.manifest import check_apart, find_segments, passed_over

    from .checkpoint import CHECKPOINT_NAME
    from .config import load_config, parse_assignment
    from .console import ConsoleListener
    from .run import run
    from .summary import calibration_line, evaluation_lines
    from .tensorboard import TensorBoardLog

    settings = load_config(config, _as_assignments(options) | dict(map(parse_assignment, assignments)))
    if out is not None and not dry_run:
        _make_writable(out)
    segments = find_segments(data)
    if test_normal:
        segments += find_segments(test_normal, role="test_normal")
    if test_anomalous:
        segments += find_segments(test_anomalous, role="test_anomalous")
    check_apart(segments)
    for words in map(passed_over, filter(None, (data, test_normal, test_anomalous))):
        if words:
            click.echo(f"warning: {words}", err=True)
    if dry_run or out is None:
        _show_plan(segments, settings)
        click.echo(f"next: the same command without --dry-run{'' if out else ', and with --out FOLDER'}")
        return
    with ConsoleListener(epochs=settings.training.epochs, segments=len(segments)) as listener:
        try:
            result = run(
                segments,
                out,
                settings,
                name=name or out.resolve().name,
                listener=listener,
                resume=resume,
                watchers=[TensorBoardLog(out).epoch] if tensorboard else [],
            )
        except KeyboardInterrupt:
            if (out / CHECKPOINT_NAME).exists():
                listener.say("every finished epoch is kept: the same command with --resume goes on")
            else:
                listener.say("no epoch had finished, so there is nothing to resume: the same command begins anew")
            raise
    if result.trained.calibration:
        click.echo(calibration_line(result.trained.calibration))
    if result.evaluation:
        for line in evaluation_lines(result.evaluation, result.inspection.rivals):
            click.echo(line)
    for file in result.files:
        click.echo(f"wrote {file}")
    model = out / "model.pt"
    former = f"; {out / 'model.onnx'} is of the model that was there before" if (out / "model.onnx").exists() else ""
    report = out / "report.html"
    export = f"dasvdd-export {model}{'' if result.trained.calibration else ' --calibration DATA'}"
    if any(doubt.serious for doubt in result.warnings):
        click.echo(f"next: open {report}: it says why this model is not ready, and what to do{former}")
    else:
        click.echo(f"next: open {report}, then {export}{former}")


def _show_plan(segments: list[Segment], settings: TrainConfig) -> None:
    """What a training would read and cost, on standard output."""
    from dasvdd_runtime.words import duration
    from rich.console import Console

    from .console import ConsoleListener
    from .dry_run import plan, role_table

    with ConsoleListener(epochs=settings.training.epochs, segments=len(segments)) as listener:
        found = plan(segments, settings, listener=listener)
    Console(highlight=False).print(role_table(found))
    for warning in found.warnings:
        if warning.code not in ("left-out", "upsampled", "too-short-to-alarm"):  # those were printed as they were found
            click.echo(f"warning: {warning}")
    click.echo(
        f"would train on {found.vectors} feature vectors in {found.steps} steps: about "
        f"{duration(found.training_seconds)} on this machine as busy as it is now, "
        f"{found.memory_bytes / 2**30:.1f} GiB of memory, {found.disk_bytes / 2**30:.2f} GiB of temporary file in --out"
    )


def _make_writable(out: Path) -> None:
    """Make the folder `out`. Raises ConfigError now rather than after hours of training."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise ConfigError(f"--out {out}: {error.strerror}, so a model could not be written there") from error


KEYS = {
    "holdout": "data.holdout",
    "strict": "data.strict",
    "sample_rate_hz": "data.sample_rate_hz",
    "channel": "data.channel",
    "columns": "data.columns",
    "units": "data.units",
    "epochs": "training.epochs",
    "device": "training.device",
    "precision": "training.precision",
    "seed": "training.seed",
    "false_alarms_per_day": "alarm.false_alarms_per_day",
}


def _as_assignments(options: dict[str, Any]) -> dict[str, Any]:
    """The options that were given, as settings."""
    given = {KEYS[option]: value for option, value in options.items() if value is not None and value is not False}
    for key in ("data.columns", "data.units"):
        if key in given:
            given[key] = [part.strip() for part in given[key].split(",")]
    return given
