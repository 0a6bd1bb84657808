"""The pages of the endpoint: who may read them, and what they say."""

from __future__ import annotations

import hmac
import json
import logging
from collections.abc import Callable
from email.message import Message
from typing import Any

from ..errors import ConfigError
from ..secret import Secret
from .metrics import CONTENT_TYPE, Exposition
from .observed import Observed
from .probes import HUNG_SECONDS, faults, undelivered
from .server import Answer, Page

log = logging.getLogger(__name__)


class Guard:
    """Knows the token. Without one, everybody is trusted."""

    def __init__(self, token: Secret) -> None:
        """Raises ConfigError for a token that cannot be read now."""
        token.read()
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


def make_pages(observed: Observed, token: Secret, *, hung_seconds: float = HUNG_SECONDS) -> dict[str, Page]:
    """The pages by path. Raises ConfigError for a token that cannot be read."""
    guard = Guard(token)
    exposition = Exposition(observed)

    def metrics(headers: Message) -> Answer:
        if not guard.trusts(headers):
            return Answer(401, b"a token is needed\n", headers=(("WWW-Authenticate", "Bearer"),))
        return Answer(200, exposition.text(), CONTENT_TYPE)

    def health() -> tuple[bool, dict[str, Any]]:
        found = faults(observed.sources(), since_beat_seconds=observed.since_beat_seconds(), hung_seconds=hung_seconds)
        return not found, {"reasons": found}

    def readiness() -> tuple[bool, dict[str, Any]]:
        well, reasons = health()
        sources = observed.sources()
        missing = undelivered(sources)
        states = {source.name: source.state.value for source in sources}
        return well and not missing, {**reasons, "undelivered": missing, "sources": states}

    def probe(word: str, judge: Callable[[], tuple[bool, dict[str, Any]]]) -> Page:
        def page(headers: Message) -> Answer:
            good, details = judge()
            said = {word: good, **(details if guard.trusts(headers) else {})}
            return Answer(200 if good else 503, json.dumps(said).encode() + b"\n", "application/json")

        return page

    return {"/metrics": metrics, "/healthz": probe("healthy", health), "/readyz": probe("ready", readiness)}
