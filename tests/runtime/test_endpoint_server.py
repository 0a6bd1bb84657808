"""The HTTP server of the monitor against clients that mean it ill, over real sockets."""

from __future__ import annotations

import contextlib
import http.client
import logging
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from dasvdd_runtime.endpoint import server as server_module
from dasvdd_runtime.endpoint.server import HEAD_BYTES, MOST_CONNECTIONS, Answer, Request, Server

GET = b"GET /page HTTP/1.1\r\nHost: x\r\n\r\n"


def fails(request: Request) -> Answer:
    raise KeyError("a fault of the page")


@pytest.fixture
def server() -> Iterator[Server]:
    """Serves `/page`, `/fault`, which raises, and `/act`, which says again what is sent to it."""
    pages = {"/page": lambda request: Answer(200, b"well\n"), "/fault": fails}
    serving = Server(("127.0.0.1", 0), pages, {"/act": lambda request: Answer(200, request.body + b"!")})
    serving.start()
    yield serving
    serving.close()


def connect(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.server_port), timeout=10)


def answer(server: Server, request: bytes) -> bytes:
    """All that comes back for `request`, up to the end of the connection."""
    with connect(server) as client:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            client.sendall(request)
        received = b""
        with contextlib.suppress(ConnectionResetError):
            while part := client.recv(65536):
                received += part
        return received


def status(received: bytes) -> int:
    return int(received.split()[1])


def handlers() -> int:
    """Threads that serve a connection."""
    return sum("process_request_thread" in thread.name for thread in threading.enumerate())


def wait_until(true: Callable[[], object], *, seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.02)


def test_a_page_is_served_to_get_and_head(server: Server) -> None:
    """http.client, which we did not write, gets the page; HEAD its length only; the query does not matter."""
    for method, body in (("GET", b"well\n"), ("HEAD", b"")):
        client = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
        client.request(method, "/page?x=1")
        response = client.getresponse()
        assert (response.status, response.getheader("Content-Length"), response.read()) == (200, "5", body)
        assert response.headers["Server"].strip() == "dasvdd-monitor", "no version is given away"
        client.close()


@pytest.mark.parametrize(
    ("request_bytes", "expected"),
    [
        (b"GET /elsewhere HTTP/1.1\r\n\r\n", 404),
        (b"GET /../../etc/passwd HTTP/1.1\r\n\r\n", 404),
        (b"POST /page HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", 405),
        (b"POST /page HTTP/1.1\r\nContent-Length: 30000\r\n\r\n" + b"x" * 30000, 405),
        (b"GET /act HTTP/1.1\r\n\r\n", 405),
        (b"POST /elsewhere HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", 404),
        (b"POST /act HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", 200),
        (b"POST /act HTTP/1.1\r\nContent-Length: 4096\r\n\r\n" + b"x" * 4096, 200),
        (b"POST /act HTTP/1.1\r\nContent-Length: 4097\r\n\r\n" + b"x" * 4097, 413),
        (b"POST /act HTTP/1.1\r\nContent-Length: 99999999999999\r\n\r\n", 413),
        (b"POST /act HTTP/1.1\r\n\r\nabc", 411),
        (b"POST /act HTTP/1.1\r\nContent-Length: -3\r\n\r\nabc", 411),
        (b"POST /act HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc", 411),
        (b"DELETE /page HTTP/1.1\r\n\r\n", 405),
        (b"BREW /page HTTP/1.1\r\n\r\n", 405),
        (b"GET /page HTTP/9.9\r\n\r\n", 505),
        (b"GET /page HTTP/x\r\n\r\n", 400),
        (b"GET /page and more HTTP/1.1\r\n\r\n", 400),
        (b"\xff\xfe\x00\x01 \x00 \xff\r\n\r\n", 400),
        (b"GET /page HTTP/1.1\r\n" + b"X: y\r\n" * 200 + b"\r\n", 431),
        (b"GET /page HTTP/1.1\r\nX: " + b"y" * 100_000 + b"\r\n\r\n", 431),
        (b"GET /" + b"y" * 100_000 + b" HTTP/1.1\r\n\r\n", 431),
        (b"GET /page HTTP/1.1\r\nX: " + b"y" * (HEAD_BYTES - 30) + b"\r\n\r\n", 200),
        (b"GET /page HTTP/1.0\n\n", 200),
        (b"GET /fault HTTP/1.1\r\n\r\n", 500),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_not_served_is_told_so(server: Server, request_bytes: bytes, expected: int) -> None:
    """Each kind of request has its status, and the server answers the next one."""
    received = answer(server, request_bytes)
    assert status(received) == expected, received
    assert status(answer(server, GET)) == 200


def test_a_fault_of_a_page_is_logged_and_no_request_ever(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """The log has the page's fault, but nothing that a client sent: it may be a token."""
    caplog.set_level(logging.DEBUG)
    answer(server, b"GET /fault?secret1 HTTP/1.1\r\nAuthorization: Bearer secret2\r\n\r\n")
    answer(server, b"secret3 HTTP/1.1\r\nsecret4\r\n\r\n")
    assert "a fault of the page" in caplog.text
    assert "secret" not in caplog.text


def test_one_that_sends_byte_by_byte_is_ended(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request is given its time as a whole: a byte now and then does not prolong it."""
    monkeypatch.setattr(server_module, "REQUEST_SECONDS", 0.5)
    begin = time.monotonic()
    with connect(server) as client, contextlib.suppress(BrokenPipeError, ConnectionResetError):
        while time.monotonic() - begin < 8:
            client.sendall(b"G")
            time.sleep(0.05)
    assert 0.4 < time.monotonic() - begin < 4
    wait_until(lambda: handlers() == 0)


def test_a_body_that_comes_in_pieces_is_put_together_and_one_that_never_comes_is_ended(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole body is the action's, however it arrives; half of one gets no answer."""
    with connect(server) as client:
        for piece in (b"POST /act HTTP/1.1\r\nContent-Length: 6\r\n\r\nab", b"cd", b"ef"):
            client.sendall(piece)
            time.sleep(0.05)
        assert client.makefile("rb").read().endswith(b"abcdef!")
    monkeypatch.setattr(server_module, "REQUEST_SECONDS", 0.3)
    begin = time.monotonic()
    assert answer(server, b"POST /act HTTP/1.1\r\nContent-Length: 6\r\n\r\nab") == b""
    assert time.monotonic() - begin < 4
    wait_until(lambda: handlers() == 0)


def test_bodies_that_never_come_keep_nobody_out(server: Server) -> None:
    """Connections that have sent but half of a request make room for one that is whole."""
    silent = [connect(server) for _ in range(MOST_CONNECTIONS)]
    for client in silent:
        client.sendall(b"POST /act HTTP/1.1\r\nContent-Length: 6\r\n\r\nab")
    time.sleep(0.2)
    begin = time.monotonic()
    assert status(answer(server, GET)) == 200
    assert time.monotonic() - begin < 2
    for client in silent:
        client.close()


def test_one_that_takes_no_answer_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that does not read gets no more than its time."""
    monkeypatch.setattr(server_module, "REQUEST_SECONDS", 0.5)
    serving = Server(("127.0.0.1", 0), {"/page": lambda request: Answer(200, b"x" * 50_000_000)})
    serving.start()
    with connect(serving) as client:
        client.sendall(GET)
        wait_until(lambda: handlers() == 1)
        wait_until(lambda: handlers() == 0, seconds=5)
    serving.close()


def test_connections_that_stay_silent_shut_nobody_out(server: Server) -> None:
    """With many times more half-open connections than the server has room for, a request is served at once."""
    with contextlib.ExitStack() as open_ones:
        for _ in range(10 * MOST_CONNECTIONS):
            open_ones.enter_context(connect(server))
        assert handlers() <= MOST_CONNECTIONS
        begin = time.monotonic()
        assert status(answer(server, GET)) == 200
        assert time.monotonic() - begin < 2
    wait_until(lambda: handlers() == 0)


def test_a_flood_is_bounded_and_passes(server: Server) -> None:
    """Eight clients that ask as fast as they can have MOST_CONNECTIONS threads at most, and most get their answer."""
    most, answered = [0], []

    def ask() -> None:
        for _ in range(60):
            with contextlib.suppress(OSError, IndexError):
                answered.append(status(answer(server, GET)))
            most[0] = max(most[0], handlers())

    clients = [threading.Thread(target=ask) for _ in range(2 * MOST_CONNECTIONS)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert most[0] <= MOST_CONNECTIONS
    assert set(answered) == {200} and len(answered) > 60 * MOST_CONNECTIONS
    assert status(answer(server, GET)) == 200


def test_every_cut_of_a_request_is_survived(server: Server) -> None:
    """A client that leaves after any number of bytes, by a close or a reset, leaves nothing behind."""
    for length in range(len(GET)):
        client = connect(server)
        client.sendall(GET[:length])
        if length % 2:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
    wait_until(lambda: handlers() == 0)
    assert status(answer(server, GET)) == 200


def malformed(seeded: random.Random) -> bytes:
    """A request that is damaged in one of many ways, and complete as far as the server can tell."""
    base = bytearray(b"GET /page HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer abc\r\nAccept: */*")
    for _ in range(seeded.randrange(1, 8)):
        base[seeded.randrange(len(base))] = seeded.randrange(256)
    return bytes(base) + seeded.choice([b"", b"y" * seeded.randrange(20_000)]) + b"\r\n\r\n"


def test_malformed_requests_leave_nothing_behind(server: Server) -> None:
    """After 2 000 of them, descriptors and threads are as before, and memory has not grown by more than 3 MB."""

    def use() -> tuple[int, int]:
        fields = dict(line.split(":") for line in Path("/proc/self/smaps_rollup").read_text().splitlines()[1:])
        return len(list(Path("/proc/self/fd").iterdir())), int(fields["Anonymous"].split()[0])

    seeded = random.Random(0)
    for _ in range(200):  # what is allocated once
        answer(server, malformed(seeded))
    wait_until(lambda: handlers() == 0)
    descriptors, memory_kb = use()
    for _ in range(2000):
        answer(server, malformed(seeded))
    wait_until(lambda: handlers() == 0)
    after_descriptors, after_memory_kb = use()
    assert after_descriptors == descriptors
    assert after_memory_kb - memory_kb < 3000
    assert status(answer(server, GET)) == 200


def test_close_frees_the_port(server: Server) -> None:
    """After `close` nothing listens, and another server can."""
    serving = Server(("127.0.0.1", 0), {})
    serving.start()
    port = serving.server_port
    with pytest.raises(OSError, match="in use"):
        Server(("127.0.0.1", port), {})
    serving.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=1)
    Server(("127.0.0.1", port), {}).close()
