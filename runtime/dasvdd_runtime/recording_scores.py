"""Score a recording of any length in bounded memory, with the decisions that a monitor would take on it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .contract import ModelMetadata
from .detector import Detector, Episode
from .errors import DataError
from .intake import Break, Cutter, FitWindow, Intake
from .reading.quality import Quality
from .recordings import TableFormat, probe, read_pieces, require_kind
from .scorer import Scorer
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
    state: str
    """That of a source that gave this recording, at the window's end: OK or CLIPPED, see health.State."""


@dataclass(frozen=True)
class WithheldWindow:
    """A silent window, which is not judged, as `run` would not; the decision chain begins anew behind it."""

    start_seconds: float


@dataclass
class RecordingSummary:
    """What stands out in a recording; grows window by window."""

    windows: int = 0
    """Those that were judged."""
    withheld: int = 0
    """Those that were not, since they are silent."""
    withheld_from_seconds: list[float] = field(default_factory=list)
    """Where each row of them begins."""
    windows_above_threshold: int = 0
    max_score: float = -math.inf
    max_smoothed_score: float = -math.inf
    longest_stretch: int = 0
    """Windows of the longest stretch without a gap or a withheld window."""
    episodes: list[Episode] = field(default_factory=list)
    """The alarms, timed by the ends of windows; one that lasts to the end of the recording has no clear_seconds."""
    gaps: int = 0
    """Stretches without rows; no window crosses one."""
    note: str = ""
    """What a person should know of the times of its rows."""
    fault: str | None = None
    """Why its scores say nothing of the machine, see quality.Quality."""
    _stretch: int = field(default=0, repr=False)
    _withholds: bool = field(default=False, repr=False)

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
        self._stretch += 1
        self._withholds = False
        self.longest_stretch = max(self.longest_stretch, self._stretch)

    def withhold(self, window: WithheldWindow) -> None:
        """Count `window`, which is not judged."""
        if not self._withholds:
            self.withheld_from_seconds.append(window.start_seconds)
        self.withheld += 1
        self._stretch, self._withholds = 0, True

    def gap(self) -> None:
        """The next window does not follow those before."""
        self._stretch, self._withholds = 0, False


def check_fits(path: Path, metadata: ModelMetadata, table: TableFormat) -> float:
    """The sample rate of the recording at `path` in Hz, if it has the channels and the length that the model needs.

    Raises DataError if not, and RecordingError if the recording cannot be read.
    """
    require_kind(path, metadata.kind)
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
    scorer: Scorer, path: Path, *, table: TableFormat, silent_seconds: float, summary: RecordingSummary
) -> Iterator[ScoredWindow | WithheldWindow]:
    """Score the recording at `path` window by window, resampled to the model's rate if need be, and fill `summary`.

    Windows are those that `run` would judge of a source that gave the recording, and it withholds those that `run`
    would with that `silent_seconds`. Every recording starts a decision chain of its own, and no window reaches across
    a gap in it. Raises RecordingError if the recording cannot be read, and DataError for a score that is not finite.
    """
    metadata = scorer.metadata
    detector = Detector(
        threshold=metadata.calibration.threshold,
        settings=metadata.decision,
        window_hop_seconds=metadata.window_hop_seconds,
        usual_score=metadata.calibration.usual_score,
    )
    cutter = Cutter(Intake(silent_seconds=silent_seconds), metadata)
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
        cutter.gap(round(piece.start_seconds * metadata.sample_rate_hz) - cutter.next_sample)
        detector.gap()
        summary.gap()
        for block in piece.blocks:
            quality.add(block[:, used])
            windows = list(_windows(cutter, block, metadata))
            scores = _scores(scorer, windows)
            for window in windows:
                if isinstance(window, WithheldWindow):
                    detector.gap()
                    summary.withhold(window)
                    yield window
                    continue
                scored, cleared = _decided(path, window, next(scores), detector, metadata)
                if cleared is not None:
                    summary.episodes.append(cleared)
                summary.add(scored)
                yield scored
    summary.fault = quality.fault()
    if summary.withheld and not summary.windows and summary.fault is None:
        summary.fault = "silent: each of its windows begins or ends in silence."
    if (still_open := detector.finish()) is not None:
        summary.episodes.append(still_open)


def _windows(
    cutter: Cutter, block: NDArray[np.float32], metadata: ModelMetadata
) -> Iterator[FitWindow | WithheldWindow]:
    """The windows that end in `block`, the next samples [samples, channels] of the recording."""
    for step in cutter.cut(block):
        if isinstance(step, Break):
            yield WithheldWindow((cutter.next_sample - metadata.window_samples) / metadata.sample_rate_hz)
        elif isinstance(step, FitWindow):
            yield step


def _scores(scorer: Scorer, windows: Sequence[FitWindow | WithheldWindow]) -> Iterator[tuple[float, float, float]]:
    """Score, reconstruction error and center distance of each of `windows` that is fit, in order."""
    fit = [window.window.samples for window in windows if isinstance(window, FitWindow)]
    if fit:
        found = scorer.score_windows(np.stack(fit))
        yield from zip(
            found.score.tolist(), found.reconstruction_error.tolist(), found.center_distance.tolist(), strict=True
        )


def _decided(
    path: Path, fit: FitWindow, scores: tuple[float, float, float], detector: Detector, metadata: ModelMetadata
) -> tuple[ScoredWindow, Episode | None]:
    """What the decision chain makes of a window, and the alarm that it clears."""
    score, reconstruction_error, center_distance = scores
    start_seconds = fit.window.first_sample / metadata.sample_rate_hz
    if not math.isfinite(score):
        raise DataError(f"{path}: the window at {start_seconds:.3f} s scores {score}, so it says nothing.")
    decision = detector.update(start_seconds + metadata.window_seconds, score)
    scored = ScoredWindow(
        start_seconds=start_seconds,
        score=score,
        reconstruction_error=reconstruction_error,
        center_distance=center_distance,
        smoothed_score=decision.smoothed_score,
        above_threshold=decision.smoothed_score > metadata.calibration.threshold,
        in_alarm=decision.in_alarm,
        state=fit.state.value,
    )
    return scored, decision.cleared
