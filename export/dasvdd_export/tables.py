"""What an export prints."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import click
from dasvdd_runtime.calibration import Calibration
from dasvdd_runtime.stream_scorer import stream_path
from dasvdd_runtime.words import count, duration
from rich.console import Console
from rich.table import Table

from .export import Outcome
from .export_variants import Row
from .parity import Finding
from .recenter import Report
from .stream_export import StreamFile


def show_outcome(outcome: Outcome) -> None:
    """The comparison with torch, the threshold, and the file."""
    _show_findings(outcome.findings, "torch and onnxruntime")
    click.echo(
        f"one window, one thread: torch {outcome.torch_milliseconds:.2f} ms, "
        f"onnxruntime {outcome.onnxruntime_milliseconds:.2f} ms"
    )
    click.echo(_threshold(outcome.calibration))
    click.echo(f"wrote {outcome.path} ({outcome.bytes_written / 1024:,.0f} KiB)")
    if outcome.stream:
        _show_stream(outcome.stream, stream_path(outcome.path))


def _show_findings(findings: Sequence[Finding], compared: str) -> None:
    table = Table("input", "windows", "largest relative difference", "allowed", title=compared, title_justify="left")
    for finding in findings:
        table.add_row(finding.name, str(finding.windows), f"{finding.difference:.1e}", f"{finding.limit:.0e}")
    Console().print(table)


def _show_stream(stream: StreamFile, path: Path) -> None:
    """The comparison of the two forms, what the stream form gains, and the file."""
    _show_findings(stream.findings, "plain form and stream form, in onnxruntime")
    metadata = stream.metadata
    click.echo(
        f"one more window ({metadata.window_seconds:g} s every {metadata.window_hop_seconds:g} s), one thread: plain "
        f"form {stream.plain_milliseconds:.2f} ms, stream form {stream.stream_milliseconds:.2f} ms"
    )
    click.echo(f"wrote {path} ({len(stream.content) / 1024:,.0f} KiB); copy it beside the plain form")


def show_variants(rows: Sequence[Row]) -> None:
    """What each variant costs, and which were written with which threshold."""
    table = Table(
        "networks", "AUC", "pAUC", "shift: median", "worst", "rank", "flips", "KiB", "p50 ms", "p99 ms", "MB",
    )  # fmt: skip
    for row in rows:
        separated, cost, speed = row.separation, row.cost, row.speed
        table.add_row(
            row.name,
            *([f"{separated.auc:.4f}", f"{separated.partial_auc:.4f}"] if separated else ["-", "-"]),
            *(
                [
                    f"{cost.shift_median:+.2%}",
                    f"{cost.shift_worst:+.2%}",
                    f"{cost.rank_correlation:.4f}",
                    f"{cost.flipped_share:.2%}",
                ]
                if cost
                else ["-"] * 4
            ),
            f"{len(row.finished.content) / 1024:,.0f}",
            f"{speed.p50_milliseconds:.2f}",
            f"{speed.p99_milliseconds:.2f}",
            "-" if speed.resident_megabytes is None else f"{speed.resident_megabytes:.0f}",
        )
    Console(width=120).print(table)
    compared = next(row.cost for row in rows if row.cost)
    click.echo(
        f"against fp32 over {compared.windows} windows; time of one window, and resident memory, in a process of "
        "its own"
    )
    for row in rows:
        if row.refusal:
            click.echo(f"{row.name} was not written: {row.refusal}")
        elif row.path:
            calibration = row.finished.metadata.calibration
            click.echo(f"wrote {row.path} ({row.name}): {_threshold(calibration)}")


def show_recentring(report: Report) -> None:
    """How far standardisation, center and scores moved."""
    table = Table("new held-out recordings", "median score", "95 %", "above the threshold", "explained")
    for name, scores in (("by the original model", report.before), ("recentred", report.after)):
        above = f"{scores.above:.1%}" if math.isfinite(scores.above) else "-"
        table.add_row(name, f"{scores.median:.5g}", f"{scores.high:.5g}", above, f"{scores.explained:.1%}")
    Console(width=120).print(table)
    click.echo(
        f"set from {duration(report.seconds)}, judged on {duration(report.held_out_seconds)} held out; in training "
        f"{report.trained_explained:.1%} of the features were explained"
    )
    if report.after.explained < report.trained_explained / 2:
        click.echo("the networks explain less than half of what they did: training on this site would be better")
    smallest, largest = report.std_ratios
    click.echo(
        f"means moved by {report.mean_shift_median:.2g} deviations in the median band, {report.mean_shift_worst:+.2g} "
        f"in {report.worst_band}; deviations are now {smallest:.2g} to {largest:.2g} of the former, the center moved "
        f"by {report.center_shift:.2g} of the codes' spread"
    )
    if report.constant_bands:
        click.echo(f"without change here, their deviation kept: {', '.join(report.constant_bands)}")
    old = "none" if report.old_threshold is None else f"{report.old_threshold:.6g}"
    click.echo(f"threshold {old} -> {report.new_threshold:.6g}; wrote {report.model}")


def warn_not_ready(reasons: Sequence[str]) -> None:
    """On standard error, what dasvdd-train found that must be mended before the model is used."""
    for reason in reasons:
        click.echo(f"warning: this model is not ready: {reason}", err=True)


def _threshold(calibration: Calibration) -> str:
    extrapolated = ", extrapolated" if calibration.extrapolates else ""
    return (
        f"threshold {calibration.threshold:.6g} for {count(calibration.false_alarms_per_day, 'false alarm')} a day "
        f"({duration(3600 * calibration.hours)} of normal running{extrapolated})"
    )
