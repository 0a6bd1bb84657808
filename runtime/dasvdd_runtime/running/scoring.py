"""Score what waits in many pipelines, those that share a model in one batch. Knows no clock or thread."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import groupby

from ..events import Event
from ..pipeline import Pipeline
from ..scorer import Scores, WindowScorer


def score_waiting(
    pipelines: Iterable[Pipeline],
    emit: Callable[[list[Event]], None],
    *,
    scored: Callable[[], None] = lambda: None,
) -> None:
    """Score every window that waits and `emit` what follows, in order for each pipeline.

    The scorer's `batch_windows` at most are copied at once, whatever waits. `scored` is called after each batch.
    """
    by_scorer: dict[int, tuple[WindowScorer, list[Pipeline]]] = {}
    for pipeline in pipelines:
        emit(pipeline.events_due())
        by_scorer.setdefault(id(pipeline.scorer), (pipeline.scorer, []))[1].append(pipeline)
    for scorer, sharing in by_scorer.values():
        waiting = [(pipeline, window) for pipeline in sharing for window in pipeline.windows()]
        if not waiting:
            continue
        most = scorer.batch_windows
        for start in range(0, len(waiting), most):
            batch = waiting[start : start + most]
            scores = scorer.score([window for _, window in batch])
            first = 0
            for pipeline, rows in groupby((pipeline for pipeline, _ in batch)):
                end = first + len(list(rows))
                emit(pipeline.decide(_rows(scores, first, end)))
                first = end
            scored()


def _rows(scores: Scores, first: int, end: int) -> Scores:
    return Scores(
        scores.score[first:end],
        scores.reconstruction_error[first:end],
        scores.center_distance[first:end],
        scores.residual[first:end],
    )
