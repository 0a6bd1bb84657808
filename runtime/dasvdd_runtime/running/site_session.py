"""Sources, live or from recordings, through the pipeline of `run` -> the scores to calibrate them with."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..condition.spectrum import SpectrumMeter
from ..configuration.config import MonitorConfig
from ..errors import DasvddError, DataError
from ..pipeline import Pipeline
from ..reading.manifest import find_segments
from ..sources.tables import FileTable, SourceTable
from ..thresholds.choice import ThresholdInForce
from ..thresholds.recordings_apart import refuse_apart
from ..thresholds.score_collector import CalibrationScorer, ScoreCollector
from ..thresholds.site_calibration import calibrate_site, require_enough, seconds_needed
from ..thresholds.site_threshold import SiteThreshold
from .channels import Channel, make_channel
from .loaded_model import LoadedModel, load_models
from .service import Service


@dataclass(frozen=True)
class Subject:
    """A source to calibrate."""

    table: SourceTable
    model: LoadedModel
    before: ThresholdInForce
    """What judges it until then."""
    false_alarms_per_day: float
    wanted_seconds: float
    """Of running; infinite: all that there is."""
    collector: ScoreCollector

    def calibrated(self, now: datetime) -> SiteThreshold:
        """The threshold that its scores give. Raises DataError, which names the source, as calibrate_site does."""
        metadata = self.model.scorer.metadata
        try:
            return calibrate_site(
                self.collector.streams,
                seconds=self.collector.seconds,
                level_dbfs=self.collector.level_dbfs,
                spectrum=SpectrumMeter.of(metadata).usual(self.collector.spectra),
                source=self.table.name,
                metadata=metadata,
                settings=self.model.settings,
                false_alarms_per_day=self.false_alarms_per_day,
                now=now,
            )
        except DataError as error:
            raise type(error)(f"source '{self.table.name}': {error}") from error


def prepare(
    config: MonitorConfig,
    tables: Sequence[SourceTable],
    *,
    directory: Path,
    false_alarms_per_day: float | None,
    wanted_seconds: float | None,
) -> list[Subject]:
    """A subject for each of `tables`. None stands for the model's own rate, and for the least time that it needs.

    Raises as load_models does, and CannotPromise where `wanted_seconds` cannot be enough.
    """
    needed = [config.model_of(table) for table in tables]
    used = config.model_copy(update={"model": [model for model in config.models if model in needed]})
    models = load_models(used, directory)
    subjects = []
    for table in tables:
        model = models[config.model_of(table).name]
        metadata = model.scorer.metadata
        per_day = false_alarms_per_day or metadata.calibration.false_alarms_per_day
        seconds = seconds_needed(per_day) if wanted_seconds is None else wanted_seconds
        require_enough(seconds, per_day)
        collector = ScoreCollector(
            settings=model.settings, window_hop_seconds=metadata.window_hop_seconds, wanted_seconds=seconds
        )
        subjects.append(Subject(table, model, model.threshold_of(table.name, directory), per_day, seconds, collector))
    return subjects


class Session:
    """Feeds the collectors of subjects."""

    def __init__(self, subjects: Sequence[Subject], *, progress: Callable[[], None]) -> None:
        """`progress` is called for every window."""
        self.interrupted = False
        self.all_joined = True
        """False where a device holds its thread."""
        self.alarmed_recordings: list[str] = []
        """In which the threshold before raised alarms, of those that were replayed."""
        self._subjects = list(subjects)
        self._progress = progress
        self._service: Service | None = None

    def request_stop(self) -> None:
        """End early. May be called from a signal handler."""
        self.interrupted = True
        if self._service is not None:
            self._service.request_stop("interrupted")

    def listen(self) -> None:
        """Until every subject has its time, or its source has ended. Raises the fault that ended a source."""
        self._run([(subject, subject.table) for subject in self._subjects])

    def replay(self, data: Path) -> None:
        """The recordings that `data` stands for, as the only subject's source would give them.

        Raises as find_segments does, and DasvddError, naming the recording, for one that cannot be judged or whose
        scores lie far above the others'.
        """
        (subject,) = self._subjects
        collector = subject.collector
        ends: dict[str, int] = {}
        for path in _whole_recordings(data):
            if self.interrupted:
                return
            collector.cut()
            alarms_before = collector.alarms
            try:
                self._run([(subject, _as_file(subject.table, path))])
            except DasvddError as error:
                if str(path) in str(error):
                    raise
                raise DataError(f"{path}: {error}") from error
            ends[str(path)] = len(collector.streams)
            if collector.alarms > alarms_before:
                self.alarmed_recordings.append(str(path))
        if not self.interrupted:
            refuse_apart(_parted(collector.streams, ends))

    def _run(self, work: list[tuple[Subject, SourceTable]]) -> None:
        wake = threading.Event()
        channels = [_channel(subject, table, wake) for subject, table in work]
        pipelines = {channel.pipeline.name: channel.pipeline for channel in channels}
        feed = _Feed(self._subjects, pipelines, self._progress, enough=self._enough)
        self._service = Service(channels, [feed], wake=wake)
        if not self.interrupted:
            self.all_joined = self._service.run({"event": "calibrating"}) and self.all_joined

    def _enough(self) -> None:
        assert self._service is not None
        self._service.request_stop("there are enough scores")


class _Feed:
    """A sink that gives each source's events to its collector."""

    def __init__(
        self,
        subjects: Sequence[Subject],
        pipelines: Mapping[str, Pipeline],
        progress: Callable[[], None],
        *,
        enough: Callable[[], None],
    ) -> None:
        self._collectors = {subject.table.name: subject.collector for subject in subjects}
        self._pipelines = pipelines
        self._progress = progress
        self._enough = enough

    def write(self, line: str, *, durable: bool) -> None:
        """One event."""
        event = json.loads(line)
        source = event.get("source")
        if source not in self._collectors:
            return
        pipeline = self._pipelines[source]
        assert isinstance(pipeline.scorer, CalibrationScorer)
        spectrum = pipeline.scorer.next_spectrum() if event["event"] == "score" else None
        self._collectors[source].take(event, spectrum=spectrum)
        self._progress()
        if all(collector.done for collector in self._collectors.values()):
            self._enough()

    def close(self) -> None:
        """Nothing is kept."""


def _channel(subject: Subject, table: SourceTable, wake: threading.Event) -> Channel:
    channel = make_channel(table, subject.model, subject.before, wake=wake, report_scores=True)
    channel.pipeline.scorer = CalibrationScorer(channel.pipeline.scorer, subject.model.scorer.metadata)
    return channel


def _as_file(table: SourceTable, path: Path) -> FileTable:
    """The source `table` with a recording in the place of its device."""
    return FileTable(
        name=table.name,
        kind="file",
        path=path,
        stall_seconds=table.stall_seconds,
        silent_seconds=table.silent_seconds,
        channels=table.channels,
        running=table.running,
    )


def _parted(streams: Sequence[NDArray[np.float64]], ends: Mapping[str, int]) -> dict[str, NDArray[np.float64]]:
    """Scores [windows] of each recording. `ends`: how many streams there were at its end."""
    parted, start = {}, 0
    for name, end in ends.items():
        parted[name] = np.concatenate([np.empty(0), *streams[start:end]])
        start = end
    return parted


def _whole_recordings(data: Path) -> list[Path]:
    segments = [segment for segment in find_segments(data) if segment.role != "test_anomalous"]
    for segment in segments:
        if segment.start_seconds > 0 or segment.end_seconds is not None:
            raise DataError(
                f"{data}: it names a part of {segment.path} ({segment.start_seconds:g} s to "
                f"{'the end' if segment.end_seconds is None else f'{segment.end_seconds:g} s'}), and calibrate reads "
                "whole recordings only. Cut the file, or leave it out."
            )
    if not segments:
        raise DataError(f"{data}: it names no healthy recording (role train, holdout or test_normal).")
    return [segment.path for segment in segments]
