"""`dasvdd-monitor record`: training recordings, by the capture code that monitors later."""

from __future__ import annotations

import logging
import signal
import threading
from pathlib import Path
from types import FrameType

import click

from ..configuration.config import MonitorConfig, load_config
from ..contract import ModelMetadata
from ..logs import log_to_stderr
from ..running.capture import Capture
from ..running.message_queue import QUEUE_SECONDS
from ..sources.tables import MicrophoneTable, SourceTable, StdinTable
from .common import examples, reports_errors
from .record_choice import choose, choose_source
from .record_session import RecordSession

log = logging.getLogger(__name__)

POLL_SECONDS = 0.25
QUEUE_SAMPLES = 1_000_000
"""That may wait, for instance while a program that was away writes all its rows at once."""


@click.command(
    epilog=examples(
        'dasvdd-monitor record --source microphone --device "USB mic" --minutes 60 --out recordings/',
        "dasvdd-monitor record --config monitor.toml --minutes 60 --out recordings/",
        "dasvdd-monitor record --config monitor.toml --name fan --rate 50 --channels x,y,z --out recordings/",
    )
)
@click.option("--source", "kind", type=click.Choice(["microphone", "stdin"]), default="microphone", show_default=True)
@click.option("--device", default="", help="Part of the microphone's name; the default device if not given.")
@click.option("--format", type=click.Choice(["s16le", "f32le", "csv"]), default="s16le", help="Of what stdin gives.")
@click.option("--config", "config_path", type=click.Path(path_type=Path), help="Take the source of a monitor.toml.")
@click.option("--name", default="", help="Begins the files' names; with --config, which source to take.")
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True), default=60.0, show_default=True)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder for the files.")
@click.option(
    "--rate", type=float, help="Samples or rows a second; else the model's, if it is there; else 16000 for sound."
)
@click.option("--channels", help="Names of rows' channels (x,y,z), or sound's number of them; else as the model says.")
@click.option("--file-minutes", type=click.FloatRange(min=0.01), default=10.0, show_default=True, help="Of one file.")
@reports_errors
def record(
    kind: str,
    device: str,
    format: str,
    config_path: Path | None,
    name: str,
    minutes: float,
    out: Path,
    rate: float | None,
    channels: str | None,
    file_minutes: float,
) -> None:
    """Record training data: sound as WAV files (16 bit), rows of sensors as CSV files with times.

    Each file is named by its start in UTC. A gap begins a new WAV file, and is a step in the times of a CSV file; gaps
    are listed at the end. Ctrl-C ends early and keeps everything.
    """
    log_to_stderr()
    table: SourceTable
    model: ModelMetadata | None = None
    if config_path is not None:
        config = load_config(config_path)
        table = choose_source(config, name)
        if rate is None or channels is None:
            model = _model_of(config, table)
    elif kind == "stdin":
        table = StdinTable.model_validate({"name": name or "recording", "kind": "stdin", "format": format})
    else:
        table = MicrophoneTable(name=name or "recording", kind="microphone", device=device)
    wanted = choose(table, model, rate_hz=rate, channels=channels)
    wake = threading.Event()
    capture = Capture(
        wanted.source(),
        name=table.name,
        stall_seconds=table.stall_seconds,
        wake=wake,
        queue_seconds=max(QUEUE_SECONDS, QUEUE_SAMPLES / wanted.sample_rate_hz),
        unread_stays=table.unread_stays,
    )
    session = RecordSession(wanted, out, seconds=60 * minutes, file_seconds=60 * file_minutes)
    with _StopSignal() as stop:
        try:
            capture.start()
            while not (session.done or stop.is_set()):
                wake.wait(POLL_SECONDS)
                wake.clear()
                session.take(capture.take_all(), waiting_seconds=capture.waiting_seconds())
            capture.request_stop()
            capture.join()
            session.take(capture.take_all(), waiting_seconds=0.0)
        finally:
            capture.request_stop()
            capture.join()
            session.end()
    session.require_something()


def _model_of(config: MonitorConfig, table: SourceTable) -> ModelMetadata | None:
    """What the model of a source says of its input; None where there is no file yet. Raises as Scorer does."""
    path = config.model_of(table).path
    if not path.exists():
        return None
    from ..scorer import Scorer

    log.info("rate, channels and units are those of the model %s where none are given", path)
    return Scorer(path, provider="cpu").metadata


class _StopSignal:
    """While entered, SIGINT and SIGTERM only set the event that it gives."""

    def __enter__(self) -> threading.Event:
        event = threading.Event()

        def stop(number: int, frame: FrameType | None) -> None:
            event.set()

        self._before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
        return event

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
