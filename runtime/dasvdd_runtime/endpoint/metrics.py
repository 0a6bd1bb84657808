"""What the monitor does, as Prometheus reads it. prometheus-client is an extra and imported here alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from ..condition.health import State
from ..running.scoring_times import BOUNDS_SECONDS, TimedScorer
from ..running.snapshot import SourceSnapshot, Standing
from .observed import Observed

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
Value = Callable[[SourceSnapshot], float | None]
Values = Iterable[tuple[Sequence[str], float | None]]
"""The labels' values, and what is measured; None: not known."""

GAUGES: tuple[tuple[str, str, Value], ...] = (
    ("score", "Score of the newest window that was judged.", lambda s: s.score),
    ("smoothed_score", "The score that is compared with the threshold.", lambda s: s.smoothed_score),
    ("threshold", "The threshold in force.", lambda s: s.threshold),
    ("alarm_open", "1 while an alarm lasts or waits for an acknowledgement.", lambda s: s.in_alarm),
    ("alarms_latched", "Alarms whose scores cleared and that nobody acknowledged.", lambda s: s.latched_alarms),
    (
        "drifting",
        "1 where the last whole day of running drifted.",
        lambda s: None if s.drift is None else s.drift.drifting,
    ),
    ("muted", "1 while nobody is to be called.", lambda s: s.muted),
    ("level_dbfs", "Level over the newest second, dB of a full-scale sine.", lambda s: s.level_dbfs),
    ("waiting_seconds", "For how long the open source has given nothing.", lambda s: s.waiting_seconds),
    ("clock_drift_ppm", "By how much the device's clock is faster than this machine's.", lambda s: s.drift_ppm),
)
COUNTERS: tuple[tuple[str, str, Value], ...] = (
    ("alarms", "Alarms raised.", lambda s: s.counts.episodes),
    ("gaps", "Places where samples are missing.", lambda s: s.counts.gaps),
    ("lost_seconds", "Time of which no samples arrived.", lambda s: s.counts.lost_seconds),
    (
        "dropped_seconds",
        "Time that arrived, but scoring fell behind.",
        lambda s: s.counts.dropped_seconds,
    ),
    ("running_seconds", "Time that was judged.", lambda s: s.counts.running_seconds),
    ("idle_seconds", "Time that the machine stood still.", lambda s: s.counts.idle_seconds),
)
EVENTS_FROM_ZERO = ("evidence_lost",)
"""Kinds that are counted before the first: to Prometheus, a counter that begins with 1 has not increased."""
OUTCOMES: dict[str, Callable[[SourceSnapshot], int]] = {
    "scored": lambda s: s.counts.windows_scored,
    "withheld": lambda s: s.counts.windows_withheld,
    "idle": lambda s: s.counts.windows_idle,
}


class MonitorCollector(Collector):
    """Reads the monitor anew for each scrape."""

    def __init__(self, observed: Observed) -> None:
        self._observed = observed

    def collect(self) -> Iterator[Metric]:
        """Every metric, as the monitor is now."""
        return metrics(self._observed)


class Exposition:
    """What `/metrics` answers: the monitor, and this process's memory, processor time and descriptors."""

    def __init__(self, observed: Observed) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(MonitorCollector(observed))
        ProcessCollector(registry=self._registry)

    def text(self) -> bytes:
        """The text format 0.0.4, which everything that scrapes can read."""
        return generate_latest(self._registry)


def metrics(observed: Observed) -> Iterator[Metric]:
    """Every metric. Labels are names of the configuration and fixed words: nothing that grows."""
    sources = observed.sources()
    yield from _of_sources(sources)
    yield from _of_models(sources, observed.scorers())
    yield from _of_receivers(observed.receivers())
    events = {**dict.fromkeys(EVENTS_FROM_ZERO, 0), **observed.events()}
    yield _counter("events", "Events written, by kind.", ["kind"], [([kind], n) for kind, n in events.items()])
    commands = [([outcome], count) for outcome, count in observed.commands().items()]
    yield _counter("commands", "Commands that came through the broker, by outcome.", ["outcome"], commands)
    beaten = [((), observed.since_beat_seconds())]
    yield _gauge("heartbeat_age_seconds", "Time since scoring and all live sources last went on.", [], beaten)
    versions = observed.versions
    yield _gauge("build_info", "Versions of the software.", [*versions], [([*versions.values()], 1)])


def _of_sources(sources: Sequence[SourceSnapshot]) -> Iterator[Metric]:
    states = [([s.name, state.value], s.state is state) for s in sources for state in State]
    yield _gauge("source_state", "1 for the state that the source is in, else 0.", ["source", "state"], states)
    for name, help_text, value in GAUGES:
        yield _gauge(name, help_text, ["source"], [([s.name], value(s)) for s in sources])
    for name, help_text, value in COUNTERS:
        yield _counter(name, help_text, ["source"], [([s.name], value(s)) for s in sources])
    windows = [([s.name, outcome], count(s)) for s in sources for outcome, count in OUTCOMES.items()]
    yield _counter("windows", "Windows, by what became of them.", ["source", "outcome"], windows)


def _of_models(sources: Sequence[SourceSnapshot], scorers: Mapping[str, TimedScorer]) -> Iterator[Metric]:
    judges = [([s.name, s.model, s.model_fingerprint], 1) for s in sources]
    yield _gauge("model_info", "The model that judges the source.", ["source", "model", "fingerprint"], judges)
    help_text = "Time that a batch of windows took to score."
    family = HistogramMetricFamily("dasvdd_scoring_seconds", help_text, labels=["model"])
    bounds = [*map(str, BOUNDS_SECONDS), "+Inf"]
    for name, scorer in scorers.items():
        family.add_metric([name], [*zip(bounds, accumulate(scorer.batches()), strict=True)], scorer.total_seconds)
    yield family


def _of_receivers(receivers: Mapping[str, Standing]) -> Iterator[Metric]:
    waiting = [([name], standing.waiting) for name, standing in receivers.items()]
    lost = [([name, kind], count) for name, standing in receivers.items() for kind, count in standing.lost.items()]
    yield _gauge("outbox_waiting_events", "Events that the receiver has not acknowledged.", ["receiver"], waiting)
    held = {name: standing.held for name, standing in receivers.items()}
    number = [([name], 0 if hold is None else hold.events) for name, hold in held.items()]
    yield _gauge("outbox_held_events", "Those that a limit of the receiver's table holds.", ["receiver"], number)
    until = [([name], None if hold is None else hold.until) for name, hold in held.items()]
    yield _gauge("outbox_held_until_timestamp_seconds", "Until when it holds them.", ["receiver"], until)
    yield _counter("outbox_lost_events", "What the receiver never got, by kind.", ["receiver", "kind"], lost)


def _gauge(name: str, help_text: str, labels: Sequence[str], values: Values) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"dasvdd_{name}", help_text, labels=labels)
    _fill(family, values)
    return family


def _counter(name: str, help_text: str, labels: Sequence[str], values: Values) -> CounterMetricFamily:
    family = CounterMetricFamily(f"dasvdd_{name}", help_text, labels=labels)
    _fill(family, values)
    return family


def _fill(family: GaugeMetricFamily | CounterMetricFamily, values: Values) -> None:
    for labels, value in values:
        if value is not None:
            family.add_metric(labels, value)
