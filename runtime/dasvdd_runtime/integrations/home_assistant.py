"""Home Assistant: each source announced by MQTT discovery, told as it is now, and its commands obeyed.

The fields are those of Home Assistant's documentation, "MQTT discovery", one message an entity.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import time
from collections.abc import Sequence
from typing import Any

from .. import __version__
from ..endpoint.probes import DELIVERING
from ..running.snapshot import SourceSnapshot
from ..sinks.mqtt import topic_level
from .commands import LONGEST_MINUTES, VERBS, Commands
from .link import Arrived, Message

SCORE_SECONDS = 10.0
"""Least time between two messages in which only the score differs."""
Config = dict[str, Any]


class HomeAssistant:
    """The role that a link plays for Home Assistant."""

    name = "home assistant"
    over = False

    def __init__(
        self,
        commands: Commands,
        *,
        prefix: str,
        discovery_prefix: str,
    ) -> None:
        """`prefix`: of the monitor's topics."""
        self._commands = commands
        self._prefix = prefix
        self._discovery_prefix = discovery_prefix
        self._node = f"dasvdd_{_digest(prefix)}"
        self._names: dict[str, str] = {}
        self._models: dict[str, str] = {}
        self._configs: dict[str, bytes] = {}
        self._told: dict[str, tuple[dict[str, Any], float]] = {}

    @property
    def status_topic(self) -> str:
        """Where it is told whether what is told here can be relied on."""
        return f"{self._prefix}/home_assistant"

    def will(self) -> Message:
        """Every entity becomes unavailable."""
        return Message(self.status_topic, b"offline", retain=True)

    def topics(self) -> list[str]:
        """Commands, and what this monitor announced before, also in an earlier run."""
        commands = [f"{self._prefix}/+/{verb}" for verb in VERBS]
        return [*commands, f"{self._discovery_prefix}/+/{self._node}/+/config"]

    def born(self, sources: Sequence[SourceSnapshot]) -> list[Message]:
        """Everything, and that it can be relied on."""
        self._configs, self._told = {}, {}
        return [*self.changed(sources), Message(self.status_topic, b"online", retain=True)]

    def changed(self, sources: Sequence[SourceSnapshot]) -> list[Message]:
        """Announcements of sources that came or went, and what is now of those that changed."""
        messages: list[Message] = []
        self._names = {topic_level(source.name): source.name for source in sources}
        models = {source.name: source.model for source in sources}
        if models != self._models or not self._configs:
            self._models = models
            messages += self._announced(sources)
        for source in sources:
            messages += self._state(source)
        return messages

    def received(self, message: Arrived) -> list[Message]:
        """Obey a command; take back an announcement of a source that is no more."""
        if message.topic.startswith(f"{self._discovery_prefix}/") and message.topic.endswith("/config"):
            ours = not message.payload or message.topic in self._configs
            return [] if ours else self._take_back(message.topic, message.payload)
        level, _, verb = message.topic.removeprefix(f"{self._prefix}/").rpartition("/")
        for known in VERBS:
            if verb == known:
                self._commands.obey(
                    known,
                    self._names.get(level, level),
                    message.payload,
                    known=list(self._names.values()),
                    retained=message.retained,
                )
        return []

    def leaving(self, *, for_good: bool) -> list[Message]:
        """Every entity becomes unavailable; `for_good`: and is taken back."""
        if not for_good:
            return [self.will()]
        self._names = {}
        announced = [m for topic, config in self._configs.items() for m in self._take_back(topic, config)]
        return [*announced, Message(self.status_topic, b"", retain=True)]

    def _announced(self, sources: Sequence[SourceSnapshot]) -> list[Message]:
        configs = {topic: config for source in sources for topic, config in self._entities(source).items()}
        gone = [topic for topic in self._configs if topic not in configs]
        self._told = {name: told for name, told in self._told.items() if name in self._models}
        messages = [m for topic in gone for m in self._take_back(topic, self._configs[topic])]
        self._configs = configs
        return [*messages, *(Message(topic, config, retain=True) for topic, config in configs.items())]

    def _take_back(self, topic: str, config: bytes) -> list[Message]:
        """Clear an announcement, and what was told of its source where that is no more."""
        messages = [Message(topic, b"", retain=True)]
        try:
            state_topic = str(json.loads(config).get("state_topic", ""))
        except (ValueError, AttributeError):
            return messages
        now = re.fullmatch(rf"{re.escape(self._prefix)}/([^/+#]+)/now", state_topic)
        if now and now[1] not in self._names:
            messages.append(Message(state_topic, b"", retain=True))
        return messages

    def _state(self, source: SourceSnapshot) -> list[Message]:
        now = what_is_now(source)
        before, told_seconds = self._told.get(source.name, ({}, -math.inf))
        if now == before:
            return []
        only_score = {key: now[key] for key in now if key != "score"} == {k: before[k] for k in before if k != "score"}
        if only_score and time.monotonic() - told_seconds < SCORE_SECONDS:
            return []
        self._told[source.name] = (now, time.monotonic())
        return [Message(self._topic(source.name, "now"), json.dumps(now).encode(), retain=True)]

    def _topic(self, source: str, leaf: str) -> str:
        return f"{self._prefix}/{topic_level(source)}/{leaf}"

    def _entities(self, source: SourceSnapshot) -> dict[str, bytes]:
        """The announcements of `source`, by their topics."""
        identity = _digest(f"{self._prefix}\0{source.name}")
        shared: Config = {
            "availability_topic": self.status_topic,
            "device": {
                "identifiers": [f"dasvdd_{identity}"],
                "name": source.name,
                "manufacturer": "DASVDD Edge",
                "model": source.model,
                "sw_version": __version__,
            },
            "origin": {"name": "dasvdd", "sw_version": __version__},
            "qos": 1,
        }
        entities: dict[tuple[str, str], Config] = {}
        now = {"state_topic": self._topic(source.name, "now")}
        entities["binary_sensor", "alarm"] = now | {
            "name": "Alarm",
            "device_class": "problem",
            "value_template": "{{ value_json.alarm }}",
            "json_attributes_topic": self._topic(source.name, "alarm"),
        }
        entities["binary_sensor", "muted"] = now | {
            "name": "Muted",
            "icon": "mdi:bell-off",
            "value_template": "{{ value_json.muted }}",
        }
        entities["sensor", "score"] = now | {
            "name": "Score",
            "state_class": "measurement",
            "icon": "mdi:waveform",
            "value_template": "{{ value_json.score }}",
        }
        entities["sensor", "state"] = now | {
            "name": "State",
            "entity_category": "diagnostic",
            "value_template": "{{ value_json.state }}",
        }
        if self._commands.possible:
            entities |= self._controls(source.name)
        return {
            f"{self._discovery_prefix}/{component}/{self._node}/{identity}_{key}/config": json.dumps(
                entity | {"unique_id": f"dasvdd_{identity}_{key}"} | shared
            ).encode()
            for (component, key), entity in entities.items()
        }

    def _controls(self, source: str) -> dict[tuple[str, str], Config]:
        verdicts = {"real": "Alarms were real", "false": "Alarms were false", "unknown": "Alarms of unknown cause"}
        controls: dict[tuple[str, str], Config] = {
            ("button", f"acknowledge_{verdict}"): {
                "name": name,
                "icon": "mdi:check",
                "command_topic": self._topic(source, "acknowledge"),
                "payload_press": verdict,
            }
            for verdict, name in verdicts.items()
        }
        controls["number", "mute"] = {
            "name": "Mute for",
            "icon": "mdi:bell-off",
            "command_topic": self._topic(source, "mute"),
            "min": 0,
            "max": LONGEST_MINUTES,
            "step": 1,
            "mode": "box",
            "unit_of_measurement": "min",
        }
        return controls


def what_is_now(source: SourceSnapshot) -> dict[str, Any]:
    """What Home Assistant is told of `source`. None, which it shows as unknown: where it cannot be told."""
    judged = source.state in DELIVERING and not source.failed
    score = source.smoothed_score
    return {
        "alarm": "ON" if source.in_alarm else "OFF" if judged else None,
        "latched_alarms": source.latched_alarms,
        "muted": "ON" if source.muted else "OFF",
        "score": score if judged and score is not None and math.isfinite(score) else None,
        "state": source.state.value,
        "threshold": source.threshold,
    }


def _digest(text: str) -> str:
    """A name for `text` of letters and digits that stays the same from start to start."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]
