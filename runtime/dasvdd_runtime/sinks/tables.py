"""`[outbox]`, `[mqtt]` and `[[webhook]]` of monitor.toml. Secrets come from files or the environment, never from it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from ..broker import BrokerTable
from ..hosts import is_loopback
from ..secret import Secret
from ..strict_config import StrictModel


class OutboxTable(StrictModel):
    """`[outbox]`: where events wait for MQTT and webhooks."""

    folder: Path = Path()
    """For outbox.db; relative to the TOML file."""
    max_events: int = Field(default=100_000, ge=100)
    max_bytes: int = Field(default=50_000_000, ge=100_000)


class ReceiverTable(StrictModel, ABC):
    """What every table has that names a receiver of events. `receivers.py` has a publisher for each kind."""

    @property
    @abstractmethod
    def receiver(self) -> str:
        """What the outbox, the log and `check` call it; two receivers have two names."""

    @property
    def takes_scores(self) -> bool:
        """It gets the scores of windows too, not events alone."""
        return False


class SparkplugTable(StrictModel):
    """`[mqtt] sparkplug`: what the monitor is called by Sparkplug host applications."""

    group: str = Field(min_length=1)
    node: str = Field(min_length=1)
    """Each edge node of a group has a name of its own."""
    primary_host: str | None = Field(default=None, min_length=1)
    """The id of the host application without which nothing is told; None: told to whoever listens."""

    @model_validator(mode="after")
    def _names_fit(self) -> Self:
        if any(character in self.group + self.node + (self.primary_host or "") for character in "+#/\0"):
            raise ValueError("group, node and primary_host are one level of a topic each: without /, + and #")
        return self


class MqttTable(BrokerTable, ReceiverTable):
    """`[mqtt]`: the broker that events are published to, with QoS 1.

    `client_id`, by default dasvdd-, the name of this machine and the prefix, is the same at each start, so that a
    broker that has not noticed the end of the connection before does not report it after the new one began.
    """

    prefix: str = ""
    """Topics begin with it. Default: dasvdd/ and the name of this machine."""
    telemetry: bool = False
    """Also scores; `[events] scores = true` makes them."""
    home_assistant: bool = False
    """Announce each source to Home Assistant, and obey its commands where there is a state directory."""
    home_assistant_prefix: str = "homeassistant"
    """The discovery prefix that Home Assistant was given."""
    sparkplug: SparkplugTable | None = None
    """Be an edge node of Sparkplug B."""

    @property
    def receiver(self) -> str:
        """There is one broker."""
        return "mqtt"

    @property
    def takes_scores(self) -> bool:
        """As telemetry."""
        return self.telemetry

    @property
    def tells_what_is_now(self) -> bool:
        """Beside events, the newest values are told."""
        return self.home_assistant or self.sparkplug is not None

    @model_validator(mode="after")
    def _discovery_prefix_fits(self) -> Self:
        prefix = self.home_assistant_prefix
        if not prefix or any(c in prefix for c in "+#\0") or prefix.startswith(("/", "$")) or prefix.endswith("/"):
            raise ValueError("home_assistant_prefix is the beginning of a topic: without + and #, $ or / at its ends")
        if prefix != "homeassistant" and not self.home_assistant:
            raise ValueError("home_assistant_prefix announces nothing without home_assistant = true")
        return self

    @model_validator(mode="after")
    def _prefix_fits(self) -> Self:
        if any(character in self.prefix for character in "+#\0") or self.prefix.startswith(("/", "$")):
            raise ValueError("prefix is the beginning of a topic: without + and #, and not beginning with / or $")
        if self.prefix.endswith("/"):
            raise ValueError("prefix ends with /, which is put behind it anyway: leave it out")
        return self


class WebhookTable(ReceiverTable):
    """`[webhook]`, or one of several `[[webhook]]`: where each event, scores aside, is sent by POST."""

    url: str
    name: str = Field(default="webhook", min_length=1)
    """What the log calls it."""
    token_file: Path | None = None
    """Sent as `Authorization: Bearer`."""
    token_env: str = ""
    ca_file: Path | None = None
    """Certificate authorities to trust instead of the system's."""
    timeout_seconds: float = Field(default=10.0, gt=0, le=300)
    allow_http: bool = False
    """Allow http to other machines: anyone on the way can read events and token."""

    @property
    def token(self) -> Secret:
        """Where the token is."""
        return Secret(label=f"webhook '{self.name}': token", file=self.token_file, env=self.token_env)

    @property
    def receiver(self) -> str:
        """By its name."""
        return f"webhook '{self.name}'"

    @model_validator(mode="after")
    def _fits(self) -> Self:
        try:
            parts = urlsplit(self.url)
            host, _ = parts.hostname, parts.port
        except ValueError:
            raise ValueError("url is no URL: for instance https://example.com/hook") from None
        if parts.scheme not in ("http", "https") or not host:
            raise ValueError("url must begin with https:// and name a host")
        if parts.username is not None or parts.password is not None:
            raise ValueError("url holds a user or a password: put a token into token_file instead")
        if any(character.isspace() or ord(character) > 126 for character in self.url):
            raise ValueError("url holds a space or a character outside ASCII: encode it (%20, xn--)")
        if parts.scheme == "http" and not self.allow_http and not is_loopback(host):
            raise ValueError(f"http to {host} can be read by anyone on the way: use https, or set allow_http = true")
        if self.token_file is not None and self.token_env:
            raise ValueError("the token is in token_file or in token_env: keep one of them")
        return self
