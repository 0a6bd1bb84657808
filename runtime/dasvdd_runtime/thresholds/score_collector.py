"""Events of one source -> scores, levels and spectra of healthy running, in uninterrupted stretches.

Pure: it knows no clock or thread. Counted is what `run` judges, clipped stretches and what follows a fault left out: a
rule for normal running must not rest on samples that are in doubt.
"""

from __future__ import annotations

import math
from array import array
from collections import deque
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..condition.health import CLIP_SECONDS, State
from ..condition.spectrum import SpectrumMeter
from ..contract import ModelMetadata
from ..detector import DecisionSettings
from ..errors import DataError
from ..events import Event
from ..scorer import Scores, WindowScorer
from ..windows import Waiting
from .decision_chain import MINIMUM_WINDOWS

DOUBTFUL = (State.CLIPPED, State.FAULT)
"""After these, only windows that begin later count."""

SPECTRUM_SECONDS = 10.0
"""Of running, from one window whose spectrum is measured to the next."""


class ScoreCollector:
    """Takes the events of one source, `score` events included, in order."""

    def __init__(self, *, settings: DecisionSettings, window_hop_seconds: float, wanted_seconds: float = math.inf):
        """`wanted_seconds`: of running in which an alarm could have risen; more is not kept."""
        self.alarms = 0
        """Alarms of the decision chain in force meanwhile."""
        self._hop_seconds = window_hop_seconds
        # A few windows of each stretch pass before the chain can decide.
        self._lead_in = settings.k + settings.windows_to_hold(window_hop_seconds) - 2
        self._wanted_windows = max(wanted_seconds / window_hop_seconds, MINIMUM_WINDOWS)
        self._streams: list[array[float]] = [array("d")]
        self._levels = array("d")
        self._spectra: list[NDArray[np.float32]] = []
        self._decided_before = 0
        self._last_start_seconds = -math.inf
        self._not_before_seconds = -math.inf
        self._in_doubt = False

    @property
    def seconds(self) -> float:
        """Running time so far in which an alarm could have risen."""
        return self._decided * self._hop_seconds

    @property
    def done(self) -> bool:
        """What was wanted is there."""
        # One more, so that rounding cannot make what is just enough too little.
        return self._decided >= self._wanted_windows + 1

    @property
    def streams(self) -> list[NDArray[np.float64]]:
        """Scores [windows] of each stretch without a gap."""
        return [np.array(stream, np.float64) for stream in self._streams if len(stream)]

    @property
    def level_dbfs(self) -> tuple[float, float, float] | None:
        """5th, 50th and 95th percentile of the level while scores were taken; None where there was none."""
        if not self._levels:
            return None
        low, middle, high = np.quantile(self._levels, (0.05, 0.5, 0.95))
        return float(low), float(middle), float(high)

    @property
    def spectra(self) -> NDArray[np.float32]:
        """The figures [pieces, figures] of windows whose scores were taken."""
        return np.array(self._spectra, np.float32)

    def take(self, event: Event, *, spectrum: NDArray[np.float32] | None = None) -> None:
        """The next event of the source, as JSON holds it, and the figures of its window's spectrum."""
        if event["event"] == "score":
            taken = self._score(event["start_seconds"], event["score"])
            if taken and event["level_dbfs"] is not None:
                self._levels.append(event["level_dbfs"])
            if taken and spectrum is not None:
                self._spectra.append(spectrum)
        elif event["event"] == "source_state":
            self._state(State(event["previous"]), State(event["state"]), event["stream_seconds"])
        elif event["event"] == "alarm_raised":
            self.alarms += 1

    def cut(self) -> None:
        """What comes next is another stream."""
        self._decided_before += self._decided_now
        if len(self._streams[-1]):
            self._streams.append(array("d"))
        self._last_start_seconds = self._not_before_seconds = -math.inf

    @property
    def _decided_now(self) -> int:
        return max(0, len(self._streams[-1]) - self._lead_in)

    @property
    def _decided(self) -> int:
        return self._decided_before + self._decided_now

    def _score(self, start_seconds: float, score: float) -> bool:
        if self._in_doubt or start_seconds < self._not_before_seconds or self.done:
            return False
        follows = abs(start_seconds - self._last_start_seconds - self._hop_seconds) < self._hop_seconds / 2
        if not follows:
            self.cut()
        self._last_start_seconds = start_seconds
        self._streams[-1].append(score)
        return True

    def _state(self, previous: State, state: State, stream_seconds: float) -> None:
        if state is State.CLIPPED:
            # It is told up to CLIP_SECONDS after it began.
            del self._streams[-1][-math.ceil(CLIP_SECONDS / self._hop_seconds) :]
        self._in_doubt = state in DOUBTFUL
        if previous in DOUBTFUL:
            self._not_before_seconds = stream_seconds


class CalibrationScorer:
    """A scorer that measures the spectrum of a window every SPECTRUM_SECONDS of running.

    A score that is not finite, of which a monitor would make a FAULT, ends the work.
    """

    def __init__(self, scorer: WindowScorer, metadata: ModelMetadata) -> None:
        self._meter = SpectrumMeter.of(metadata)
        self._scorer = scorer
        self._every_windows = max(1, round(SPECTRUM_SECONDS / metadata.window_hop_seconds))
        self._windows = 0
        self._spectra: deque[NDArray[np.float32] | None] = deque()

    @property
    def batch_windows(self) -> int:
        """Most windows that are scored at once."""
        return self._scorer.batch_windows

    def score(self, waiting: Sequence[Waiting]) -> Scores:
        """Scores of the windows that wait. Raises DataError for one that is not finite."""
        scores = self._scorer.score(waiting)
        if not np.isfinite(scores.score).all():
            broken = np.count_nonzero(~np.isfinite(scores.score))
            raise DataError(
                f"{broken} of {len(waiting)} scores are not finite, though their samples are: the model does not fit "
                "this signal, and no threshold can be learned. Compare unit and gain (dasvdd-monitor check)."
            )
        for one in waiting:
            due = self._windows % self._every_windows == 0
            self._spectra.append(self._meter.measure(one.window.samples) if due else None)
            self._windows += 1
        return scores

    def next_spectrum(self) -> NDArray[np.float32] | None:
        """The figures of the oldest window that was not asked for; None where they were not measured."""
        return self._spectra.popleft()
