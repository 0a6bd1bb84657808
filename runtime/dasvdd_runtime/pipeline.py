"""One source's samples -> events: health, windows, scores, decisions. Knows no clock, thread or file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from . import events
from .contract import ModelMetadata
from .detector import Decision, DecisionSettings, Detector
from .events import Counts, Event
from .health import SourceHealth, State, StateChange
from .scorer import Scores
from .silence import has_silent_edge
from .snapshot import SourceSnapshot
from .windows import Window, Windower


class WindowScorer(Protocol):
    """What the pipeline needs of a Scorer."""

    def score_windows(self, windows: NDArray[np.float32]) -> Scores:
        """Scores of `windows` [windows, window_samples, channels]."""


@dataclass(frozen=True)
class DecisionRule:
    """The decision chain in force: the model's, or what the configuration put in its place."""

    threshold: float
    settings: DecisionSettings
    usual_score: float
    """The model's usual score, towards which an alarm clears."""


class Pipeline:
    """Everything that happens to one source's samples, in order. Each method returns the events that it caused."""

    def __init__(
        self,
        *,
        name: str,
        metadata: ModelMetadata,
        scorer: WindowScorer,
        rule: DecisionRule,
        silent_seconds: float,
        stall_seconds: float,
        report_scores: bool,
    ) -> None:
        self.name = name
        self.counts = Counts()
        self._metadata = metadata
        self._scorer = scorer
        self._threshold = rule.threshold
        self._report_scores = report_scores
        self._health = SourceHealth(
            kind=metadata.kind,
            used_channels=metadata.used_channels,
            sample_rate_hz=metadata.sample_rate_hz,
            silent_seconds=silent_seconds,
            stall_seconds=stall_seconds,
        )
        self._windower = Windower(
            window_samples=metadata.window_samples,
            hop_samples=metadata.window_hop_samples,
            channels=metadata.channels,
        )
        self._detector = Detector(
            threshold=rule.threshold,
            settings=rule.settings,
            window_hop_seconds=metadata.window_hop_seconds,
            usual_score=rule.usual_score,
        )
        self._next_sample = 0
        self._last_decision: Decision | None = None

    @property
    def state(self) -> State:
        """What the source is doing."""
        return self._health.state

    @property
    def in_alarm(self) -> bool:
        """An alarm lasts."""
        return self._detector.finish() is not None

    def samples(self, samples: NDArray[np.float32]) -> list[Event]:
        """`samples` [samples, channels], which follow those before: judge, cut, score, decide."""
        self._next_sample += len(samples)
        caused = self._state_events(self._health.samples(samples))
        windows = self._windower.push(samples)
        fit = [window for window in windows if self._is_fit(window)]
        if not fit:
            self._withhold(len(windows))
            return caused
        scores = self._scorer.score_windows(np.stack([window.samples for window in fit]))
        row_of = {window.first_sample: row for row, window in enumerate(fit)}
        for window in windows:
            row = row_of.get(window.first_sample)
            if row is None:
                self._withhold(1)
            elif not np.isfinite(scores.score[row]):
                self._withhold(1)
                fault = self._health.fault(f"the score of a window is {scores.score[row]}")
                caused += self._state_events(fault)
            else:
                caused += self._decide(window, float(scores.score[row]), scores.residual[row])
        return caused

    def gap(self, *, lost: int = 0, dropped: int = 0) -> None:
        """The next samples do not follow those before: `lost` never arrived and `dropped` were thrown away."""
        self._next_sample += lost + dropped
        self._windower.restart(self._next_sample)
        self._detector.gap()
        self.counts.gaps += 1
        self.counts.lost_seconds += lost / self._metadata.sample_rate_hz
        self.counts.dropped_seconds += dropped / self._metadata.sample_rate_hz

    def waiting(self, seconds: float) -> list[Event]:
        """The open source has given no samples for `seconds`."""
        return self._state_events(self._health.waiting(seconds))

    def missing(self, reason: str) -> list[Event]:
        """The device went away or cannot be opened."""
        return self._state_events(self._health.missing(reason))

    def finish(self) -> list[Event]:
        """The stream ends: the alarm that lasts, if one does, and the summary."""
        episode = self._detector.finish()
        caused = [self.summary()]
        if episode is not None:
            still_open = events.alarm_open(self.counts.episodes, episode, self._bands(episode.peak_residual))
            caused.insert(0, self._placed(still_open))
        return caused

    def summary(self) -> Event:
        """The counts so far."""
        return self._placed(events.summary(self.counts, state=self.state.value, in_alarm=self.in_alarm))

    def snapshot(self, *, waiting_seconds: float, drift_ppm: float | None, live: bool, ended: bool) -> SourceSnapshot:
        """The source as it is now; what the capture knows of it is given."""
        last = self._last_decision
        return SourceSnapshot(
            name=self.name,
            model=self._metadata.name,
            model_fingerprint=self._metadata.model_fingerprint,
            state=self.state,
            score=None if last is None else last.score,
            smoothed_score=None if last is None else last.smoothed_score,
            threshold=self._threshold,
            in_alarm=self.in_alarm,
            counts=replace(self.counts),
            drift_ppm=drift_ppm,
            level_dbfs=None,
            waiting_seconds=waiting_seconds,
            live=live,
            ended=ended,
        )

    def _is_fit(self, window: Window) -> bool:
        """False for a window of which nothing can be said: silence is not an anomaly, and NaN is not normal."""
        if not np.isfinite(window.samples).all() or self.state is State.SILENT:
            return False
        if self._metadata.kind == "sensor":
            return True
        used = window.samples[:, self._metadata.used_channels]
        return not has_silent_edge(used, sample_rate_hz=self._metadata.sample_rate_hz)

    def _withhold(self, windows: int) -> None:
        if windows:
            self.counts.windows_withheld += windows
            self._detector.gap()

    def _decide(self, window: Window, score: float, residual: NDArray[np.float64]) -> list[Event]:
        end_sample = window.first_sample + self._metadata.window_samples
        end_seconds = end_sample / self._metadata.sample_rate_hz
        decision = self._last_decision = self._detector.update(end_seconds, score, residual.tolist())
        self.counts.windows_scored += 1
        caused: list[Event] = []
        if self._report_scores:
            start_seconds = window.first_sample / self._metadata.sample_rate_hz
            caused.append(self._placed(events.score(decision, start_seconds=start_seconds), end_seconds))
        return caused + [self._placed(event, end_seconds) for event in self._alarm_events(decision, residual)]

    def _alarm_events(self, decision: Decision, residual: NDArray[np.float64]) -> list[Event]:
        caused = []
        if decision.raised is not None:
            self.counts.episodes += 1
            bands = self._bands(residual.tolist())
            caused.append(events.alarm_raised(self.counts.episodes, decision, bands, threshold=self._threshold))
        if decision.cleared is not None:
            bands = self._bands(decision.cleared.peak_residual)
            caused.append(events.alarm_cleared(self.counts.episodes, decision.cleared, bands))
        return caused

    def _bands(self, residual: tuple[float, ...] | list[float]) -> list[dict[str, Any]]:
        return events.carrying_bands(residual, self._metadata.residual_baseline, self._metadata.residual_names)

    def _state_events(self, change: StateChange | None) -> list[Event]:
        return [] if change is None else [self._placed(events.source_state(change))]

    def _placed(self, event: Event, stream_seconds: float | None = None) -> Event:
        """`event` with the source and the place in its stream, by default the newest sample."""
        if stream_seconds is None:
            stream_seconds = self._next_sample / self._metadata.sample_rate_hz
        return {"event": event["event"], "source": self.name, "stream_seconds": stream_seconds, **event}
