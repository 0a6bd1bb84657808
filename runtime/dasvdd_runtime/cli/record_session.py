"""From a capture to a recorder, and to the person who waits."""

from __future__ import annotations

import logging
import shlex
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from ..condition.health import SourceHealth, State, StateChange
from ..errors import DataError, Unavailable
from ..recorders.base import Recorder
from ..recorders.rows import RowRecorder
from ..recorders.wav import WavRecorder
from ..running.message_queue import Ended, Message, Missing
from .record_choice import Wanted
from .record_meter import LevelMeter, Meter, ValueMeter

log = logging.getLogger(__name__)

LISTED_GAPS = 20


class RecordSession:
    """What arrives goes to the recorder, and what a person should know to the terminal."""

    def __init__(self, wanted: Wanted, folder: Path, *, seconds: float, file_seconds: float) -> None:
        """Raises DasvddError if `folder` cannot be made."""
        self.done = False
        self._wanted = wanted
        self._folder = folder
        self._recorder = _recorder(wanted, folder, file_seconds)
        self._meter = _meter(wanted, seconds)
        self._wanted_samples = max(1, round(seconds * wanted.sample_rate_hz))
        self._health = SourceHealth(
            kind=wanted.kind,
            used_channels=range(len(wanted.channel_names)),
            sample_rate_hz=wanted.sample_rate_hz,
            silent_seconds=wanted.table.silent_seconds,
            stall_seconds=wanted.table.stall_seconds,
        )

    def take(self, messages: list[Message], *, waiting_seconds: float) -> None:
        """Record `messages`. Raises the fault that ended a source, and Unavailable if the device was never there."""
        for message in messages:
            if self.done:
                return
            if isinstance(message, Missing):
                if not self._recorder.stream_samples:
                    raise Unavailable(message.reason)
                self._say(self._health.missing(message.reason))
            elif isinstance(message, Ended):
                self.done = True
                if message.error is not None:
                    raise message.error
            else:
                if message.gap and self._recorder.stream_samples:
                    self._recorder.gap(message.lost + message.dropped)
                self._write(message.samples[:, self._wanted.places])
        self._say(self._health.waiting(waiting_seconds))

    def end(self) -> None:
        """Finish what is being written, and say what was recorded and what is missing."""
        try:
            self._recorder.close()
        finally:
            self._recorder.end()
            self._report()

    def require_something(self) -> None:
        """Raise DataError where nothing was recorded."""
        if self._recorder.files:
            return
        if self._recorder.stream_samples:
            raise DataError(
                "nothing was recorded: in every row that arrived a channel had no finite value. "
                f"Are these its channels: {', '.join(self._wanted.channel_names)}?"
            )
        raise DataError("nothing was recorded: no samples arrived")

    def _report(self) -> None:
        self._meter.end()
        recorder = self._recorder
        for gap in recorder.gaps[:LISTED_GAPS]:
            lost = f"{gap.lost_seconds:.2f} s {gap.reason}" if gap.lost_seconds else "samples lost, the device says"
            click.echo(f"gap at {gap.start_seconds:.1f} s: {lost}", err=True)
        if len(recorder.gaps) > LISTED_GAPS:
            click.echo(f"... and {len(recorder.gaps) - LISTED_GAPS} more", err=True)
        if recorder.stream_samples == 0:
            return
        lost_seconds = sum(gap.lost_seconds for gap in recorder.gaps)
        click.echo(
            f"{recorder.stream_seconds - lost_seconds:.1f} s in {len(recorder.files)} file(s), "
            f"{len(recorder.gaps)} gap(s), {lost_seconds:.1f} s lost",
            err=True,
        )
        if isinstance(recorder, RowRecorder):
            self._report_rows(recorder)
        for path in recorder.files:
            click.echo(path)

    def _report_rows(self, recorder: RowRecorder) -> None:
        if recorder.rows_left_out:
            click.echo(f"{recorder.rows_left_out} row(s) with values that are not finite were left out", err=True)
        if recorder.files:
            units = self._wanted.units
            given = f" --units {shlex.quote(','.join(units))}" if all(units) else ""
            rate = f"{self._wanted.sample_rate_hz:.10g}"
            command = f"dasvdd-train {shlex.quote(str(self._folder))} --rate {rate}{given} --dry-run"
            click.echo(f"what training makes of it: {command}", err=True)

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


def _recorder(wanted: Wanted, folder: Path, file_seconds: float) -> Recorder:
    if wanted.kind == "audio":
        return WavRecorder(
            folder,
            name=wanted.file_name,
            sample_rate_hz=round(wanted.sample_rate_hz),
            channels=len(wanted.channel_names),
            file_seconds=file_seconds,
        )
    return RowRecorder(
        folder,
        name=wanted.file_name,
        sample_rate_hz=wanted.sample_rate_hz,
        channel_names=wanted.channel_names,
        file_seconds=file_seconds,
    )


def _meter(wanted: Wanted, seconds: float) -> Meter:
    if wanted.kind == "audio":
        return LevelMeter(seconds)
    return ValueMeter(seconds, channel_names=wanted.channel_names, units=wanted.units)
