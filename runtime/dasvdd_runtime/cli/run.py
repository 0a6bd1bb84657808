"""`dasvdd-monitor run`: sources -> alarms, as a monitor.toml says."""

from __future__ import annotations

import logging
import os
import platform
import signal
import sys
import threading
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import FrameType

import click

from .. import __version__, events
from ..capture import Capture
from ..config import MonitorConfig, load_config
from ..errors import EXIT_OK, ConfigError
from ..logs import log_to_stderr
from ..pipeline import DecisionRule, Pipeline
from ..scorer import Scorer
from ..service import Channel, Service
from ..sinks.jsonl import RotatingFile, Sink, StreamSink
from ..sources import make_source
from .common import examples, reports_errors

log = logging.getLogger(__name__)


@click.command(
    epilog=examples(
        "dasvdd-monitor run monitor.toml",
        "dasvdd-monitor run monitor.toml --max-seconds 60 | jq .event",
        "arecord -t raw -f S16_LE -r 16000 -c 1 | dasvdd-monitor run stdin.toml",
    )
)
@click.argument("config_path", metavar="MONITOR.TOML", type=click.Path(path_type=Path))
@click.option("--max-seconds", type=click.FloatRange(min=0, min_open=True), help="Stop after this long.")
@reports_errors
def run(config_path: Path, max_seconds: float | None) -> None:
    """Watch the sources of MONITOR.TOML and raise alarms.

    Events go to standard output as JSON lines, and to the file that [events] names; lines for people to standard
    error. Runs until all sources have ended or SIGTERM or Ctrl-C comes; then scores what has arrived, writes it and
    exits with 0.
    """
    log_to_stderr()
    config = load_config(config_path)
    scorer = Scorer(config.model.path, provider=config.model.provider)
    scorer.verify_golden()
    for field in scorer.unknown_fields:
        log.warning("the model's metadata has the field '%s', which this version ignores", field)
    rule = decision_rule(config, scorer)
    wake = threading.Event()
    channels = make_channels(config, scorer, rule, wake)
    service = Service(channels, make_sinks(config), wake=wake)
    _stop_on_signals(service)
    all_joined = service.run(started_event(config, scorer, rule), max_seconds=max_seconds)
    if not all_joined:  # a driver holds a thread; ending the interpreter would wait for it for ever
        log.warning("a device does not let go; leaving it behind")
        sys.stderr.flush()
        os._exit(EXIT_OK)


def decision_rule(config: MonitorConfig, scorer: Scorer) -> DecisionRule:
    """The model's decision chain with the configuration's overrides, which are said loudly."""
    metadata = scorer.metadata
    settings, threshold = config.decision.apply(metadata.decision, metadata.calibration.threshold)
    overrides = config.decision.overrides()
    if overrides:
        listed = ", ".join(f"{name} = {value:g}" for name, value in overrides.items())
        log.warning(
            "[decision] replaces the model's own: %s. How often that will alarm falsely is not known: the %g false "
            "alarms a day that the model was calibrated for hold for its own settings only.",
            listed,
            metadata.calibration.false_alarms_per_day,
        )
    return DecisionRule(threshold, settings, metadata.calibration.usual_score)


def make_channels(config: MonitorConfig, scorer: Scorer, rule: DecisionRule, wake: threading.Event) -> list[Channel]:
    """A capture and a pipeline for each source. Raises as make_source does."""
    channels = []
    for table in config.sources:
        pipeline = Pipeline(
            name=table.name,
            metadata=scorer.metadata,
            scorer=scorer,
            rule=rule,
            silent_seconds=table.silent_seconds,
            stall_seconds=table.stall_seconds,
            report_scores=config.events.scores,
        )
        source = make_source(table, scorer.metadata)
        capture = Capture(source, name=table.name, stall_seconds=table.stall_seconds, wake=wake)
        channels.append(Channel(capture, pipeline))
    return channels


def make_sinks(config: MonitorConfig) -> list[Sink]:
    """The event file first, so that a reader of standard output that hangs cannot keep an event from the disk."""
    sinks: list[Sink] = []
    if config.events.path is not None:
        try:
            sinks.append(RotatingFile(config.events.path, max_bytes=config.events.max_bytes, keep=config.events.keep))
        except OSError as error:
            raise ConfigError(f"[events] path: {config.events.path} cannot be written: {error.strerror}") from error
    # A replay can wait for a slow reader, `less` say; a machine cannot.
    only_files = all(source.kind == "file" for source in config.sources)
    sinks.append(StreamSink(patience_seconds=None) if only_files else StreamSink())
    return sinks


def started_event(config: MonitorConfig, scorer: Scorer, rule: DecisionRule) -> events.Event:
    """The first event."""
    return events.started(
        scorer.metadata,
        threshold=rule.threshold,
        settings=rule.settings,
        overrides=config.decision.overrides(),
        provider=scorer.provider,
        sources=[table.name for table in config.sources],
        versions={"dasvdd": __version__, "onnxruntime": _onnxruntime_version(), "python": platform.python_version()},
    )


def _onnxruntime_version() -> str:
    for package in ("onnxruntime", "onnxruntime-gpu"):
        try:
            return version(package)
        except PackageNotFoundError:
            continue
    return "unknown"


def _stop_on_signals(service: Service) -> None:
    """SIGTERM and SIGINT stop `service`; a second one ends the program at once."""

    def stop(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        service.request_stop(f"signal {signal.Signals(number).name}")

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
