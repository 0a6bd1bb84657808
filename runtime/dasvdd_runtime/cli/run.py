"""`dasvdd-monitor run`: sources -> alarms, as a monitor.toml says."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from functools import partial
from pathlib import Path
from types import FrameType

import click

from ..alarms.desk import AlarmDesk
from ..endpoint.observed import Observed
from ..endpoint.pulse import Pulse
from ..errors import EXIT_OK
from ..logs import log_to_stderr
from ..running.assembly import Assembly
from ..running.outlets import Outlets
from ..running.service import Service
from ..running.service_manager import ServiceManager
from ..versions import versions
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
    exits with 0. SIGHUP makes it read MONITOR.TOML and the models anew.
    """
    log_to_stderr()
    wake = threading.Event()
    assembly = Assembly(config_path, wake=wake)
    manager, pulse = ServiceManager.from_environment(), Pulse()

    def beat() -> None:
        manager.heartbeat()
        pulse.beat()

    config = assembly.config
    alarms = AlarmDesk(config.state.directory, latch=config.alarm.latch)  # first: it tells of another monitor
    outlets = Outlets(config)
    alarms.tests.standings = outlets.standings
    service = Service(
        assembly.channels(alarms),
        [outlets],
        wake=wake,
        alarms=alarms,
        heartbeat=beat,
        reload=partial(assembly.reload, outlets=outlets),
    )
    observed = Observed(
        sources=service.snapshot,
        events=service.event_counts.copy,
        scorers=assembly.scorers,
        receivers=outlets.standings,
        since_beat_seconds=pulse.since_beat_seconds,
        commands=outlets.command_counts,
        versions=versions(),
        thresholds=lambda: assembly.thresholds,
    )
    with outlets.serving(observed):
        _obey_signals(service)
        manager.ready()
        all_joined = service.run(assembly.started(), *assembly.notices(), max_seconds=max_seconds)
    if not all_joined:  # a driver holds a thread; ending the interpreter would wait for it for ever
        log.warning("a device does not let go; leaving it behind")
        sys.stderr.flush()
        os._exit(EXIT_OK)


def _obey_signals(service: Service) -> None:
    """SIGTERM and SIGINT stop `service`; a second one ends the program at once. SIGHUP makes it read anew."""

    def stop(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        service.request_stop(f"signal {signal.Signals(number).name}")

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    signal.signal(signal.SIGHUP, lambda number, frame: service.request_reload())
