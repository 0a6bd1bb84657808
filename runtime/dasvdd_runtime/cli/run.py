"""`dasvdd-monitor run`: sources -> alarms, as a monitor.toml says."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click

from ..alarms.desk import AlarmDesk
from ..assembly import Assembly, versions
from ..config import MonitorConfig
from ..endpoint.pulse import Pulse
from ..errors import EXIT_OK, ConfigError
from ..logs import log_to_stderr
from ..service import Service
from ..service_manager import ServiceManager
from ..sinks.jsonl import RotatingFile, Sink, StreamSink
from .common import examples, reports_errors

if TYPE_CHECKING:
    from ..evidence.keeper import EvidenceKeeper
    from ..sinks.delivery import DeliveredOutbox

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
    exits with 0. SIGHUP makes it read MONITOR.TOML and the models anew.
    """
    log_to_stderr()
    wake = threading.Event()
    assembly = Assembly(config_path, wake=wake)
    manager, pulse = ServiceManager.from_environment(), Pulse()

    def beat() -> None:
        manager.heartbeat()
        pulse.beat()

    sinks, outbox = make_sinks(assembly.config)
    config = assembly.config
    alarms = AlarmDesk(config.state.directory, latch=config.alarm.latch)
    evidence = _make_evidence(config)
    alarms.tell_of(evidence)
    service = Service(
        assembly.channels(evidence),
        sinks,
        wake=wake,
        alarms=alarms,
        heartbeat=beat,
        reload=assembly.reload,
    )
    with _links(assembly, service, outbox) as commands, _endpoint(assembly, service, outbox, pulse, commands):
        _obey_signals(service)
        manager.ready()
        all_joined = service.run(assembly.started(), *assembly.notices(), max_seconds=max_seconds)
    if not all_joined:  # a driver holds a thread; ending the interpreter would wait for it for ever
        log.warning("a device does not let go; leaving it behind")
        sys.stderr.flush()
        os._exit(EXIT_OK)


def make_sinks(config: MonitorConfig) -> tuple[list[Sink], DeliveredOutbox | None]:
    """The event file and the outbox first, so that a reader of standard output that hangs holds up neither.

    The outbox, where there is one, is given a second time, to be asked about.
    """
    sinks: list[Sink] = []
    outbox: DeliveredOutbox | None = None
    if config.events.path is not None:
        try:
            sinks.append(RotatingFile(config.events.path, max_bytes=config.events.max_bytes, keep=config.events.keep))
        except OSError as error:
            raise ConfigError(f"[events] path: {config.events.path} cannot be written: {error.strerror}") from error
    if config.mqtt is not None or config.webhook:
        from ..sinks.receivers import make_outbox

        outbox = make_outbox(config)
        sinks.append(outbox)
    sinks.append(StreamSink(patience_seconds=None) if _only_replays(config) else StreamSink())
    return sinks, outbox


def _only_replays(config: MonitorConfig) -> bool:
    """A replay can wait for a slow reader, `less` say, or a slow disk; a machine cannot."""
    return all(source.kind == "file" for source in config.sources)


def _make_evidence(config: MonitorConfig) -> EvidenceKeeper | None:
    """What keeps clips of alarms, where there is a place for them."""
    if config.evidence_folder is None:
        return None
    from ..evidence.keeper import keep_evidence

    return keep_evidence(config.evidence, config.evidence_folder, patient=_only_replays(config))


@contextmanager
def _links(
    assembly: Assembly, service: Service, outbox: DeliveredOutbox | None
) -> Iterator[Callable[[], Mapping[str, int]]]:
    """Be part of what [mqtt] names meanwhile; gives how many of its commands were taken and refused."""
    table = assembly.config.mqtt
    if table is None or outbox is None or not table.tells_what_is_now:
        yield dict
        return
    from ..integrations.commands import Commands
    from ..integrations.start import start_links, stop_links

    commands = Commands(assembly.config.state.directory)
    links = start_links(table, service.snapshot, commands, outbox=outbox, folder=assembly.config.outbox.folder)
    try:
        yield commands.counts.copy
    finally:
        stop_links(links)


@contextmanager
def _endpoint(
    assembly: Assembly,
    service: Service,
    outbox: DeliveredOutbox | None,
    pulse: Pulse,
    commands: Callable[[], Mapping[str, int]],
) -> Iterator[None]:
    """Serve the page, metrics and probes meanwhile, if the configuration says so."""
    table = assembly.config.http
    if table is None:
        yield
        return
    from ..endpoint.observed import Observed
    from ..endpoint.start import serve

    observed = Observed(
        sources=service.snapshot,
        events=service.event_counts.copy,
        scorers=assembly.scorers,
        receivers=dict if outbox is None else outbox.standings,
        since_beat_seconds=pulse.since_beat_seconds,
        commands=commands,
        versions=versions(),
        thresholds=lambda: assembly.thresholds,
    )
    config = assembly.config
    endpoint = serve(
        table, observed, state_directory=config.state.directory, evidence_directory=config.evidence.directory
    )
    try:
        yield
    finally:
        endpoint.close()


def _obey_signals(service: Service) -> None:
    """SIGTERM and SIGINT stop `service`; a second one ends the program at once. SIGHUP makes it read anew."""

    def stop(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        service.request_stop(f"signal {signal.Signals(number).name}")

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    signal.signal(signal.SIGHUP, lambda number, frame: service.request_reload())
