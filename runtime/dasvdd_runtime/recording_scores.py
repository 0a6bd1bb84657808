"""Score a recording of any length in bounded memory, with the decisions that a monitor would take on it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from .contract import ModelMetadata
from .detector import Detector, Episode
from .errors import DataError
from .reading.quality import Quality
from .recordings import TableFormat, probe, read_pieces
from .scorer import Scorer
from .windows import Windower
from .words import count


@dataclass(frozen=True)
class ScoredWindow:
    """One window of a recording. Times are seconds from the start of the recording."""

    start_seconds: float
    score: float
    reconstruction_error: float
    center_distance: float
    smoothed_score: float
    above_threshold: bool
    """Whether the smoothed score exceeds the threshold."""
    in_alarm: bool
    """Whether the whole decision chain is in alarm after this window."""


@dataclass
class RecordingSummary:
    """What stands out in a recording; grows window by window."""

    windows: int = 0
    windows_above_threshold: int = 0
    max_score: float = -math.inf
    max_smoothed_score: float = -math.inf
    longest_stretch: int = 0
    """Windows of the longest stretch without a gap."""
    episodes: list[Episode] = field(default_factory=list)
    """The alarms, timed by the ends of windows; one that lasts to the end of the recording has no clear_seconds."""
    gaps: int = 0
    """Stretches without rows; no window crosses one."""
    note: str = ""
    """What a person should know of the times of its rows."""
    fault: str | None = None
    """Why its scores say nothing of the machine, see quality.Quality."""

    @property
    def share_above_threshold(self) -> float:
        """Share of the windows whose smoothed score exceeds the threshold, 0 to 1; 0 without windows."""
        return self.windows_above_threshold / self.windows if self.windows else 0.0

    def add(self, window: ScoredWindow) -> None:
        """Count `window` in."""
        self.windows += 1
        self.windows_above_threshold += window.above_threshold
        self.max_score = max(self.max_score, window.score)
        self.max_smoothed_score = max(self.max_smoothed_score, window.smoothed_score)


def check_fits(path: Path, metadata: ModelMetadata, table: TableFormat) -> float:
    """The sample rate of the recording at `path` in Hz, if it has the channels and the length that the model needs.

    Raises DataError if not, and RecordingError if the recording cannot be read.
    """
    sample_rate_hz, channels, seconds = probe(path, table=table)
    if channels != metadata.channels:
        fitting = ""
        if channels == 1 and metadata.kind == "audio" and len(metadata.used_channels) == 1:
            fitting = (
                f" The model judges {metadata.channel_names[metadata.used_channels[0]]} alone: "
                f"ffmpeg -i mono.wav -ac {metadata.channels} wide.wav makes a recording of one that fits."
            )
        raise DataError(
            f"{path}: it has {count(channels, 'channel')}, the model takes {metadata.channels} "
            f"({', '.join(metadata.channel_names)}). Score a recording made like the training data, or train "
            f"again.{fitting}"
        )
    if seconds < metadata.window_seconds:
        raise DataError(
            f"{path}: it is {seconds:.3g} s long, shorter than one window of {metadata.window_seconds:.3g} s, so "
            "there is nothing to score."
        )
    return sample_rate_hz


def score_recording(
    scorer: Scorer, path: Path, *, table: TableFormat, summary: RecordingSummary
) -> Iterator[ScoredWindow]:
    """Score the recording at `path` window by window, resampled to the model's rate if need be, and fill `summary`.

    Every recording starts a decision chain of its own, and no window reaches across a gap in it. Raises RecordingError
    if the recording cannot be read, and DataError for a score that is not finite.
    """
    metadata = scorer.metadata
    detector = Detector(
        threshold=metadata.calibration.threshold,
        settings=metadata.decision,
        window_hop_seconds=metadata.window_hop_seconds,
        usual_score=metadata.calibration.usual_score,
    )
    windower = Windower(
        window_samples=metadata.window_samples, hop_samples=metadata.window_hop_samples, channels=metadata.channels
    )
    pieces = read_pieces(
        path,
        block_seconds=scorer.batch_windows * metadata.window_hop_seconds,
        sample_rate_hz=metadata.sample_rate_hz,
        table=table,
    )
    used = list(metadata.used_channels)
    quality = Quality(metadata.kind, tuple(metadata.channel_names[channel] for channel in used))
    summary.gaps, summary.note = len(pieces) - 1, pieces[0].note
    for piece in pieces:
        before = summary.windows
        windower.restart(round(piece.start_seconds * metadata.sample_rate_hz))
        detector.gap()
        for block in piece.blocks:
            quality.add(block[:, used])
            windows = windower.push(block)
            if not windows:
                continue
            scores = scorer.score_windows(np.stack([window.samples for window in windows]))
            for row, window in enumerate(windows):
                start_seconds = window.first_sample / metadata.sample_rate_hz
                score = float(scores.score[row])
                if not math.isfinite(score):
                    raise DataError(f"{path}: the window at {start_seconds:.3f} s scores {score}, so it says nothing.")
                decision = detector.update(start_seconds + metadata.window_seconds, score)
                scored = ScoredWindow(
                    start_seconds=start_seconds,
                    score=score,
                    reconstruction_error=float(scores.reconstruction_error[row]),
                    center_distance=float(scores.center_distance[row]),
                    smoothed_score=decision.smoothed_score,
                    above_threshold=decision.smoothed_score > metadata.calibration.threshold,
                    in_alarm=decision.in_alarm,
                )
                if decision.cleared is not None:
                    summary.episodes.append(decision.cleared)
                summary.add(scored)
                summary.longest_stretch = max(summary.longest_stretch, summary.windows - before)
                yield scored
    summary.fault = quality.fault()
    if (still_open := detector.finish()) is not None:
        summary.episodes.append(still_open)
