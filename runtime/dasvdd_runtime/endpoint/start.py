"""`[http]` -> the endpoint, serving."""

from __future__ import annotations

import logging
import platform
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import Unavailable
from ..extras import require
from .observed import Observed
from .tables import HttpTable

if TYPE_CHECKING:
    from .alarm_board import AlarmBoard
    from .history import History
    from .server import Server

log = logging.getLogger(__name__)


class Endpoint:
    """What serves, until it is closed."""

    def __init__(self, server: Server, history: History, board: AlarmBoard | None) -> None:
        self._server, self._history, self._board = server, history, board
        history.start()
        server.start()

    def close(self) -> None:
        """Serve no more."""
        self._server.close()
        self._history.close()
        if self._board is not None:
            self._board.close()


def require_client() -> None:
    """Raise Unavailable where prometheus-client is not installed."""
    require("[http]", "metrics", ("prometheus_client",))


def serve(
    table: HttpTable,
    observed: Observed,
    *,
    state_directory: Path | None = None,
    evidence_directory: Path | None = None,
) -> Endpoint:
    """Serve what is `observed`, alarms and their evidence until the endpoint that is returned is closed.

    Raises Unavailable without prometheus-client or where it cannot listen, ConfigError for a token that cannot be read.
    """
    require_client()
    from .actions import make_actions
    from .evidence_shelf import EvidenceShelf
    from .guard import Guard
    from .history import History
    from .pages import make_people_pages, make_probes
    from .server import Server
    from .status import Status

    guard, history, board = Guard(table.token), History(observed.sources), None
    if state_directory is not None:
        from .alarm_board import AlarmBoard

        board = AlarmBoard(state_directory)
    shelf = None if evidence_directory is None else EvidenceShelf(evidence_directory)
    status = Status(observed, history, board, machine=platform.node(), shelf=shelf)
    pages = {**make_people_pages(status, guard, shelf), **make_probes(observed, guard)}
    actions = make_actions(board, guard, lambda: [source.name for source in observed.sources()])
    try:
        server = Server(table.address, pages, actions)
    except OSError as error:
        raise Unavailable(
            f"[http] listen: {table.listen} cannot be listened on: {error.strerror or error}. "
            "Does another program use the port, or has this machine no such address (yet)?"
        ) from error
    log.info("the page, metrics and probes on http://%s", table.listen)
    return Endpoint(server, history, board)
