"""Sparkplug B: the monitor as an edge node, each source as a device of it. Sparkplug specification 3.0."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from .. import __version__
from ..errors import DataError
from ..running.snapshot import SourceSnapshot
from ..sinks.mqtt import topic_level
from .backlog import Backlog
from .birth_number import BirthNumber
from .commands import Commands
from .link import Arrived, Message
from .sparkplug_host import PrimaryHost
from .sparkplug_metrics import CONTROLS, RESULT, control_metrics, metrics_of
from .sparkplug_payload import Codec, DataType, Metric, Value

log = logging.getLogger(__name__)

REBIRTH = "Node Control/Rebirth"
MOST_METRICS = 10
"""More are no command."""
SLOW = frozenset({"Score", "Lost Seconds"})
SLOW_SECONDS = 10.0
"""Least time between two messages of a device in which only the metrics SLOW differ."""


def _now_milliseconds() -> int:
    return time.time_ns() // 1_000_000


class Sparkplug:
    """The role that a link plays for Sparkplug host applications.

    With a primary host nothing is told before that is there, and where it goes, the node dies and begins anew:
    specification 3.0, 5.4 Edge Node Session Establishment.
    """

    name = "sparkplug"

    def __init__(
        self,
        commands: Commands,
        birth_number: BirthNumber,
        backlog: Backlog,
        *,
        group: str,
        node: str,
        primary_host: str | None = None,
        clock: Callable[[], float] = time.monotonic,
        now_milliseconds: Callable[[], int] = _now_milliseconds,
    ) -> None:
        """Raises Unavailable without protobuf."""
        self._commands = commands
        self._birth_number = birth_number
        self._backlog = backlog
        self._codec = Codec()
        self._group, self._node = group, node
        self._host = None if primary_host is None else PrimaryHost(primary_host)
        self._clock = clock
        self._now = now_milliseconds
        self._seq = self._born_milliseconds = 0
        self._was_connected = self._is_born = self._rebirth_asked = False
        self.over = False
        self._devices: dict[str, tuple[str, str]] = {}
        self._told: dict[str, tuple[list[Metric], float]] = {}
        self._results: dict[str, str] = {}

    def will(self) -> Message:
        """The node's death, with the number of the birth that follows."""
        if self._was_connected:
            self._birth_number.advance()
            self._was_connected = False
        self._birth_number.keep()
        return self._death()

    def topics(self) -> list[str]:
        """Commands to the node and its devices, and whether the primary host is there."""
        commands = [self._topic("NCMD"), f"{self._topic('DCMD')}/+"]
        return commands if self._host is None else [*commands, self._host.topic]

    def born(self, sources: Sequence[SourceSnapshot]) -> list[Message]:
        """All births, unless a primary host is to be waited for."""
        self._was_connected, self._is_born, self.over = True, False, False
        self._backlog.connected()
        if self._host is None:
            return self._births(sources)
        self._host.forget()
        log.info("sparkplug: waiting for the primary host on %s", self._host.topic)
        return []

    def changed(self, sources: Sequence[SourceSnapshot]) -> list[Message]:
        """The metrics that changed; all births where they are due, and anew where devices came or went."""
        if not self._is_born:
            return self._births(sources) if self._host is not None and self._host.online else []
        if self.over:
            return []
        if _devices(sources) != self._devices:
            gone = [name for name in self._devices if name not in _devices(sources)]
            return [*(self._message("DDEATH", [], device=name) for name in gone), *self._births(sources)]
        if self._rebirth_asked:
            return self._births(sources)
        return [*self._past(), *(message for source in sources for message in self._device_data(source))]

    def received(self, message: Arrived) -> list[Message]:
        """Hear of the primary host, or obey; what came of a command is told with what changed."""
        if self._host is not None and message.topic == self._host.topic:
            self._hear(self._host, message.payload)
        elif message.topic == self._topic("NCMD"):
            self._obey_node_command(message)
        else:
            self._obey_device_command(message)
        return []

    def leaving(self, *, for_good: bool) -> list[Message]:
        """The node's death, which a broker does not publish for a client that takes leave."""
        return [self._death()]

    def _hear(self, host: PrimaryHost, payload: bytes) -> None:
        was_online = host.online
        try:
            host.hear(payload)
        except DataError as error:
            log.warning("sparkplug: STATE of '%s' is left out: %s", host.id, error)
            return
        if host.online != was_online:
            log.info("sparkplug: the primary host '%s' is %s", host.id, "there" if host.online else "gone")
        if self._is_born and not host.online:
            self.over = True

    def _obey_node_command(self, message: Arrived) -> None:
        """Note that births are wanted; several requests at once get one answer, at the next turn."""
        try:
            if (REBIRTH, True) not in self._read(message):
                raise DataError(f"it is not {REBIRTH}, the only one there is")
        except DataError as error:
            self._commands.refuse("Sparkplug NCMD", str(error))
            return
        self._commands.counts["taken"] += 1
        self._rebirth_asked = True

    def _obey_device_command(self, message: Arrived) -> None:
        """Do what is written to a device, as specification 3.0, Operational Behavior, Commands, has it."""
        level = message.topic.rpartition("/")[2]
        device = next((name for name in self._devices if topic_level(name) == level), level)
        try:
            results = [self._write(device, name, value) for name, value in self._read(message)]
        except DataError as error:
            results = [self._commands.refuse(f"Sparkplug DCMD of {device[:80]!r}", str(error))]
        if device in self._devices:
            at = datetime.fromtimestamp(self._now() / 1000, UTC)
            self._results[device] = f"{at:%Y-%m-%dT%H:%M:%SZ} {'; '.join(results)}"

    def _read(self, message: Arrived) -> list[tuple[str, Value]]:
        """The metrics of a command. Raises DataError where there is none that may be obeyed."""
        if message.retained:
            raise DataError("the broker kept it, so it may be of any age")
        if not self._is_born:
            raise DataError("the primary host is not there, so nothing was born that could be written to")
        metrics = self._codec.read(message.payload)
        if not metrics:
            raise DataError("it holds no metric")
        if len(metrics) > MOST_METRICS:
            raise DataError(f"it holds {len(metrics)} metrics; {MOST_METRICS} are the most")
        return metrics

    def _write(self, device: str, name: str, value: Value) -> str:
        """Write one metric; what came of it, in words."""
        if name not in CONTROLS:
            return self._commands.refuse(
                f"Sparkplug DCMD of {device[:80]!r}", f"{name[:80]!r} is none of {', '.join(CONTROLS)}"
            )
        verb, _ = CONTROLS[name]
        payload = "" if value is None else str(value)
        return self._commands.obey(verb, device, payload.encode(), known=list(self._devices), retained=False)

    def _births(self, sources: Sequence[SourceSnapshot]) -> list[Message]:
        """The births of the node and of each device."""
        if not self._is_born:
            self._born_milliseconds = self._now()
        self._is_born, self._rebirth_asked = True, False
        self._devices = _devices(sources)
        self._results = {name: result for name, result in self._results.items() if name in self._devices}
        metrics = [
            self._birth_metric(),
            Metric(REBIRTH, DataType.BOOLEAN, False),
            Metric("Properties/Software", DataType.STRING, "dasvdd"),
            Metric("Properties/Software Version", DataType.STRING, __version__),
        ]
        self._seq = 255  # so that the node's birth has 0
        return [self._message("NBIRTH", metrics, birth=True), *(self._device_birth(source) for source in sources)]

    def _metrics(self, source: SourceSnapshot) -> list[Metric]:
        controls = control_metrics() if self._commands.possible else []
        return [*metrics_of(source), Metric(RESULT, DataType.STRING, self._results.get(source.name)), *controls]

    def _device_birth(self, source: SourceSnapshot) -> Message:
        metrics = self._metrics(source)
        self._told[source.name] = (metrics, self._clock())
        return self._message("DBIRTH", metrics, device=source.name, birth=True)

    def _device_data(self, source: SourceSnapshot) -> list[Message]:
        metrics = self._metrics(source)
        before, told_seconds = self._told[source.name]
        differing = [metric for metric, old in zip(metrics, before, strict=True) if metric != old]
        only_slow = all(metric.name in SLOW for metric in differing)
        if not differing or (only_slow and self._clock() - told_seconds < SLOW_SECONDS):
            return []
        self._told[source.name] = (metrics, self._clock())
        return [self._message("DDATA", differing, device=source.name)]

    def _past(self) -> list[Message]:
        """What changed before the births of this connection, of devices that there are still."""
        past: dict[str, list[Metric]] = {}
        for source, metrics in self._backlog.before(self._born_milliseconds, now_milliseconds=self._now()):
            for device in [source] if source is not None else self._devices:
                past.setdefault(device, []).extend(metrics)
        return [self._message("DDATA", told, device=name) for name, told in past.items() if name in self._devices]

    def _death(self) -> Message:
        payload = self._codec.encode([self._birth_metric()], milliseconds=self._now(), birth=True)
        return Message(self._topic("NDEATH"), payload)

    def _birth_metric(self) -> Metric:
        return Metric("bdSeq", DataType.INT64, self._birth_number.value)

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
