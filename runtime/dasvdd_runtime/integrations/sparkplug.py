"""Sparkplug B: the monitor as an edge node, each source as a device of it. Sparkplug specification 3.0."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

from .. import __version__
from ..endpoint.probes import DELIVERING
from ..errors import DataError
from ..sinks.mqtt import topic_level
from ..snapshot import SourceSnapshot
from .commands import Commands
from .link import Arrived, Message
from .sparkplug_payload import Codec, DataType, Metric

REBIRTH = "Node Control/Rebirth"
SLOW = frozenset({"Score", "Lost Seconds"})
SLOW_SECONDS = 10.0
"""Least time between two messages of a device in which only the metrics SLOW differ."""


def _now_milliseconds() -> int:
    return time.time_ns() // 1_000_000


class Sparkplug:
    """The role that a link plays for Sparkplug host applications."""

    name = "sparkplug"

    def __init__(
        self,
        commands: Commands,
        *,
        group: str,
        node: str,
        clock: Callable[[], float] = time.monotonic,
        now_milliseconds: Callable[[], int] = _now_milliseconds,
    ) -> None:
        """Raises Unavailable without protobuf."""
        self._commands = commands
        self._codec = Codec()
        self._group, self._node = group, node
        self._clock = clock
        self._now = now_milliseconds
        self._bd_seq = 0
        self._seq = 0
        self._was_born = self._rebirth_asked = False
        self._devices: dict[str, tuple[str, str]] = {}
        self._told: dict[str, tuple[list[Metric], float]] = {}

    def will(self) -> Message:
        """The node's death, with the number of the birth that follows."""
        if self._was_born:
            self._bd_seq = (self._bd_seq + 1) % 256
            self._was_born = False
        return self._death()

    def topics(self) -> list[str]:
        """Commands to the node."""
        return [self._topic("NCMD")]

    def born(self, sources: Sequence[SourceSnapshot]) -> list[Message]:
        """The births of the node and of each device."""
        self._was_born, self._rebirth_asked = True, False
        self._devices = _devices(sources)
        metrics = [
            self._birth_number(),
            Metric(REBIRTH, DataType.BOOLEAN, False),
            Metric("Properties/Software", DataType.STRING, "dasvdd"),
            Metric("Properties/Software Version", DataType.STRING, __version__),
        ]
        self._seq = 255  # so that the node's birth has 0
        return [self._message("NBIRTH", metrics, birth=True), *(self._device_birth(source) for source in sources)]

    def changed(self, sources: Sequence[SourceSnapshot]) -> list[Message]:
        """The metrics that changed; all births anew where one was asked for, or where devices came or went."""
        if _devices(sources) != self._devices:
            gone = [name for name in self._devices if name not in _devices(sources)]
            return [*(self._message("DDEATH", [], device=name) for name in gone), *self.born(sources)]
        if self._rebirth_asked:
            return self.born(sources)
        return [message for source in sources for message in self._device_data(source)]

    def received(self, message: Arrived) -> list[Message]:
        """Note that births are wanted; several requests at once get one answer, at the next turn."""
        try:
            if message.retained:
                raise DataError("the broker kept it, so it may be of any age")
            wanted = self._codec.true_metrics(message.payload)
            if REBIRTH not in wanted:
                raise DataError(f"it is not {REBIRTH}, the only one there is")
        except DataError as error:
            self._commands.refuse("Sparkplug NCMD", str(error))
            return []
        self._commands.counts["taken"] += 1
        self._rebirth_asked = True
        return []

    def leaving(self, *, for_good: bool) -> list[Message]:
        """The node's death, which a broker does not publish for a client that takes leave."""
        return [self._death()]

    def _device_birth(self, source: SourceSnapshot) -> Message:
        metrics = metrics_of(source)
        self._told[source.name] = (metrics, self._clock())
        return self._message("DBIRTH", metrics, device=source.name, birth=True)

    def _device_data(self, source: SourceSnapshot) -> list[Message]:
        metrics = metrics_of(source)
        before, told_seconds = self._told[source.name]
        differing = [metric for metric, old in zip(metrics, before, strict=True) if metric != old]
        only_slow = all(metric.name in SLOW for metric in differing)
        if not differing or (only_slow and self._clock() - told_seconds < SLOW_SECONDS):
            return []
        self._told[source.name] = (metrics, self._clock())
        return [self._message("DDATA", differing, device=source.name)]

    def _death(self) -> Message:
        payload = self._codec.encode([self._birth_number()], milliseconds=self._now(), birth=True)
        return Message(self._topic("NDEATH"), payload)

    def _birth_number(self) -> Metric:
        return Metric("bdSeq", DataType.INT64, self._bd_seq)

    def _message(self, kind: str, metrics: Sequence[Metric], *, device: str = "", birth: bool = False) -> Message:
        """The next message in the sequence; QoS 0, as Sparkplug wants it."""
        self._seq = (self._seq + 1) % 256
        payload = self._codec.encode(metrics, milliseconds=self._now(), seq=self._seq, birth=birth)
        return Message(self._topic(kind, device), payload, qos=0)

    def _topic(self, kind: str, device: str = "") -> str:
        base = f"spBv1.0/{self._group}/{kind}/{self._node}"
        return f"{base}/{topic_level(device)}" if device else base


def _devices(sources: Sequence[SourceSnapshot]) -> dict[str, tuple[str, str]]:
    """What is declared at a device's birth and does not change after."""
    return {source.name: (source.model, source.model_fingerprint) for source in sources}


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
