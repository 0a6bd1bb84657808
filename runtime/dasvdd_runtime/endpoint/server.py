"""A small HTTP server that nobody can fill: few connections, short requests, little time for each."""

from __future__ import annotations

import io
import logging
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from .binding import bind
from .file_body import FileBody, ranged

log = logging.getLogger(__name__)

MOST_CONNECTIONS = 8
"""At once. One more ends that which has waited longest for its request."""
REQUEST_SECONDS = 5.0
"""A request must have arrived in full within this, and its answer be taken within as long again."""
HEAD_BYTES = 8192
BODY_BYTES = 4096
ROOM_SECONDS = 0.2
"""How long a new connection waits for the end of another."""
LINGER_SECONDS, LINGER_BYTES = 0.5, 65536
"""What a refused client still sends is read for this long, so that it gets to read the refusal."""


@dataclass(frozen=True)
class Answer:
    """The status, and what stands below it."""

    status: int
    body: bytes | FileBody
    """A file is closed once it is sent; a GET gets the range of it that it asks for."""
    content_type: str = "text/plain; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Request:
    """What a client asks for."""

    headers: Message
    query: str = ""
    """What stands behind the `?`."""
    body: bytes = b""
    """Of a POST; at most BODY_BYTES."""
    below: str = ""
    """What stands in the path behind that of a page which ends with `/`."""


Page = Callable[[Request], Answer]
Pages = Mapping[str, Page]
"""By path."""


class Server(ThreadingHTTPServer):
    """Serves `pages`, by path, to GET and HEAD, and `actions` to POST. Raises OSError where it cannot listen.

    A page whose path ends with `/` answers for everything below it, but `/` itself.
    """

    daemon_threads = True
    block_on_close = False
    allow_reuse_port = False
    request_queue_size = 128

    def __init__(
        self, address: tuple[str, int], pages: Pages, actions: Pages | None = None, *, beside: Server | None = None
    ) -> None:
        """`beside`: one of this program, to be closed soon, which may listen on the same port of another address."""
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.pages, self.actions = pages, actions or {}
        self._slots = threading.BoundedSemaphore(MOST_CONNECTIONS)
        self._lock = threading.Lock()
        self._unheard: dict[Any, None] = {}
        super().__init__(address, Handler, bind_and_activate=False)
        bind(self, [] if beside is None else [beside.socket])
        self._thread = threading.Thread(target=self.serve_forever, args=(0.25,), name="http", daemon=True)

    def start(self) -> None:
        """Begin to serve, in threads of its own."""
        self._thread.start()

    def close(self) -> None:
        """Take no more connections; those that are open end with the program."""
        if self._thread.ident is not None:
            self.shutdown()
            self._thread.join()
        self.server_close()

    def server_bind(self) -> None:
        """Listen, without asking the name service what this machine is called."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give the connection `request` a thread, if need be that of the one that has been silent longest."""
        if not self._slots.acquire(blocking=False):
            self._end_oldest()
            if not self._slots.acquire(timeout=ROOM_SECONDS):
                self.shutdown_request(request)
                return
        with self._lock:
            self._unheard[request] = None
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._slots.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve one connection, to its end."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._slots.release()

    def heard(self, request: Any) -> None:
        """The connection `request` has said what it wants, and is not ended for another any more."""
        with self._lock:
            self._unheard.pop(request, None)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection."""
        self.heard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that broke is no news; anything else is a fault of this program."""
        broke = isinstance(sys.exc_info()[1], OSError)
        log.log(logging.DEBUG if broke else logging.ERROR, "http: a connection ended badly", exc_info=True)

    def _end_oldest(self) -> None:
        with self._lock:
            oldest = next(iter(self._unheard), None)
            if oldest is None:
                return
            del self._unheard[oldest]
            try:
                oldest.shutdown(socket.SHUT_RDWR)
            except OSError:
                log.debug("http: a connection ended by itself")


class Handler(BaseHTTPRequestHandler):
    """One request a connection. Nothing of it is logged: it may hold a token."""

    server: Server
    server_version, sys_version = "dasvdd-monitor", ""
    protocol_version = default_request_version = "HTTP/1.1"
    error_message_format = "%(code)d %(message)s\n"
    error_content_type = "text/plain; charset=utf-8"

    def handle(self) -> None:
        """Read the request, answer it, and be done."""
        self.close_connection = True
        self.command, self.requestline, self.request_version = "", "", self.protocol_version
        self._end_seconds = time.monotonic() + REQUEST_SECONDS
        head = self._read_head()
        if head is None:
            self._heard()
            self.send_error(431)
        elif head:
            self.rfile.close()
            self.rfile = io.BytesIO(head)
            self.raw_requestline = self.rfile.readline()
            if self.parse_request():
                self._answer()
        self._linger()

    def log_message(self, *_: Any) -> None:
        """Nothing."""

    def _read_head(self) -> bytes | None:
        """The request up to its empty line, b"" for a client that left, None for more than HEAD_BYTES."""
        head = b""
        while b"\r\n\r\n" not in head and b"\n\n" not in head:
            if len(head) > HEAD_BYTES:
                return None
            part = self._receive(HEAD_BYTES + 1 - len(head))
            if not part:
                return b""
            head += part
        return head

    def _read_body(self) -> bytes | Answer:
        """The body of a POST, or why it is not read."""
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()) or "Transfer-Encoding" in self.headers:
            return Answer(411, b"a Content-Length is needed\n")
        if len(length) > 9 or int(length) > BODY_BYTES:
            return Answer(413, f"at most {BODY_BYTES} bytes\n".encode())
        body = self.rfile.read(int(length))
        while len(body) < int(length):
            part = self._receive(int(length) - len(body))
            if not part:
                raise ConnectionError("the client left")
            body += part
        return body

    def _receive(self, most: int) -> bytes:
        """Up to `most` bytes of the request; raises TimeoutError once its time is over."""
        self.connection.settimeout(max(0.001, self._end_seconds - time.monotonic()))
        part: bytes = self.connection.recv(most)
        return part

    def _heard(self) -> None:
        self.server.heard(self.connection)
        self.connection.settimeout(REQUEST_SECONDS)

    def _answer(self) -> None:
        answer = self._answer_to()
        if isinstance(answer.body, FileBody):
            with answer.body.file:
                self._send(self._part(answer, answer.body))
        else:
            self._send(answer)

    def _send(self, answer: Answer) -> None:
        self._heard()
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        self.send_header("Connection", "close")
        for name, value in answer.headers:
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if isinstance(answer.body, FileBody):
            answer.body.send(self.connection, patience_seconds=REQUEST_SECONDS)
        else:
            self.wfile.write(answer.body)

    def _part(self, answer: Answer, body: FileBody) -> Answer:
        """`answer` with what was asked for of its file `body`."""
        headers = (*answer.headers, ("Accept-Ranges", "bytes"))
        asked_for = self.command == "GET" and "If-Range" not in self.headers
        try:
            part = ranged(body, self.headers.get("Range", "")) if asked_for else None
        except ValueError as error:
            return Answer(416, b"nothing of the file lies there\n", headers=(*headers, ("Content-Range", str(error))))
        if part is None:
            return replace(answer, headers=headers)
        return replace(answer, status=206, body=part[0], headers=(*headers, ("Content-Range", part[1])))

    def _answer_to(self) -> Answer:
        path, _, query = self.path.partition("?")
        pages, actions = self.server.pages, self.server.actions
        known = {"GET": pages, "HEAD": pages, "POST": actions}.get(self.command, {})
        place = _place(known, path)
        if place is None and (_place(pages, path) or path in actions or not known):
            allowed = "POST" if path in actions else "GET, HEAD"
            return Answer(405, f"only {allowed}\n".encode(), headers=(("Allow", allowed),))
        if place is None:
            return Answer(404, f"there are {', '.join(pages)}\n".encode())
        body = self._read_body() if self.command == "POST" else b""
        if isinstance(body, Answer):
            return body
        self._heard()
        try:
            return known[place](Request(self.headers, query, body, path[len(place) :]))
        except Exception:  # a fault of a page must not look like a connection that broke
            log.exception("http: %s", place)
            return Answer(500, b"see the monitor's log\n")

    def _linger(self) -> None:
        """Read what the client still sends: closing before would take the answer from it."""
        self.connection.shutdown(socket.SHUT_WR)
        end_seconds = time.monotonic() + LINGER_SECONDS
        read = 0
        while read < LINGER_BYTES and (left_seconds := end_seconds - time.monotonic()) > 0:
            self.connection.settimeout(left_seconds)
            part = self.connection.recv(8192)
            if not part:
                return
            read += len(part)


def _place(known: Mapping[str, Page], path: str) -> str | None:
    """The path in `known` that answers for `path`."""
    if path in known:
        return path
    return next((place for place in known if place != "/" and place[-1] == "/" and path.startswith(place)), None)
