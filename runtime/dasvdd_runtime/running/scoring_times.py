"""How long a model takes to score what waits, as a histogram."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Sequence

from ..scorer import Scorer, Scores
from ..stream_scorer import StreamScorer
from ..windows import Waiting

BOUNDS_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
"""Upper bounds of the histogram's classes; a last one has none."""


class TimedScorer:
    """Scores as `scorer` does, and keeps how long each batch took. One thread scores, any may read."""

    def __init__(self, scorer: Scorer | StreamScorer, *, clock: Callable[[], float] = time.perf_counter) -> None:
        self._scorer = scorer
        self._clock = clock
        self.total_seconds = 0.0
        self._batches = [0] * (len(BOUNDS_SECONDS) + 1)

    @property
    def batch_windows(self) -> int:
        """Most windows that are scored at once."""
        return self._scorer.batch_windows

    def score(self, waiting: Sequence[Waiting]) -> Scores:
        """Scores of the windows that wait, those of a stream in their order."""
        begin_seconds = self._clock()
        scores = self._scorer.score(waiting)
        elapsed_seconds = self._clock() - begin_seconds
        self._batches[bisect_left(BOUNDS_SECONDS, elapsed_seconds)] += 1
        self.total_seconds += elapsed_seconds
        return scores

    def batches(self) -> list[int]:
        """How many batches took up to each of BOUNDS_SECONDS and no less than the one before; last, all longer ones."""
        return list(self._batches)
