"""`[http]` of monitor.toml."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Self

from pydantic import model_validator

from ..configuration.hosts import is_loopback
from ..configuration.secret import Secret, refuse_two_places
from ..configuration.strict_config import StrictModel


class HttpTable(StrictModel):
    """`[http]`: where metrics and probes are served. Without the table, nowhere."""

    listen: str = "127.0.0.1:9464"
    """Address and port; an IPv6 address in brackets. `0.0.0.0` and `[::]` are all of this machine's."""
    token_file: Path | None = None
    """Expected as `Authorization: Bearer`."""
    token_env: str = ""

    @property
    def address(self) -> tuple[str, int]:
        """IP address and port to listen on."""
        host, _, port = self.listen.rpartition(":")
        host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
        return ("127.0.0.1" if host == "localhost" else host), int(port)

    @property
    def token(self) -> Secret:
        """Where the token is."""
        return Secret(label="[http] token", file=self.token_file, env=self.token_env)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if not self._is_address():
            raise ValueError(
                f"listen: {self.listen!r} is no IP address with a port from 1 to 65535: for instance 127.0.0.1:9464, "
                "0.0.0.0:9464 or [::1]:9464"
            )
        refuse_two_places("token", self.token_file, self.token_env)
        if not is_loopback(self.address[0]) and self.token_file is None and not self.token_env:
            raise ValueError(
                f"listen: {self.listen} can be reached by other machines, and without a token anyone there could read "
                "what this machine does: set token_file or token_env, or listen on 127.0.0.1"
            )
        return self

    def _is_address(self) -> bool:
        try:
            host, port = self.address
            version = ipaddress.ip_address(host).version
        except ValueError:
            return False
        written = self.listen.endswith(f":{port}")
        return written and (version == 6) == self.listen.startswith("[") and 1 <= port <= 65535
