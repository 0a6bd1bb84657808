"""What Sparkplug hosts are told of a source, and what they may write to it."""

from __future__ import annotations

import math

from ..endpoint.probes import DELIVERING
from ..running.snapshot import SourceSnapshot
from .commands import Verb
from .sparkplug_payload import DataType, Metric

RESULT = "Device Control/Result"
"""What came of the last command, with its time."""
CONTROLS: dict[str, tuple[Verb, DataType]] = {
    "Device Control/Acknowledge": ("acknowledge", DataType.STRING),
    "Device Control/Mute Minutes": ("mute", DataType.DOUBLE),
}
"""What may be written; they hold no value of their own."""


def control_metrics() -> list[Metric]:
    """Declared at a device's birth, where commands can be obeyed."""
    return [Metric(name, type, None) for name, (_, type) in CONTROLS.items()]


def metrics_of(source: SourceSnapshot) -> list[Metric]:
    """What is told of `source`, always the same metrics; without a value where it cannot be told."""
    judged = source.state in DELIVERING and not source.failed
    score = source.smoothed_score
    return [
        Metric("Alarm", DataType.BOOLEAN, source.in_alarm if source.in_alarm or judged else None),
        Metric("Alarms Latched", DataType.INT64, source.latched_alarms),
        Metric("Alarms Raised", DataType.INT64, source.counts.episodes),
        Metric("Muted", DataType.BOOLEAN, source.muted),
        Metric("State", DataType.STRING, source.state.value),
        Metric("Score", DataType.DOUBLE, score if judged and score is not None and math.isfinite(score) else None),
        Metric("Threshold", DataType.DOUBLE, source.threshold),
        Metric("Lost Seconds", DataType.DOUBLE, source.counts.lost_seconds),
        Metric("Properties/Model", DataType.STRING, source.model),
        Metric("Properties/Model Fingerprint", DataType.STRING, source.model_fingerprint),
    ]
