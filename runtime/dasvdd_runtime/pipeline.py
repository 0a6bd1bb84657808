"""One source's samples -> events: health, windows, decisions. Knows no clock, thread or file.

`cut` turns samples into windows fit to judge, `decide` turns their scores into events; what scores them in between may
batch the windows of many sources (see `scoring`).
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import events
from .alarms.decision_rule import DecisionRule as DecisionRule
from .condition.drift import DriftReference, DriftWatch
from .condition.health import State, StateChange
from .condition.spectrum_drift import SpectrumWatch
from .contract import ModelMetadata
from .detector import Decision, Detector
from .errors import DataError
from .events import Counts, Event
from .evidence.base import Clips
from .intake import Break, Cutter, FitWindow, Intake
from .running.snapshot import Heard, Residual, SourceSnapshot
from .scorer import Scores, WindowScorer
from .windows import StreamMemory, Waiting, Window


class Pipeline:
    """Everything that happens to one source's samples, in order.

    Of samples, gaps and faults it is told as they come; `events_due` gives the events up to the first window that waits
    for its score.
    """

    def __init__(
        self,
        *,
        name: str,
        metadata: ModelMetadata,
        scorer: WindowScorer,
        rule: DecisionRule,
        report_scores: bool,
        intake: Intake | None = None,
        model_name: str = "model",
        recording: str | None = None,
    ) -> None:
        """`recording`: the file that is replayed, for people who look for an alarm in it."""
        self.name = name
        self.clips = Clips()
        self.counts = Counts()
        self._recording = recording
        self._cutter = Cutter(intake or Intake(), metadata)
        self._steps: deque[FitWindow | Break | Event] = deque()
        self._last: tuple[Decision, Residual] | None = None
        self.use_model(model_name, metadata, scorer, rule, report_scores=report_scores)

    def use_model(
        self, name: str, metadata: ModelMetadata, scorer: WindowScorer, rule: DecisionRule, *, report_scores: bool
    ) -> None:
        """Judge by this model from the next sample on. Its rate and channels must be those of the one before.

        No window may wait for its score. The decision chain begins anew; see `close_alarm`.
        """
        self.model_name, self.scorer, self._metadata = name, scorer, metadata
        self._report_scores = report_scores
        self._memory = StreamMemory()
        self._cutter.use_model(metadata)
        self.clips.use_model(metadata)
        self.use_rule(rule)

    def use_rule(self, rule: DecisionRule) -> None:
        """Decide by this rule from the next score on; windows go on. The decision chain begins anew."""
        self._rule = rule
        self.clips.use_rule(rule)
        self._detector = Detector(
            threshold=rule.threshold,
            settings=rule.settings,
            window_hop_seconds=self._metadata.window_hop_seconds,
            usual_score=rule.usual_score,
            cooldown_seconds=rule.cooldown_seconds,
        )
        low, middle, high = rule.level_dbfs or self._metadata.baseline.level_dbfs
        self._usual_level_dbfs = (low, middle, high) if self._metadata.kind == "audio" else None
        self._drift = DriftWatch(
            DriftReference(rule.usual_score, rule.threshold, self._usual_level_dbfs),
            history_windows=rule.settings.n,
            window_hop_seconds=self._metadata.window_hop_seconds,
            spectrum=SpectrumWatch.of(rule.spectrum, self._metadata),
        )

    def use_clips(self, clips: Clips) -> None:
        """Tell `clips`, which nobody has told of this stream, of samples and alarms from the next sample on."""
        self.clips = clips
        clips.use_rule(self._rule)

    @property
    def level_dbfs(self) -> float | None:
        """Level of the channels that the model uses over the newest second; None before the first."""
        return self._cutter.level_dbfs

    @property
    def state(self) -> State:
        """What the source is doing."""
        return self._cutter.health.state

    @property
    def in_alarm(self) -> bool:
        """An alarm lasts."""
        return self._detector.finish() is not None

    @property
    def needed_samples(self) -> int:
        """Samples that complete the next window."""
        return self._cutter.needed_samples

    def cut(self, samples: NDArray[np.float32]) -> None:
        """`samples` [samples, channels], which follow those before: judge the source and cut windows."""
        self.clips.add(self._cutter.next_sample, samples)
        for step in self._cutter.cut(samples):
            self._steps.extend(self._state_events(step) if isinstance(step, StateChange) else [step])

    def windows(self) -> list[Waiting]:
        """The windows that wait for their scores, oldest first."""
        return [Waiting(step.window, self._memory) for step in self._steps if isinstance(step, FitWindow)]

    def decide(self, scores: Scores) -> list[Event]:
        """The scores of the oldest windows that wait, in order; the events up to the next window that waits."""
        caused: list[Event] = []
        for score, residual in zip(scores.score.tolist(), scores.residual, strict=True):
            caused += self.events_due()
            fit = self._steps.popleft()
            assert isinstance(fit, FitWindow)
            if np.isfinite(score):
                caused += self._decide(fit, score, residual)
            else:
                self._pass_over(Break(withheld=1))
                caused += self._state_events(self._cutter.health.fault(f"the score of a window is {score}"))
        return caused + self.events_due()

    def events_due(self) -> list[Event]:
        """The events before the first window that waits."""
        caused: list[Event] = []
        while self._steps and not isinstance(self._steps[0], FitWindow):
            step = self._steps.popleft()
            if isinstance(step, Break):
                self._pass_over(step)
            elif not isinstance(step, FitWindow):
                caused.append(step)
        if not self._steps:
            self.clips.settle(self._cutter.next_sample)
        return caused

    def gap(self, *, lost: int = 0, dropped: int = 0) -> None:
        """The next samples do not follow those before: `lost` never arrived and `dropped` were thrown away."""
        self._cutter.gap(lost + dropped)
        self._steps.append(Break())
        self.counts.gaps += 1
        self.counts.lost_seconds += lost / self._metadata.sample_rate_hz
        self.counts.dropped_seconds += dropped / self._metadata.sample_rate_hz

    def waiting(self, seconds: float) -> None:
        """The open source has given no samples for `seconds`."""
        self._steps.extend(self._state_events(self._cutter.health.waiting(seconds)))

    def missing(self, reason: str) -> None:
        """The device went away or cannot be opened."""
        self.clips.interrupted()
        self._steps.extend(self._state_events(self._cutter.health.missing(reason)))

    def finish(self, *, drift_ppm: float | None = None) -> list[Event]:
        """The stream ends: the alarm that lasts, if one does, and the summary. No window may wait for its score."""
        caused = [*self.close_alarm(), self.summary(drift_ppm=drift_ppm)]
        self.clips.ended()
        return caused

    def nothing_judged(self) -> DataError | None:
        """The fault of a source that came to its end without a single window that could be judged, or None."""
        if self.counts.windows_scored or self.counts.windows_idle:
            return None
        return DataError(
            f"source '{self.name}' ended before a window could be judged: {self.counts.windows_withheld} windows "
            f"were withheld as silent or not finite, and its last state was {self.state}. Does what feeds it work?"
        )

    def close_alarm(self) -> list[Event]:
        """The alarm that lasts, if one does, of which nothing more will be known."""
        episode = self._detector.finish()
        if episode is None:
            return []
        left_open = events.alarm_open(self.counts.episodes, episode, self._bands(episode.peak_residual))
        return [self._placed(left_open | self.clips.left_open(episode))]

    def summary(self, *, drift_ppm: float | None = None) -> Event:
        """The counts so far. `drift_ppm`: of the device's clock, where it is known."""
        said = events.summary(self.counts, state=self.state.value, in_alarm=self.in_alarm, drift_ppm=drift_ppm)
        return self._placed(said)

    def snapshot(self, *, waiting_seconds: float, drift_ppm: float | None, live: bool, ended: bool) -> SourceSnapshot:
        """The source as it is now; what the capture knows of it is given."""
        last, residual = self._last or (None, None)
        return SourceSnapshot(
            name=self.name,
            model=self.model_name,
            model_fingerprint=self._metadata.model_fingerprint,
            state=self.state,
            score=None if last is None else last.score,
            smoothed_score=None if last is None else last.smoothed_score,
            threshold=self._rule.threshold,
            in_alarm=self.in_alarm,
            counts=replace(self.counts),
            drift_ppm=drift_ppm,
            level_dbfs=self.level_dbfs,
            waiting_seconds=waiting_seconds,
            live=live,
            ended=ended,
            drift=self._drift.report,
            state_reason=self._cutter.health.reason,
            usual_level_dbfs=self._usual_level_dbfs,
            residual=residual,
            heard=Heard(self._cutter.newest_blocks, self._metadata.sample_rate_hz),
            keeps=self.clips.keeps,
        )

    def _pass_over(self, passed: Break) -> None:
        self.counts.windows_withheld += passed.withheld
        self.counts.windows_idle += passed.idle
        self.counts.idle_seconds += passed.idle * self._metadata.window_hop_seconds
        self._detector.gap()
        self._drift.gap()

    def _decide(self, fit: FitWindow, score: float, residual: NDArray[np.float64]) -> list[Event]:
        metadata, window = self._metadata, fit.window
        end_seconds = (window.first_sample + metadata.window_samples) / metadata.sample_rate_hz
        decision = self._detector.update(end_seconds, score, residual.tolist())
        self._last = decision, Residual(residual, metadata.residual_baseline, metadata.residual_names)
        self.clips.scored(decision, self._detector.finish())
        self.counts.windows_scored += 1
        self.counts.running_seconds += metadata.window_hop_seconds
        caused: list[Event] = []
        if self._report_scores:
            start_seconds = window.first_sample / metadata.sample_rate_hz
            caused.append(events.score(decision, start_seconds=start_seconds, level_dbfs=fit.level_dbfs))
        caused += self._alarm_events(decision, window)
        caused += self._drift_events(decision, fit, residual)
        return [self._placed(event, end_seconds) for event in caused]

    def _alarm_events(self, decision: Decision, window: Window) -> list[Event]:
        caused = []
        if decision.raised is not None:
            self.counts.episodes += 1
            bands = self._bands(decision.raised.peak_residual)
            start_seconds = window.first_sample / self._metadata.sample_rate_hz
            raised = events.alarm_raised(
                self.counts.episodes, decision, bands, threshold=self._rule.threshold, start_seconds=start_seconds
            )
            raised |= {
                **self.clips.raised(window, decision.raised),
                "model_fingerprint": self._metadata.model_fingerprint,
            }
            if self._recording is not None:
                raised["recording"] = self._recording
            caused.append(raised)
        if decision.grew is not None:
            bands = self._bands(decision.grew.peak_residual)
            caused.append(events.alarm_grew(self.counts.episodes, decision.grew, bands))
        if decision.cleared is not None:
            episode = decision.cleared
            cleared = events.alarm_cleared(self.counts.episodes, episode, self._bands(episode.peak_residual))
            caused.append(cleared | self.clips.cleared(episode))
        return caused

    def _drift_events(self, decision: Decision, fit: FitWindow, residual: NDArray[np.float64]) -> list[Event]:
        anomalous = decision.in_alarm or decision.smoothed_score > self._rule.threshold or fit.state is not State.OK
        if not self._drift.window(decision.smoothed_score, anomalous=anomalous):
            return []
        report = self._drift.sample(fit.window.samples, level_dbfs=fit.level_dbfs, residual=residual)
        return [] if report is None else [events.drift(report, self._bands(list(report.residual)))]

    def _bands(self, residual: tuple[float, ...] | list[float]) -> list[dict[str, Any]]:
        return events.carrying_bands(residual, self._metadata.residual_baseline, self._metadata.residual_names)

    def _state_events(self, change: StateChange | None) -> list[Event]:
        return [] if change is None else [self._placed(events.source_state(change))]

    def _placed(self, event: Event, stream_seconds: float | None = None) -> Event:
        """`event` with the source and the place in its stream, by default the newest sample."""
        if stream_seconds is None:
            stream_seconds = self._cutter.next_sample / self._metadata.sample_rate_hz
        return {"event": event["event"], "source": self.name, "stream_seconds": stream_seconds, **event}
