"""A webhook for tests: keeps what is posted to it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Server:
    """An HTTP server whose answer to each request `answer(number, body)` decides: a status, with 0 for silence."""

    def __init__(self, answer: Callable[[int, str], int]) -> None:
        self.requests: list[tuple[str, dict[str, str], str]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
                server.requests.append((self.command, dict(self.headers), body))
                status = answer(len(server.requests) - 1, body)
                if status == 0:
                    time.sleep(5)
                    return
                self.send_response(status)
                if 300 <= status < 400:
                    self.send_header("Location", f"http://127.0.0.1:{server.port}/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_HEAD = do_POST

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}/hook"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, _, body in list(self.requests)]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
