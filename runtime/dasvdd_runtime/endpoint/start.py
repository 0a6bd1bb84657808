"""`[http]` -> the endpoint, serving."""

from __future__ import annotations

import logging

from ..errors import Unavailable
from ..extras import require
from .observed import Observed
from .server import Server
from .tables import HttpTable

log = logging.getLogger(__name__)


def require_client() -> None:
    """Raise Unavailable where prometheus-client is not installed."""
    require("[http]", "metrics", ("prometheus_client",))


def serve(table: HttpTable, observed: Observed) -> Server:
    """Serve what is `observed` until the server that is returned is closed.

    Raises Unavailable without prometheus-client or where it cannot listen, ConfigError for a token that cannot be read.
    """
    require_client()
    from .pages import make_pages

    pages = make_pages(observed, table.token)
    try:
        server = Server(table.address, pages)
    except OSError as error:
        raise Unavailable(
            f"[http] listen: {table.listen} cannot be listened on: {error.strerror or error}. "
            "Does another program use the port, or has this machine no such address (yet)?"
        ) from error
    server.start()
    log.info("metrics and probes on http://%s", table.listen)
    return server
