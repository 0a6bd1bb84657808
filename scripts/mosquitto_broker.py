"""A real mosquitto on a loopback port, for tests and benchmarks."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Self

MOSQUITTO = shutil.which("mosquitto") or "/usr/sbin/mosquitto"


FIRST_PORT, PORTS_OF_A_PROCESS, PROCESSES = 12_000, 200, 100
"""Below those ports that Linux gives to who asks for any."""
_untried_ports = itertools.count()


def free_port() -> int:
    """A TCP port on which nothing listens, and that nobody else is given: neither a connection nor another test run."""
    while True:
        number = next(_untried_ports) % PORTS_OF_A_PROCESS
        port = FIRST_PORT + os.getpid() % PROCESSES * PORTS_OF_A_PROCESS + number
        with socket.socket() as listener, contextlib.suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port


def make_certificates(folder: Path, openssl: str) -> None:
    """A CA of our own (ca.crt) and a broker's certificate for 127.0.0.1 (broker.crt, broker.key); another CA beside."""

    def run(*words: str) -> None:
        subprocess.run([openssl, *words], cwd=folder, check=True, capture_output=True)

    for name in ("ca", "other"):
        key = ["-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.crt"]
        run("req", "-x509", "-days", "2", "-subj", f"/CN={name}", *key)
    run("req", "-newkey", "rsa:2048", "-nodes", "-keyout", "broker.key", "-out", "broker.csr", "-subj", "/CN=broker")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    signed = ["-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "names", "-days", "2"]
    run("x509", "-req", "-in", "broker.csr", "-out", "broker.crt", *signed)


class Broker:
    """mosquitto with its files in `folder`. It takes what it is given without limit, and keeps nothing on disk."""

    def __init__(self, folder: Path, *, more: str = "allow_anonymous true\n") -> None:
        """`more`: lines of mosquitto.conf behind the listener. Not started yet."""
        self.port = free_port()
        self._config = folder / "mosquitto.conf"
        self._log = folder / "mosquitto.log"
        limits = "max_queued_messages 0\nmax_inflight_messages 0\npersistence false\n"
        self._config.write_text(f"{limits}user root\nlistener {self.port} 127.0.0.1\n{more}")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it listens."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen([MOSQUITTO, "-c", str(self._config)], stdout=log, stderr=log)
        end_seconds = time.monotonic() + 10.0
        while time.monotonic() < end_seconds and self._process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1.0).close()
                return
            except OSError:
                time.sleep(0.02)
        raise RuntimeError(f"mosquitto does not listen: {self._log.read_text()}")

    def stop(self) -> None:
        """Kill it at once, as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
