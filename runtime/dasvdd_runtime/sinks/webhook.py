"""Events by HTTP POST, one a request, with the standard library."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

from ..errors import ConfigError
from .delivery import DeliveryFailed, Publisher
from .outbox_store import Row
from .tables import WebhookTable

BATCH = 50
"""Rows read from the outbox at once; each is a request of its own."""
LATER = (401, 403, 404, 407, 408, 425, 429)
"""Answers between 400 and 499 that say something about the token, the address or the moment, and nothing about what is
posted. Any other means that it will never be taken."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows none: a redirected POST loses its body, and the token would go to another machine."""

    def redirect_request(self, *_: Any) -> None:
        return None


class WebhookPublisher:
    """Posts each event as JSON; the receiver has it when it answers with 2xx."""

    batch = BATCH

    def __init__(self, table: WebhookTable) -> None:
        """Raises ConfigError for a token or certificates that cannot be read."""
        self.name = table.receiver
        self._table = table
        # Only the host: the path of a webhook often is its secret.
        self.address = urlsplit(table.url).hostname or ""
        table.token.read()
        try:
            context = ssl.create_default_context(cafile=table.ca_file)
        except (OSError, ValueError) as error:
            raise ConfigError(f"{self.name}: ca_file: {table.ca_file} cannot be used: {error}") from error
        self._opener = urllib.request.build_opener(_NoRedirect(), urllib.request.HTTPSHandler(context=context))

    def connect(self) -> None:
        """Each request has a connection of its own."""

    def deliver(self, rows: Sequence[Row], *, delivered: Callable[[Row], None], refused: Callable[[Row], None]) -> None:
        """Post `rows` one after the other."""
        for row in rows:
            event: dict[str, Any] = json.loads(row.line)
            # One that tells of refusals is not counted where it is refused itself: that would make another.
            taken = self._post(row.line, key=str(event["id"])) or event["event"] == "events_dropped"
            (delivered if taken else refused)(row)

    def try_connection(self) -> tuple[bool, str]:
        """Make a HEAD request, which changes nothing. Raises DeliveryFailed or ConfigError."""
        status = self._request("HEAD")
        said = f"{self.address} answers a HEAD request with {status}"
        if status in (401, 403):
            return False, f"{said}: is the token right?"
        if status in (404, 410) or 300 <= status < 400 or status >= 500:
            return False, f"{said}: is the url right?"
        return True, f"{said}; nothing was posted"

    def hand_over(self, successor: Publisher) -> None:
        """Nothing is left at the old address."""

    def close(self) -> None:
        """Nothing is open."""

    def _post(self, content: str, *, key: str) -> bool:
        """Whether the receiver has `content`, JSON; False: it will never take it. Raises DeliveryFailed for now."""
        headers = {"Content-Type": "application/json", "Idempotency-Key": key}
        status = self._request("POST", body=content.encode(), headers=headers)
        if 400 <= status < 500 and status not in LATER:
            return False
        if not 200 <= status < 300:
            raise DeliveryFailed(f"{self.address} answers {status}{_hint(status)}")
        return True

    def _request(self, method: str, *, body: bytes | None = None, headers: dict[str, str] | None = None) -> int:
        """The status of the answer. Raises DeliveryFailed without one."""
        try:
            token = self._table.token.read()
        except ConfigError as error:
            raise DeliveryFailed(str(error)) from error
        request = urllib.request.Request(self._table.url, data=body, headers=headers or {}, method=method)
        request.add_header("User-Agent", "dasvdd-monitor")
        if token is not None:
            request.add_unredirected_header("Authorization", f"Bearer {token}")
        try:
            with self._opener.open(request, timeout=self._table.timeout_seconds) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            error.close()
            return error.code
        except urllib.error.URLError as error:
            raise DeliveryFailed(f"no answer from {self.address}: {error.reason}") from error
        except (OSError, HTTPException) as error:
            raise DeliveryFailed(f"no answer from {self.address}: {type(error).__name__}: {error}") from error
        except ValueError:  # its message would show the token
            raise DeliveryFailed(f"{self._table.token.label} holds a character that HTTP does not allow") from None


def _hint(status: int) -> str:
    if status in (401, 403):
        return ": the token is not accepted"
    if 300 <= status < 400:
        return ", a redirection, which is not followed: give the final address as url"
    return ": is the url right?" if status == 404 else ""
