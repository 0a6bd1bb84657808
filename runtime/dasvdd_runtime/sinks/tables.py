"""The tables of monitor.toml that name the outbox and its receivers. Secrets come from files or the environment."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Annotated, Literal, Self, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from ..configuration.broker import BrokerTable
from ..configuration.hosts import is_loopback, require_host
from ..configuration.secret import Secret, refuse_two_places
from ..configuration.strict_config import StrictModel


class OutboxTable(StrictModel):
    """`[outbox]`: where events wait for their receivers."""

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
    """`[webhook]`, or one of several `[[webhook]]`: where events, scores aside, are sent by POST."""

    url: str
    name: str = Field(default="webhook", min_length=1)
    """What the log calls it."""
    token_file: Path | None = None
    """Sent as `Authorization: Bearer`."""
    token_env: str = ""
    ca_file: Path | None = None
    """Certificate authorities to trust instead of the system's."""
    timeout_seconds: float = Field(default=10.0, gt=0, le=300)
    body: Literal["event", "text"] = "event"
    """The event's JSON; or what people must act on, as `{"text": ...}` for a chat."""
    most_per_hour: int = Field(default=10, ge=1, le=1000)
    """Messages to a chat, as of `[email]`; a machine that takes events gets each at once."""
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
        if self.body == "event" and "most_per_hour" in self.model_fields_set:
            raise ValueError('most_per_hour is for people, with body = "text": of body = "event" each event is sent')
        if parts.scheme == "http" and not self.allow_http and not is_loopback(host):
            raise ValueError(f"http to {host} can be read by anyone on the way: use https, or set allow_http = true")
        refuse_two_places("token", self.token_file, self.token_env)
        return self


Told = Literal[
    "alarm_raised",
    "alarm_grew",
    "alarm_cleared",
    "alarm_latched",
    "unmuted",
    "source_state",
    "drift",
    "overload",
    "evidence_lost",
    "events_dropped",
    "stopped",
    "test_alarm",
]
"""Kinds of events that `call_words` puts into words."""


def _require_address(text: str) -> str:
    if not re.fullmatch(r"[!-~]+@[!-~]+", text) or any(sign in text for sign in '<>()[],;:\\"') or text.count("@") > 1:
        raise ValueError(f"'{text}' is no mail address: like pump@example.com, alone, in ASCII")
    return text


Address = Annotated[str, AfterValidator(_require_address)]


class EmailTable(ReceiverTable):
    """`[email]`, or one of several `[[email]]`: who gets mails about what a person must act on."""

    host: Annotated[str, AfterValidator(require_host)]
    port: int | None = Field(default=None, ge=1, le=65535)
    security: Literal["starttls", "tls", "none"] = "starttls"
    sender: Address = Field(alias="from")
    to: list[Address] = Field(min_length=1)
    name: str = Field(default="email", min_length=1)
    """What the log calls it."""
    username: str = ""
    password_file: Path | None = None
    password_env: str = ""
    ca_file: Path | None = None
    """Certificate authorities to trust instead of the system's."""
    events: list[Told] = Field(default_factory=lambda: list(get_args(Told)), min_length=1)
    """Kinds of events that are mailed, where they ask for somebody."""
    page: str = ""
    """The address of the page as those who get the mail reach it; it stands in each mail."""
    most_per_hour: int = Field(default=10, ge=1, le=1000)
    """Mails. What comes beyond waits, and is told together; `mail_budget.py` says what must call and does not wait."""
    timeout_seconds: float = Field(default=30.0, gt=0, le=300)

    @property
    def receiver(self) -> str:
        """By its name."""
        return f"email '{self.name}'"

    @property
    def password(self) -> Secret:
        """Where the password is."""
        return Secret(label=f"{self.receiver}: password", file=self.password_file, env=self.password_env)

    @property
    def port_in_force(self) -> int:
        """`port`, or the usual one."""
        return self.port or {"starttls": 587, "tls": 465, "none": 25}[self.security]

    @property
    def address(self) -> str:
        """The server, for people."""
        return f"{self.host}:{self.port_in_force}"

    @model_validator(mode="after")
    def _fits(self) -> Self:
        refuse_two_places("password", self.password_file, self.password_env)
        if bool(self.username) != (self.password_file is not None or bool(self.password_env)):
            raise ValueError("username and password_file (or password_env) go together: give both, or neither")
        if self.security == "none" and self.username and not is_loopback(self.host):
            raise ValueError(
                f'with security = "none" anyone on the way to {self.host} could read the password: use "starttls" or '
                '"tls", or leave out username and password'
            )
        if self.page and not re.fullmatch(r"https?://[!-~]+", self.page):
            raise ValueError("page is the address of the page: like http://pump-box:9464/")
        return self
