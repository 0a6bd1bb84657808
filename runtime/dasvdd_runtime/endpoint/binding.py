"""Binding a server's socket beside one of this program that listens on the same port of another address."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from socketserver import TCPServer


def bind(server: TCPServer, beside: Iterable[socket.socket]) -> None:
    """Bind `server` and have it listen. Raises OSError, with its socket closed, where another program has the port.

    127.0.0.1 and 0.0.0.0 cannot both be bound on one port unless both sockets say that they share it. They say so for
    this moment only, so that no other program ever gets in between.
    """
    others = list(beside)
    _share([server.socket, *others], bool(others))
    try:
        server.server_bind()
        server.server_activate()
        _share([server.socket], False)
    except OSError:
        server.server_close()
        raise
    finally:
        _share(others, False)


def _share(sockets: Iterable[socket.socket], shared: bool) -> None:
    for one in sockets:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, shared)
