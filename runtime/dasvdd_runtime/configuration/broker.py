"""An MQTT broker: its keys in monitor.toml, and clients for it. paho-mqtt is an extra, imported only by a client."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from ..errors import ConfigError
from ..extras import require
from .hosts import require_host
from .secret import Secret, refuse_two_places
from .strict_config import StrictModel

if TYPE_CHECKING:
    from paho.mqtt.client import Client


class BrokerTable(StrictModel):
    """The keys that every table has which names a broker."""

    host: Annotated[str, AfterValidator(require_host)]
    port: int | None = Field(default=None, ge=1, le=65535)
    """Default: 1883, or 8883 with TLS."""
    client_id: str = ""
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
    def label(self) -> str:
        """What errors call the table."""
        return "[mqtt]"

    @property
    def address(self) -> str:
        """The broker, for people."""
        return f"{self.host}:{self.port_in_force}"

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
        return Secret(label=f"{self.label} password", file=self.password_file, env=self.password_env)

    @model_validator(mode="after")
    def _credentials_fit(self) -> Self:
        refuse_two_places("password", self.password_file, self.password_env)
        if (self.password_file is not None or self.password_env) and not self.username:
            raise ValueError("a password needs a username")
        if self.key_file is not None and self.cert_file is None:
            raise ValueError("key_file needs cert_file beside it")
        return self


def new_client(table: BrokerTable, client_id: str) -> Client:
    """A client that speaks MQTT 3.1.1 with the broker of `table`, in a session of its own, not yet connected.

    It does not connect again by itself. Raises Unavailable without paho-mqtt, and ConfigError for a password or
    certificate that cannot be read.
    """
    require(table.label, "mqtt", ("paho",))
    from paho.mqtt.client import Client, MQTTv311
    from paho.mqtt.enums import CallbackAPIVersion

    client = Client(
        CallbackAPIVersion.VERSION2,
        client_id=client_id,
        clean_session=True,
        protocol=MQTTv311,
        reconnect_on_failure=False,
    )
    if table.username:
        client.username_pw_set(table.username, table.password.read())
    if table.uses_tls:
        try:
            client.tls_set(_text(table.ca_file), _text(table.cert_file), _text(table.key_file))
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            files = [str(p) for p in (table.ca_file, table.cert_file, table.key_file) if p is not None]
            raise ConfigError(f"{table.label} TLS: {', '.join(files)} cannot be used: {error}") from error
    return client


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
