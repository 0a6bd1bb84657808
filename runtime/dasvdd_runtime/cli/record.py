"""`dasvdd-monitor record`: training recordings, by the capture code that monitors later."""

from __future__ import annotations

import logging
import math
import signal
import sys
import threading
import time
from pathlib import Path
from types import FrameType

import click
import numpy as np
from numpy.typing import NDArray

from ..capture import Capture, Ended, Message, Missing
from ..config import MonitorConfig, load_config
from ..errors import ConfigError, DataError, Unavailable, nearest
from ..files import file_name
from ..health import SourceHealth, State, StateChange
from ..levels import level_dbfs
from ..logs import log_to_stderr
from ..recorder import Recorder
from ..sources import source_at
from ..sources.tables import MicrophoneTable, StdinTable
from .common import examples, reports_errors

log = logging.getLogger(__name__)

POLL_SECONDS = 0.25
PLAIN_LINE_SECONDS = 10.0
METER_DBFS = 60.0
"""The meter's left end, below full scale."""
METER_WIDTH = 30


@click.command(
    epilog=examples(
        'dasvdd-monitor record --source microphone --device "USB mic" --minutes 60 --out recordings/',
        "dasvdd-monitor record --config monitor.toml --minutes 60 --out recordings/",
    )
)
@click.option("--source", "kind", type=click.Choice(["microphone", "stdin"]), default="microphone", show_default=True)
@click.option("--device", default="", help="Part of the microphone's name; the default device if not given.")
@click.option("--format", type=click.Choice(["s16le", "f32le"]), default="s16le", help="Of raw samples on stdin.")
@click.option("--config", "config_path", type=click.Path(path_type=Path), help="Take the source of a monitor.toml.")
@click.option("--name", default="", help="Begins the files' names; with --config, which source to take.")
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True), default=60.0, show_default=True)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder for the files.")
@click.option("--rate", type=click.IntRange(min=1000), default=16000, show_default=True, help="Sample rate in Hz.")
@click.option("--channels", type=click.IntRange(min=1), default=1, show_default=True)
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
    rate: int,
    channels: int,
    file_minutes: float,
) -> None:
    """Record WAV files (16 bit) for training.

    Each file is named by its start in UTC. A gap begins a new file and is listed at the end. Ctrl-C ends early and
    keeps everything.
    """
    log_to_stderr()
    table: MicrophoneTable | StdinTable
    if config_path is not None:
        table = _choose_source(load_config(config_path), name)
    elif kind == "stdin":
        table = StdinTable.model_validate({"name": name or "recording", "kind": "stdin", "format": format})
    else:
        table = MicrophoneTable(name=name or "recording", kind="microphone", device=device)
    recorder = Recorder(
        out, name=file_name(table.name), sample_rate_hz=rate, channels=channels, file_seconds=60 * file_minutes
    )
    names = [f"channel {number}" for number in range(channels)]
    wake = threading.Event()
    source = source_at(table, sample_rate_hz=rate, channel_names=names)
    capture = Capture(source, name=table.name, stall_seconds=table.stall_seconds, wake=wake)
    session = _Session(recorder, table, rate_hz=rate, channels=channels, seconds=60 * minutes)
    capture.start()
    try:
        with _StopSignal() as stop:
            while not (session.done or stop.is_set()):
                wake.wait(POLL_SECONDS)
                wake.clear()
                session.take(capture.take_all(), waiting_seconds=capture.waiting_seconds())
        capture.request_stop()
        capture.join()
        session.take(capture.take_all(), waiting_seconds=0.0)
    finally:
        recorder.close()
        session.report()
    if not recorder.files:
        raise DataError("nothing was recorded: no samples arrived")


class _Session:
    """What arrives goes to the recorder, and what a person should know to the terminal."""

    def __init__(
        self, recorder: Recorder, table: MicrophoneTable | StdinTable, *, rate_hz: int, channels: int, seconds: float
    ) -> None:
        self.done = False
        self._recorder = recorder
        self._wanted_samples = round(seconds * rate_hz)
        self._health = SourceHealth(
            kind="audio",
            used_channels=range(channels),
            sample_rate_hz=rate_hz,
            silent_seconds=table.silent_seconds,
            stall_seconds=table.stall_seconds,
        )
        self._meter = _Meter(seconds)

    def take(self, messages: list[Message], *, waiting_seconds: float) -> None:
        """Record `messages`. Raises the fault that ended a source, and Unavailable if the device was never there."""
        for message in messages:
            if self.done:
                return
            if isinstance(message, Missing):
                if not self._recorder.recorded_samples:
                    raise Unavailable(message.reason)
                self._say(self._health.missing(message.reason))
            elif isinstance(message, Ended):
                self.done = True
                if message.error is not None:
                    raise message.error
            else:
                if message.gap and self._recorder.recorded_samples:
                    self._recorder.gap(message.lost + message.dropped)
                self._write(message.samples)
        self._say(self._health.waiting(waiting_seconds))

    def report(self) -> None:
        """What was recorded, and what is missing."""
        self._meter.end()
        recorder = self._recorder
        for gap in recorder.gaps:
            lost = f"{gap.lost_seconds:.2f} s lost" if gap.lost_seconds else "samples lost, the device says"
            click.echo(f"gap at {gap.start_seconds:.1f} s: {lost}", err=True)
        lost_seconds = sum(gap.lost_seconds for gap in recorder.gaps)
        click.echo(
            f"{recorder.stream_seconds - lost_seconds:.1f} s in {len(recorder.files)} file(s), "
            f"{len(recorder.gaps)} gap(s), {lost_seconds:.1f} s lost",
            err=True,
        )
        for path in recorder.files:
            click.echo(path)

    def _write(self, samples: NDArray[np.float32]) -> None:
        left = self._wanted_samples - self._recorder.stream_samples
        samples = samples[: max(0, left)]
        if len(samples):
            self._recorder.write(samples)
            self._say(self._health.samples(samples))
            self._meter.show(samples, self._recorder.stream_seconds)
        self.done = len(samples) >= left

    def _say(self, change: StateChange | None) -> None:
        if change is not None:
            self._meter.end()
            level = logging.INFO if change.state is State.OK else logging.WARNING
            log.log(level, "%s -> %s: %s", change.previous, change.state, change.reason)


class _Meter:
    """The level, on one line that is written over in a terminal, else on a line every PLAIN_LINE_SECONDS."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._in_terminal = sys.stderr.isatty()
        self._next_seconds = 0.0
        self._line_open = False

    def show(self, samples: NDArray[np.float32], stream_seconds: float) -> None:
        """The level of `samples`, not more often than is readable."""
        if time.monotonic() < self._next_seconds:
            return
        level, peak = level_dbfs(samples), _dbfs(float(np.max(np.abs(samples))))
        numbers = f"{_clock(stream_seconds)} of {_clock(self._seconds)}  level {level:6.1f} dBFS  peak {peak:6.1f} dBFS"
        self._next_seconds = time.monotonic() + (0.2 if self._in_terminal else PLAIN_LINE_SECONDS)
        if self._in_terminal:
            filled = round(METER_WIDTH * min(1.0, max(0.0, 1 + level / METER_DBFS))) if math.isfinite(level) else 0
            click.echo(f"\r[{'#' * filled:{METER_WIDTH}}]  {numbers} ", nl=False, err=True)
            self._line_open = True
        else:
            click.echo(numbers, err=True)

    def end(self) -> None:
        """Begin a new line."""
        if self._line_open:
            click.echo(err=True)
            self._line_open = False


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


def _choose_source(config: MonitorConfig, name: str) -> MicrophoneTable | StdinTable:
    """The source of `config` called `name`, or the only one that can be recorded."""
    tables = [table for table in config.sources if isinstance(table, MicrophoneTable | StdinTable)]
    chosen = [table for table in tables if not name or table.name == name]
    names = [table.name for table in tables]
    if len(chosen) != 1:
        raise ConfigError(
            f"--name {name!r} fits {len(chosen)} of the sources that can be recorded ({', '.join(names) or 'none'}); "
            f"choose one with --name.{nearest(name, names) if name else ''}"
        )
    if isinstance(chosen[0], StdinTable) and chosen[0].format == "csv":
        raise ConfigError(f"source '{chosen[0].name}' gives CSV rows, not sound: keep them with `tee rows.csv`")
    return chosen[0]


def _dbfs(amplitude: float) -> float:
    return 20 * math.log10(amplitude) if amplitude > 0 else -math.inf


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 3600:d}:{int(seconds) // 60 % 60:02d}:{int(seconds) % 60:02d}"
