"""What the page is told, as one JSON object."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Set
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ..alarms.book import Alarm, lasted_seconds
from ..alarms.mutes import ALL, Mute
from ..errors import DasvddError
from ..events import carrying_bands
from ..running.snapshot import SourceSnapshot, Standing
from ..thresholds.choice import ThresholdInForce
from .history import STEP_SECONDS, STEPS, History
from .observed import Observed, ShownAlarms
from .privacy_words import privacy_words
from .probes import faults
from .state_words import ENDED, words_for

if TYPE_CHECKING:
    from .alarm_board import AlarmBoard
    from .evidence_shelf import EvidenceShelf


class Status:
    """Puts together what the page shows. May be asked from any thread."""

    def __init__(
        self,
        observed: Observed,
        history: History,
        board: AlarmBoard | None,
        *,
        machine: str,
        shelf: EvidenceShelf | None = None,
    ) -> None:
        """`board`: None where alarms are not kept; `machine`: the name of this one; `shelf`: of their evidence."""
        self._observed = observed
        self._history = history
        self._board = board
        self._machine = machine
        self._shelf = shelf
        self._run = str(uuid.uuid4())

    def curves(self, after: int = -1) -> dict[str, Any]:
        """The last minutes, after the step `after` of this run."""
        return {"run": self._run, "step_seconds": STEP_SECONDS, "keep": STEPS, **self._history.after(after)}

    def now(self) -> dict[str, Any]:
        """Everything else, as it is now."""
        sources = self._observed.sources()
        thresholds = self._observed.thresholds()
        board, trouble = self._look()
        alarms = board.alarms
        ends = {mute.source: mute for mute in board.mutes if mute.until > time.time()}
        kept: Set[str] = self._shelf.alarms() if self._shelf is not None and alarms else frozenset()
        return {
            "run": self._run,
            "machine": self._machine,
            "version": self._observed.versions.get("dasvdd", ""),
            "time": time.time(),
            "faults": faults(sources, since_beat_seconds=self._observed.since_beat_seconds()),
            "keeps_alarms": self._board is not None,
            "state_trouble": trouble,
            "privacy": privacy_words(sources),
            "held": _held(self._observed.receivers()),
            "all_muted": _mute(ends.get(ALL)),
            "sources": [self._source(s, thresholds.get(s.name), ends.get(s.name)) for s in sources],
            "unanswered": board.unanswered,
            "alarms": [_alarm(alarm, has_evidence=alarm.id in kept) for alarm in alarms],
        }

    def _look(self) -> tuple[ShownAlarms, str]:
        """What is kept of alarms and mutes, and why it cannot be read."""
        if self._board is None:
            return ShownAlarms(), ""
        try:
            return self._board.look(), ""
        except DasvddError as error:
            return ShownAlarms(), str(error)

    def _source(self, source: SourceSnapshot, threshold: ThresholdInForce | None, mute: Mute | None) -> dict[str, Any]:
        words = words_for(source)
        return {
            "name": source.name,
            "model": source.model,
            "model_fingerprint": source.model_fingerprint,
            "state": source.state.value,
            **words._asdict(),
            "reason": "" if words is ENDED else source.state_reason,
            "state_seconds": None if words is ENDED else self._history.state_seconds(source.name),
            "score": source.score,
            "smoothed_score": source.smoothed_score,
            "threshold": source.threshold,
            "threshold_why": "" if threshold is None else threshold.why,
            "site_not_used": None if threshold is None else threshold.site_not_used,
            "usual_score": None if threshold is None else threshold.usual_score,
            "false_alarms_per_day": None if threshold is None else threshold.false_alarms_per_day,
            "in_alarm": source.in_alarm,
            "latched_alarms": source.latched_alarms,
            "muted": source.muted,
            "keeps": source.keeps,
            "mute": _mute(mute),
            "level_dbfs": source.level_dbfs,
            "usual_level_dbfs": None if source.usual_level_dbfs is None else list(source.usual_level_dbfs),
            "bands": _bands(source),
            "drift": _drift(source),
            "counts": asdict(source.counts),
        }


def _bands(source: SourceSnapshot) -> list[dict[str, Any]]:
    residual = source.residual
    return [] if residual is None else carrying_bands(residual.values.tolist(), residual.usual, residual.names)


def _drift(source: SourceSnapshot) -> dict[str, Any] | None:
    report = source.drift
    if report is None:
        return None
    return {
        "drifting": report.drifting,
        "reasons": report.reasons,
        "running_seconds": report.running_seconds,
        "score_p50": report.score_p50,
        "score_p95": report.score_p95,
        "spectrum_compared": report.spectrum is not None,
    }


def _held(receivers: Mapping[str, Standing]) -> list[dict[str, Any]]:
    """The receivers for which a limit holds events, how many, and until when."""
    held = {name: standing.held for name, standing in receivers.items()}
    return [{"receiver": name, **asdict(hold)} for name, hold in held.items() if hold is not None]


def _mute(mute: Mute | None) -> dict[str, Any] | None:
    return None if mute is None else {"until": mute.until, "note": mute.note}


def _alarm(alarm: Alarm, *, has_evidence: bool) -> dict[str, Any]:
    return {
        "id": alarm.id,
        "source": alarm.source,
        "state": alarm.state.value,
        "raised_at": alarm.raised_at.timestamp(),
        "lasted_seconds": None if alarm.end_seconds is None else lasted_seconds(alarm.start_seconds, alarm.end_seconds),
        "peak_ratio": alarm.peak_score / alarm.threshold,
        "muted": alarm.muted,
        "recording": alarm.recording,
        "verdict": alarm.verdict,
        "note": alarm.note,
        "has_evidence": has_evidence,
    }
