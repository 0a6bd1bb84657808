"""What the monitor reports: event records, one JSON object each, under a schema of their own.

Every event has `schema`, `event`, `id` (a random UUID), `time` (UTC, ISO 8601 with milliseconds: when it was written)
and, except for those of the whole monitor, `source` and `stream_seconds`. Times in seconds count the stream's samples,
lost ones included, from its first; that of a window is its end, when its score is known first.
"""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from .condition.drift import DriftReport
from .condition.health import StateChange
from .condition.spectrum_drift import SpectrumChange
from .contract import ModelMetadata
from .detector import Decision, DecisionSettings, Episode
from .thresholds.choice import ThresholdInForce

SCHEMA = "1.0"
CARRYING_BANDS = 3
"""Bands or channels named as those that carry an alarm."""

Event = dict[str, Any]


@dataclass
class Counts:
    """What happened to one source's samples so far."""

    windows_scored: int = 0
    windows_withheld: int = 0
    """Windows that were silent or held values that are not finite, and so were not judged."""
    windows_idle: int = 0
    """Windows that were not judged because the machine stood still."""
    running_seconds: float = 0.0
    """Time that was judged: a window hop for each window scored. False-alarm rates are per day of this."""
    idle_seconds: float = 0.0
    """Time that the machine stood still: a window hop for each idle window."""
    gaps: int = 0
    lost_seconds: float = 0.0
    """Time of which no samples arrived: device away, overflow, lost by the sound system."""
    dropped_seconds: float = 0.0
    """Samples that arrived and were dropped, because scoring fell behind."""
    episodes: int = 0


@dataclass(frozen=True)
class ModelInForce:
    """A model as the monitor uses it."""

    name: str
    metadata: ModelMetadata
    threshold: float
    settings: DecisionSettings
    overrides: dict[str, float]
    """Decision values that the configuration puts in the place of the model's."""
    provider: str
    form: Literal["plain", "stream"] = "plain"
    """What scores: the plain form, or the stream form that lies beside it."""
    stream_not_used: str | None = None
    """Why a stream form that lies there does not."""
    signature: dict[str, Any] | None = None
    """Id of the key that signed the file, and its counter, where the configuration requires a signature."""


def started(
    models: Sequence[ModelInForce],
    *,
    sources: dict[str, str],
    thresholds: dict[str, ThresholdInForce],
    versions: dict[str, str],
) -> Event:
    """Monitoring begins. By source: the name of its model, and its threshold; `versions`: of the software."""
    return {
        "event": "started",
        "models": {model.name: _described(model) for model in models},
        "sources": sources,
        "thresholds": _thresholds(thresholds),
        "versions": versions,
    }


def _thresholds(by_source: dict[str, ThresholdInForce]) -> dict[str, Any]:
    return {
        source: {
            "threshold": threshold.value,
            "origin": threshold.origin,
            "why": threshold.why,
            "false_alarms_per_day": threshold.false_alarms_per_day,
        }
        for source, threshold in by_source.items()
    }


def site_threshold_not_used(source: str, *, reason: str) -> Event:
    """There is a calibration on site for `source`, and another threshold judges it."""
    return {"event": "site_threshold_not_used", "source": source, "reason": reason}


def _described(model: ModelInForce) -> dict[str, Any]:
    return {
        "model": model.metadata.name,
        "model_fingerprint": model.metadata.model_fingerprint,
        "threshold": model.threshold,
        "decision": asdict(model.settings),
        "overrides": model.overrides,
        "false_alarms_per_day": None if model.overrides else model.metadata.calibration.false_alarms_per_day,
        "provider": model.provider,
        "form": model.form,
        "stream_not_used": model.stream_not_used,
        "signature": model.signature,
    }


def reloaded(
    models: Sequence[ModelInForce],
    *,
    sources: dict[str, str],
    thresholds: dict[str, ThresholdInForce],
    added: list[str],
    removed: list[str],
    kept: list[str],
    judged_before: dict[str, dict[str, Any]],
    changed: list[str],
    restart_needed: list[str],
) -> Event:
    """A new configuration is in force. `kept`: sources whose capture went on.

    `judged_before`: by source that is kept, the `model`, `model_fingerprint` and `threshold` of before.

    `changed`: tables other than those of models and sources. `restart_needed`: what the file says otherwise, but stays
    as it was until the monitor is restarted.
    """
    return {
        "event": "reloaded",
        "models": {model.name: _described(model) for model in models},
        "sources": sources,
        "thresholds": _thresholds(thresholds),
        "added": added,
        "removed": removed,
        "kept": kept,
        "judged_before": judged_before,
        "changed": changed,
        "restart_needed": restart_needed,
    }


def reload_refused(reason: str) -> Event:
    """The new configuration or model cannot be used; everything goes on as before."""
    return {"event": "reload_refused", "reason": reason}


def source_state(change: StateChange) -> Event:
    """A source changed its state."""
    return {
        "event": "source_state",
        "state": change.state.value,
        "previous": change.previous.value,
        "reason": change.reason,
    }


def score(decision: Decision, *, start_seconds: float, level_dbfs: float | None) -> Event:
    """One window was scored. `start_seconds`: where it begins; `level_dbfs`: over the second up to its end."""
    return {
        "event": "score",
        "start_seconds": start_seconds,
        "score": decision.score,
        "smoothed_score": decision.smoothed_score,
        "in_alarm": decision.in_alarm,
        "level_dbfs": level_dbfs,
    }


def alarm_raised(
    number: int, decision: Decision, bands: list[dict[str, Any]], *, threshold: float, start_seconds: float
) -> Event:
    """An alarm rose. `number` counts the source's episodes from 1; `bands` as `carrying_bands` gives them.

    `start_seconds`: where the window that raised it begins in the stream.
    """
    return {
        "event": "alarm_raised",
        "episode": number,
        "start_seconds": start_seconds,
        "score": decision.score,
        "smoothed_score": decision.smoothed_score,
        "threshold": threshold,
        "bands": bands,
    }


def alarm_grew(number: int, episode: Episode, bands: list[dict[str, Any]]) -> Event:
    """An alarm that lasts has gone clearly beyond what was told of it. `bands`: those that carried it at its peak."""
    return {
        "event": "alarm_grew",
        "episode": number,
        "rise_seconds": episode.rise_seconds,
        "peak_seconds": episode.peak_seconds,
        "peak_score": episode.peak_score,
        "bands": bands,
    }


def alarm_cleared(number: int, episode: Episode, bands: list[dict[str, Any]]) -> Event:
    """An alarm cleared. `bands`: those that carried it at its peak."""
    assert episode.clear_seconds is not None
    return {
        "event": "alarm_cleared",
        "episode": number,
        "rise_seconds": episode.rise_seconds,
        "peak_seconds": episode.peak_seconds,
        "peak_score": episode.peak_score,
        "clear_seconds": episode.clear_seconds,
        "duration_seconds": episode.clear_seconds - episode.rise_seconds,
        "bands": bands,
    }


def alarm_open(number: int, episode: Episode, bands: list[dict[str, Any]]) -> Event:
    """The stream, or monitoring, ended while an alarm lasted."""
    return {
        "event": "alarm_open",
        "episode": number,
        "rise_seconds": episode.rise_seconds,
        "peak_seconds": episode.peak_seconds,
        "peak_score": episode.peak_score,
        "bands": bands,
    }


def summary(counts: Counts, *, state: str, in_alarm: bool, drift_ppm: float | None) -> Event:
    """The counts of one source: every hour, and when it ends. `drift_ppm`: of the device's clock, where it is known."""
    return {"event": "summary", "state": state, "in_alarm": in_alarm, **asdict(counts), "drift_ppm": drift_ppm}


def drift(report: DriftReport, bands: list[dict[str, Any]]) -> Event:
    """A slow drift began or ended. `bands`: those whose residual is largest against the usual, over the day."""
    return {
        "event": "drift",
        "drifting": report.drifting,
        "reasons": list(report.reasons),
        "score_p50": report.score_p50,
        "score_p95": report.score_p95,
        "level_p5_dbfs": report.level_p5_dbfs,
        "level_p50_dbfs": report.level_p50_dbfs,
        "spectrum": None if report.spectrum is None else [_spectrum_change(change) for change in report.spectrum],
        "bands": bands,
    }


def _spectrum_change(change: SpectrumChange) -> dict[str, Any]:
    return {"name": change.name, "change": change.change, "unit": change.unit, "usual": [change.low, change.high]}


def overload(dropped_seconds: dict[str, float], *, bursts: list[str]) -> Event:
    """Samples were dropped. `dropped_seconds`: by source, since the event before.

    `bursts`: the sources that gave more at once than may wait; of the others, scoring fell behind.
    """
    return {"event": "overload", "dropped_seconds": dropped_seconds, "bursts": bursts}


def clock_jump(seconds: float) -> Event:
    """The wall clock was set: `time` of the events from here on is later by `seconds` than of those before."""
    return {"event": "clock_jump", "seconds": seconds}


def events_dropped(receivers: dict[str, dict[str, int]]) -> Event:
    """Receivers that will never get some events. By name: `events`, `scores` that had no room, `refused` by it."""
    return {"event": "events_dropped", "receivers": receivers}


def outbox_reset(*, reason: str, moved_to: str) -> Event:
    """The outbox was damaged and begun anew; what waited in it is in the file `moved_to` beside it."""
    return {"event": "outbox_reset", "reason": reason, "moved_to": moved_to}


def stopped(*, reason: str, alarms_open: list[str], failed: dict[str, str]) -> Event:
    """Monitoring ends. `alarms_open`: sources in alarm; `failed`: sources that ended with a fault, and the fault."""
    return {"event": "stopped", "reason": reason, "alarm_open": alarms_open, "failed": failed}


def carrying_bands(
    residual: Sequence[float], baseline: Sequence[float], names: Sequence[str], *, most: int = CARRYING_BANDS
) -> list[dict[str, Any]]:
    """The `most` bands whose residual is largest in relation to what is usual for them, largest first.

    `residual`, `baseline` and `names` have one entry a band. A band whose baseline is 0 has no ratio and comes last.
    """
    ratios = [value / usual if usual > 0 else 0.0 for value, usual in zip(residual, baseline, strict=True)]
    order = sorted(range(len(ratios)), key=lambda i: ratios[i], reverse=True)
    return [{"name": names[i], "ratio": ratios[i]} for i in order[:most]]


def ratio(event: Event) -> float:
    """How far the alarm of `event` went, in thresholds; 0 where it does not say."""
    score, threshold = event.get("peak_score", event.get("smoothed_score")), event.get("threshold")
    if not isinstance(score, int | float) or not isinstance(threshold, int | float) or threshold <= 0:
        return 0.0
    return score / threshold


def with_id(event: Event) -> Event:
    """`event` with a random UUID as its `id`, by which a receiver knows it again."""
    return {"event": event["event"], "id": str(uuid.uuid4()), **event}


def to_json(event: Event, *, now: datetime) -> str:
    """`event` as one line of JSON without the line feed, stamped with the schema and `now`; NaN becomes null."""
    record = {"schema": SCHEMA, "event": event["event"], "time": stamp(now), **event}
    return json.dumps(finite(record), ensure_ascii=False, allow_nan=False)


def stamp(time: datetime) -> str:
    """`time`, which has a time zone, in UTC with milliseconds: 2026-06-01T12:00:00.000Z."""
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def finite(value: Any) -> Any:
    """`value` with None in the place of every float that JSON cannot hold."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [finite(entry) for entry in value]
    return value
