"""A network stream from a real RTSP server: ffmpeg publishes a sine, the server passes it on, the source hears it."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pytest
from dasvdd_runtime.sources import source_at
from dasvdd_runtime.sources.base import Source, SourceLost
from dasvdd_runtime.sources.tables import RtspTable
from mosquitto_broker import free_port

TONE_HZ, RATE_HZ = 1000, 16000
PUBLISH_SECONDS = 3.0
"""A client that comes before the camera has published is never served by this server."""


@dataclass
class RtspServer:
    """The server and the camera that publishes to it, both on loopback."""

    server: str
    ffmpeg: str
    client_port: int = field(default_factory=free_port)
    camera_port: int = field(default_factory=free_port)
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Where clients hear the camera."""
        return f"rtsp://127.0.0.1:{self.client_port}/camera"

    def start(self) -> None:
        """Start both."""
        addresses = ("--client_listen_address", "127.0.0.1", "--source_listen_address", "127.0.0.1")
        ports = ("--clientport", str(self.client_port), "--serverport", str(self.camera_port))
        self._run([self.server, *ports, *addresses, "--loglevel", "1"])
        for port in (self.client_port, self.camera_port):
            wait_for_port(port)
        sine = f"sine=frequency={TONE_HZ}:sample_rate={RATE_HZ}"
        publish = ["-c:a", "pcm_s16be", "-f", "rtsp", "-rtsp_transport", "udp"]
        where = f"rtsp://127.0.0.1:{self.camera_port}/camera"
        self._run([self.ffmpeg, "-loglevel", "error", "-re", "-f", "lavfi", "-i", sine, *publish, where])
        time.sleep(PUBLISH_SECONDS)

    def stop(self) -> None:
        """Kill both."""
        for process in self.processes:
            process.kill()
            process.wait()
        self.processes.clear()

    def _run(self, command: list[str]) -> None:
        quiet = subprocess.DEVNULL
        self.processes.append(subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet))


@pytest.fixture
def camera(require_program: Callable[[str], str]) -> Iterator[RtspServer]:
    """A camera that is switched on."""
    server = RtspServer(require_program("rtsp-server-perl"), require_program("ffmpeg"))
    server.start()
    try:
        yield server
    finally:
        server.stop()


def wait_for_port(port: int) -> None:
    deadline = time.monotonic() + 15
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            assert time.monotonic() < deadline, f"nothing listens on {port}"
            time.sleep(0.05)


def hear(source: Source, samples: int) -> np.ndarray:
    """At least `samples` of an open source."""
    blocks: list[np.ndarray] = []
    deadline = time.monotonic() + 30
    while sum(map(len, blocks)) < samples:
        assert time.monotonic() < deadline
        block = source.read()
        assert block is not None
        blocks.append(block.samples)
    return np.concatenate(blocks)


def loudest_hz(samples: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(samples[:RATE_HZ, 0] * np.hanning(RATE_HZ)))
    return float(np.argmax(spectrum))


@pytest.mark.slow
def test_a_camera_is_heard_lost_and_heard_again(camera: RtspServer) -> None:
    """Its tone arrives; when server and camera die nothing is made up; when they are back it is heard again."""
    table = RtspTable(name="r", kind="rtsp", url=camera.url, transport="udp")
    source = source_at(table, sample_rate_hz=RATE_HZ, channel_names=["0"])
    try:
        source.open()
        assert loudest_hz(hear(source, RATE_HZ)) == TONE_HZ
        camera.stop()
        source.close()
        with pytest.raises(SourceLost):
            source.open()
            hear(source, 1)
        camera.start()
        source.close()
        source.open()
        assert loudest_hz(hear(source, RATE_HZ)) == TONE_HZ
    finally:
        source.close()
