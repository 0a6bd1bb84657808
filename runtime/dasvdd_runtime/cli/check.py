"""`dasvdd-monitor check`: is everything that `run` would need here, and does it sound like the training recordings?"""

from __future__ import annotations

import errno
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import EXIT_CONFIG, EXIT_OK, EXIT_UNAVAILABLE, DasvddError
from ..files import fault_of_writing
from ..logs import log_to_stderr
from ..words import count
from . import trial_capture
from .bench import measure, measure_stream
from .check_evidence import check_evidence
from .check_receivers import cannot_write, check_receivers
from .check_report import Report
from .common import examples, reports_errors

if TYPE_CHECKING:
    from ..configuration.config import DecisionTable, EventsTable, ModelTable, MonitorConfig
    from ..scorer import Scorer
    from ..sources.tables import SourceTable
    from ..stream_scorer import StreamScorer

SPEED_SECONDS = 0.3
HEADROOM = 2.0
"""How much faster than real time scoring should be for all sources together."""


@click.command(
    epilog=examples(
        "dasvdd-monitor check monitor.toml",
        "dasvdd-monitor check monitor.toml --seconds 30 && systemctl start dasvdd-monitor",
    )
)
@click.argument("config_path", metavar="MONITOR.TOML", type=click.Path(path_type=Path))
@click.option(
    "--seconds",
    type=click.FloatRange(min=2),
    default=6.0,
    show_default=True,
    help="How long to listen to each source, while the machine runs as usual.",
)
@reports_errors
def check(config_path: Path, seconds: float) -> None:
    """Say whether MONITOR.TOML, its model and its sources are fit to run; one line each: ok, warning or FAIL.

    Each source is opened for a few seconds, and its level and spectrum are compared with the training recordings. Of a
    file the beginning is read; standard input is left alone. Exit code: 0 without a FAIL, 78 for a configuration that
    cannot work, 65 or 66 for a model that cannot be used, 69 for a provider or device that cannot be had, else 1.
    """
    log_to_stderr(logging.WARNING)
    report = Report()
    config = check_config(config_path, report)
    hanging = False
    if config is not None:
        scorers = {model.name: check_model(config, model, report) for model in config.models}
        judges = {table.name: scorers[config.model_of(table).name] for table in config.sources}
        check_evidence(config, {name: s.metadata for name, s in judges.items() if s is not None}, report)
        for table in config.sources:
            scorer = judges[table.name]
            if scorer is not None:
                check_threshold(config, table, scorer, report)
                hanging = check_source(table, scorer, seconds, report) or hanging
    fit = "fit to run" if report.exit_code == EXIT_OK else "not fit to run"
    click.echo(f"{fit}, {count(report.warnings, 'warning')}")
    if hanging:  # a driver holds a thread; an ordinary end would wait for it for ever
        sys.stdout.flush()
        os._exit(report.exit_code)
    sys.exit(report.exit_code)


def check_config(path: Path, report: Report) -> MonitorConfig | None:
    """Report on the configuration; None if it cannot be used."""
    from ..configuration.config import load_config

    try:
        config = load_config(path)
    except DasvddError as error:
        report.fail("configuration", error)
        return None
    names = ", ".join(f"{source.name} ({source.kind})" for source in config.sources)
    report.add("ok", "configuration", f"{path}: {names}")
    check_events(config.events, report)
    check_receivers(config, report)
    return config


def check_events(events: EventsTable, report: Report) -> None:
    """Report on whether the event file could be written."""
    if events.path is None:
        return
    if events.path.exists():  # its folder need not take other files
        allowed = os.access(events.path, os.W_OK)
        fault = None if allowed else OSError(errno.EACCES, os.strerror(errno.EACCES))
    else:
        fault = fault_of_writing(events.path.parent)
    if events.path.is_dir():
        report.add("FAIL", "events", f"{events.path} is a folder. Name a file.", exit_code=EXIT_CONFIG)
    elif fault is not None:
        text = f"{events.path} cannot be written: {cannot_write(events.path, fault)}, or name another file."
        report.add("FAIL", "events", text, exit_code=EXIT_CONFIG)
    else:
        report.add("ok", "events", f"{events.path} can be written")


def check_model(config: MonitorConfig, model: ModelTable, report: Report) -> Scorer | None:
    """Report on model, decision, golden windows, provider and speed; None if the model cannot score."""
    from ..running.loaded_model import open_model

    try:
        scorer, signed = open_model(model, config.state.directory)
        metadata = scorer.metadata
        report.add(
            "ok",
            "model",
            f"{metadata.name}, exported {metadata.created}: {count(metadata.channels, 'channel')} at "
            f"{metadata.sample_rate_hz:g} Hz, a window of {metadata.window_seconds:g} s every "
            f"{metadata.window_hop_seconds:g} s",
        )
        if signed is not None:
            report.add("ok", "signature", signed.in_words)
        if scorer.unknown_fields:
            report.add("warning", "model", f"fields unknown to this version: {', '.join(scorer.unknown_fields)}")
        report.add("ok", "provider", f"{scorer.provider}, asked for {model.provider}")
        difference = scorer.verify_golden()
    except DasvddError as error:
        report.fail("model", error)
        return None
    report.add(
        "ok",
        "golden windows",
        f"{len(metadata.golden.scores)} score as at the export, to {difference:.1g} relative "
        f"(allowed {scorer.golden_tolerance:.1g})",
    )
    check_decision(config.overrides_of(model), scorer, report)
    stream = check_stream(config, model, scorer, report)
    check_speed(sum(config.model_of(source) is model for source in config.sources), stream or scorer, report)
    return scorer


def check_stream(config: MonitorConfig, model: ModelTable, plain: Scorer, report: Report) -> StreamScorer | None:
    """Report on the stream form that lies beside the model; None where there is none to use."""
    from ..running.loaded_model import open_stream

    try:
        found = open_stream(model, plain, config.state.directory)
    except DasvddError as error:
        report.fail("stream form", error)
        return None
    if found.not_used is not None:
        report.add("warning", "stream form", f"not used, the plain form scores: {found.not_used}")
    if found.scorer is not None:
        report.add("ok", "stream form", "scores the golden windows as the plain form does, and is used in its place")
    return found.scorer


def check_decision(decision: DecisionTable, scorer: Scorer, report: Report) -> None:
    """Report on the threshold in force and what it rests on."""
    from ..thresholds.choice import out_of_reach, rests_on
    from ..thresholds.promises import is_out_of_reach

    calibration = scorer.metadata.calibration
    try:
        _, threshold = decision.apply(scorer.metadata.decision, calibration.threshold)
    except DasvddError as error:
        report.fail("decision", error)
        return
    calibrated = f"calibrated {calibration.threshold:.5g} {rests_on(calibration)}"
    overrides = decision.overrides()
    if overrides:
        changed = ", ".join(f"{name} = {value:g}" for name, value in overrides.items())
        report.add("warning", "decision", f"[decision] sets {changed}, so the rate no longer holds; {calibrated}")
        if is_out_of_reach(threshold, calibration):
            report.add("FAIL", "decision", out_of_reach(threshold, calibration), exit_code=EXIT_CONFIG)
    else:
        report.add("ok", "decision", f"threshold {threshold:.5g}, {calibrated}")


def check_threshold(config: MonitorConfig, table: SourceTable, scorer: Scorer, report: Report) -> None:
    """Report on the threshold that judges a source, and on a calibration on site that does not."""
    from ..condition.spectrum_drift import SpectrumWatch
    from ..thresholds.choice import threshold_in_force

    decision = config.overrides_of(config.model_of(table))
    try:
        settings, _ = decision.apply(scorer.metadata.decision, scorer.metadata.calibration.threshold)
    except DasvddError:
        return  # told with the model
    directory = config.state.directory
    threshold = threshold_in_force(directory, table.name, scorer.metadata, settings, decision.threshold)
    subject = f"{table.name}, threshold"
    rests = f"{threshold.value:.5g}: {threshold.why}"
    if threshold.unpromised is None:
        report.add("ok", subject, rests)
    else:
        report.add("warning", subject, f"{rests}; {threshold.unpromised}")
    if threshold.site_not_used is not None:
        report.add("warning", subject, f"the one calibrated on site is not used: {threshold.site_not_used}")
    rests_on = "the calibration on site" if threshold.origin == "site" else "the training"
    if SpectrumWatch.of(threshold.spectrum, scorer.metadata) is None:
        text = (
            f"level and scores alone are compared: {rests_on} noted no usual spectrum. `dasvdd-monitor calibrate` does."
        )
    else:
        text = f"the spectrum is compared with that of {rests_on}"
    report.add("ok", f"{table.name}, drift", text)


def check_speed(sources: int, scorer: Scorer | StreamScorer, report: Report) -> None:
    """Report on whether this machine scores as fast as the model's `sources` give samples."""
    from ..stream_scorer import StreamScorer

    if isinstance(scorer, StreamScorer):
        timing = measure_stream(scorer, seconds=SPEED_SECONDS)
    else:
        timing = measure(scorer, batch=1, seconds=SPEED_SECONDS)
    times = timing.times_real_time / sources
    text = (
        f"a window takes {timing.p50_milliseconds:.2g} ms: {times:.3g} times real time for {count(sources, 'source')}"
    )
    if times < 1:
        report.add("FAIL", "speed", f"{text}, 1 is the least. Use fewer sources, or train with a longer window hop.")
    elif times < HEADROOM:
        report.add("warning", "speed", f"{text}; below {HEADROOM:g} a busy moment can lose samples")
    else:
        report.add("ok", "speed", text)


def check_source(table: SourceTable, scorer: Scorer, seconds: float, report: Report) -> bool:
    """Report on one source; True if its device hangs and still holds a thread."""
    from ..condition.comparison import compare_capture
    from ..running.channels import open_intake

    metadata = scorer.metadata
    if table.kind == "file":
        table = table.model_copy(update={"pace": "fast"})
    try:
        source, intake = open_intake(table, metadata)
        if table.kind == "stdin":
            report.add("ok", table.name, "standard input is not read by check")
            return False
        capture = trial_capture.TrialCapture(source, seconds)
        if not capture.wait():
            report.add(
                "FAIL",
                table.name,
                f"the device hangs: it gave {capture.captured_seconds:.1f} s of samples in "
                f"{seconds + trial_capture.PATIENCE_SECONDS:g} s. Unplug it and plug it in again.",
                exit_code=EXIT_UNAVAILABLE,
            )
            return True
        samples = capture.samples()
        if intake.channels is not None:
            samples = samples[:, intake.channels]
    except DasvddError as error:
        report.fail(table.name, error)
        return False
    seconds_heard = len(samples) / metadata.sample_rate_hz
    heard = f"{seconds_heard:.1f} s at {metadata.sample_rate_hz:g} Hz from {table.description}"
    if capture.overflowed:
        report.add("warning", table.name, f"{heard}, with samples lost: is this machine too busy?")
    elif capture.lost:
        report.add(
            "warning",
            table.name,
            f"{heard}, with {capture.lost} rows missing in between. Set max_gap_seconds above the time between two.",
        )
    else:
        report.add("ok", table.name, heard)
    for finding in compare_capture(samples, metadata):
        report.add(finding.verdict, f"{table.name}, {finding.subject}", finding.text)
    return False
