"""`[http]` -> the endpoint, serving, at another address or with another token after a reload."""

from __future__ import annotations

import logging
import platform
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import Unavailable
from ..extras import require
from ..running.changes import Change
from .observed import Observed
from .tables import HttpTable

if TYPE_CHECKING:
    from .server import Pages, Server

log = logging.getLogger(__name__)


def require_client() -> None:
    """Raise Unavailable where prometheus-client is not installed."""
    require("[http]", "metrics", ("prometheus_client",))


class Endpoint:
    """What serves the page, metrics and probes. Its curves go on whatever table it serves by."""

    def __init__(self, observed: Observed, state_directory: Path | None = None) -> None:
        """Shows what is `observed`, and alarms where there is a state directory. Serves nothing yet.

        Raises Unavailable without prometheus-client.
        """
        require_client()
        from .history import History

        self._observed = observed
        self._history, self._board = History(observed.sources), None
        self._server: Server | None = None
        self._table: HttpTable | None = None
        if state_directory is not None:
            from .alarm_board import AlarmBoard

            self._board = AlarmBoard(state_directory)
        self._history.start()

    def prepare(self, table: HttpTable | None, evidence_directory: Path | None) -> Change:
        """Serve by `table` alarms whose evidence is there, or nothing: what that changes, with its socket open.

        Raises Unavailable where it cannot listen, ConfigError for a token that cannot be read.
        """
        if table is None:
            return Change(partial(self._serve_by, None, None))
        pages, actions = self._pages(table, evidence_directory)
        if self._server is not None and self._table is not None and self._table.address == table.address:
            return Change(partial(self._show, table, pages, actions))
        server = self._listening(table, pages, actions)
        return Change(partial(self._serve_by, table, server), server.close)

    def close(self) -> None:
        """Serve no more."""
        self._serve_by(None, None)
        self._history.close()
        if self._board is not None:
            self._board.close()

    def _pages(self, table: HttpTable, evidence_directory: Path | None) -> tuple[Pages, Pages]:
        from .actions import make_actions
        from .evidence_shelf import EvidenceShelf
        from .guard import Guard
        from .pages import make_people_pages, make_probes
        from .status import Status

        guard = Guard(table.token)
        shelf = None if evidence_directory is None else EvidenceShelf(evidence_directory)
        status = Status(self._observed, self._history, self._board, machine=platform.node(), shelf=shelf)
        pages = {**make_people_pages(status, guard, shelf), **make_probes(self._observed, guard)}
        sources = self._observed.sources
        return pages, make_actions(self._board, guard, lambda: [source.name for source in sources()])

    def _listening(self, table: HttpTable, pages: Pages, actions: Pages) -> Server:
        from .server import Server

        try:
            return Server(table.address, pages, actions, beside=self._server)
        except OSError as error:
            raise Unavailable(
                f"[http] listen: {table.listen} cannot be listened on: {error.strerror or error}. "
                "Does another program use the port, or has this machine no such address (yet)?"
            ) from error

    def _show(self, table: HttpTable, pages: Pages, actions: Pages) -> None:
        assert self._server is not None
        self._table = table
        self._server.pages, self._server.actions = pages, actions

    def _serve_by(self, table: HttpTable | None, server: Server | None) -> None:
        if self._server is not None:
            self._server.close()
        self._table, self._server = table, server
        if server is not None and table is not None:
            server.start()
            log.info("the page, metrics and probes on http://%s", table.listen)
