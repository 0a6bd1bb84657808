"""`[outbox]`, `[mqtt]` and `[[webhook]]` of monitor.toml. Secrets come from files or the environment, never from it."""

from __future__ import annotations

from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from ..hosts import is_loopback
from ..secret import Secret
from ..strict_config import StrictModel


class OutboxTable(StrictModel):
    """`[outbox]`: where events wait for MQTT and webhooks."""

    folder: Path = Path()
    """For outbox.db; relative to the TOML file."""
    max_events: int = Field(default=100_000, ge=100)
    max_bytes: int = Field(default=50_000_000, ge=100_000)


class MqttTable(StrictModel):
    """`[mqtt]`: the broker that events are published to, with QoS 1."""

    host: str = Field(min_length=1)
    port: int | None = Field(default=None, ge=1, le=65535)
    """Default: 1883, or 8883 with TLS."""
    prefix: str = ""
    """Topics begin with it. Default: dasvdd/ and the name of this machine."""
    client_id: str = ""
    """Default: dasvdd-, the name of this machine and the prefix. The same at each start, so that a broker that has
    not noticed the end of the connection before does not report it after the new one began."""
    telemetry: bool = False
    """Also scores; `[events] scores = true` makes them."""
    tls: bool = False
    """Implied by the files below; alone, the system's certificate authorities are trusted."""
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    username: str = ""
    password_file: Path | None = None
    password_env: str = ""
    keepalive_seconds: int = Field(default=30, ge=5, le=3600)

    @property
    def uses_tls(self) -> bool:
        """The connection is encrypted."""
        return self.tls or self.ca_file is not None or self.cert_file is not None

    @property
    def port_in_force(self) -> int:
        """`port`, or the usual one."""
        return self.port or (8883 if self.uses_tls else 1883)

    @property
    def password(self) -> Secret:
        """Where the password is."""
        return Secret(label="[mqtt] password", file=self.password_file, env=self.password_env)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if any(character in self.prefix for character in "+#\0") or self.prefix.startswith(("/", "$")):
            raise ValueError("prefix is the beginning of a topic: without + and #, and not beginning with / or $")
        if self.prefix.endswith("/"):
            raise ValueError("prefix ends with /, which is put behind it anyway: leave it out")
        if self.password_file is not None and self.password_env:
            raise ValueError("the password is in password_file or in password_env: keep one of them")
        if (self.password_file is not None or self.password_env) and not self.username:
            raise ValueError("a password needs a username")
        if self.key_file is not None and self.cert_file is None:
            raise ValueError("key_file needs cert_file beside it")
        return self


class WebhookTable(StrictModel):
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
        """What the outbox and the log call it."""
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
