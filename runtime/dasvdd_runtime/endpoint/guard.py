"""Who may read, and who may act: the token, the name that a browser asks by, and the page that asks."""

from __future__ import annotations

import hmac
import logging
from email.message import Message
from urllib.parse import urlsplit

from ..configuration.hosts import is_loopback
from ..configuration.secret import Secret
from ..errors import ConfigError
from .server import Answer

log = logging.getLogger(__name__)

PAGE_HEADER = "X-Dasvdd-Page"
"""A browser lets no page of another origin send it without asking first, and that is never granted."""


class Guard:
    """Knows the token. Without one, everybody may read who asks this machine by a name of its own."""

    def __init__(self, token: Secret) -> None:
        """Raises ConfigError for a token that cannot be read now."""
        self.needs_token = token.read() is not None
        self._token = token
        self._fault = ""

    def trusts(self, headers: Message) -> bool:
        """The request shows the token. One that can no longer be read trusts nobody, which is said once."""
        try:
            token = self._token.read()
        except ConfigError as error:
            if str(error) != self._fault:
                log.error("%s; nobody is let in", error)
            self._fault = str(error)
            return False
        self._fault = ""
        if token is None:
            return True
        scheme, _, given = headers.get("Authorization", "").partition(" ")
        shown = given.strip().encode("latin-1", "replace")
        return hmac.compare_digest(shown, token.strip().encode()) and scheme.lower() == "bearer"

    def refusal_to_read(self, headers: Message) -> Answer | None:
        """The answer to one who may not read what the page and the metrics show; None to one who may."""
        if not self.trusts(headers):
            return Answer(401, b"a token is needed\n", headers=(("WWW-Authenticate", "Bearer"),))
        if not self.needs_token and not is_loopback(_host_name(headers.get("Host", ""))):
            # Another site's page whose name was made to point here would ask by that name.
            return Answer(
                403, b"without a token this answers to localhost and 127.0.0.1 alone: set [http] token_file\n"
            )
        return None

    def refusal_to_act(self, headers: Message) -> Answer | None:
        """The same for one who would acknowledge or mute: it must be this monitor's own page, or a program."""
        if refusal := self.refusal_to_read(headers):
            return refusal
        if not _is_own_page(headers):
            return Answer(403, b"another site's page may not do this\n")
        if PAGE_HEADER not in headers or headers.get_content_type() != "application/json":
            return Answer(403, f"send {PAGE_HEADER}: 1 and Content-Type: application/json\n".encode())
        return None


def _is_own_page(headers: Message) -> bool:
    """What the browser says of the page that asks is this monitor; a program says nothing."""
    origin = headers.get("Origin")
    if origin is not None and urlsplit(origin).netloc.lower() != headers.get("Host", "").lower():
        return False
    return headers.get("Sec-Fetch-Site", "same-origin") in ("same-origin", "none")


def _host_name(host: str) -> str:
    """A `Host` header without its port; empty where it is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
