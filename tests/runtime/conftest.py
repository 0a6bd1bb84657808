"""What the tests of the runtime share: tiny models, sources, brokers, monitors, clocks, a browser."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from captured import Captured
from chromium import Chromium
from dasvdd_runtime.logs import RateLimit
from dasvdd_runtime.sources.base import Source
from monitor_child import MonitorChild
from mosquitto_broker import Broker, free_port
from mqtt_monitor import write_config, write_recording
from numpy.typing import NDArray
from reloading import HEAD
from reloading import write as write_paced
from smtp_server import MailServer
from sparkplug_host import Host
from tiny_model import TinyModel
from wall_clock import WallClock
from webhook_server import Server


@pytest.fixture
def tiny_model(tmp_path: Path) -> TinyModel:
    """A writer of tiny models: `tiny_model()` is the path of one, `tiny_model(kind="sensor", channels=3)` another."""
    return TinyModel(tmp_path)


@pytest.fixture(autouse=True)
def log_as_it_was() -> Iterator[None]:
    """A command that a test calls in its own process sends the log to standard error for that test alone."""
    log = logging.getLogger("dasvdd_runtime")
    before = log.handlers, log.level, log.propagate
    yield
    log.handlers, log.level, log.propagate = before


@pytest.fixture
def limited_log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """`caplog` with the limit of the programs' log."""
    limit = RateLimit()
    caplog.handler.addFilter(limit)
    yield caplog
    caplog.handler.removeFilter(limit)


@pytest.fixture
def captured() -> Iterator[Callable[..., Captured]]:
    """`captured(source)` captures a live source until the end of the test, where it must stop in time."""
    running: list[Captured] = []

    def start(source: Source, **settings: Any) -> Captured:
        running.append(Captured(source, **settings))
        return running[-1]

    yield start
    stopped = [one.stop() for one in running]
    assert all(stopped)


@pytest.fixture
def make_broker(tmp_path: Path, require_program: Callable[[str], str]) -> Iterator[Callable[..., Broker]]:
    """Makes brokers, and kills them at the end of the test."""
    if not Path("/usr/sbin/mosquitto").exists():
        require_program("mosquitto")
    brokers: list[Broker] = []

    def make(**options: Any) -> Broker:
        broker = Broker(tmp_path, **options)
        brokers.append(broker)
        return broker

    yield make
    for broker in brokers:
        broker.stop()


@pytest.fixture
def broker(make_broker: Callable[..., Broker]) -> Broker:
    """A broker that lets everybody in, started."""
    made = make_broker()
    made.start()
    return made


@pytest.fixture
def run_monitor() -> Iterator[Callable[[Path], MonitorChild]]:
    """`run_monitor(config)` starts the real program, and kills it at the end of the test."""
    children: list[MonitorChild] = []

    def start(config: Path) -> MonitorChild:
        children.append(MonitorChild(config))
        return children[-1]

    yield start
    for child in children:
        child.kill()


@pytest.fixture
def alarmed_monitor(
    tiny_model: TinyModel, tmp_path: Path, broker: Broker, run_monitor: Callable[[Path], MonitorChild]
) -> Callable[..., MonitorChild]:
    """`alarmed_monitor("pump", mqtt=lines)` starts a monitor of a recording, in alarm after a second."""
    tiny_model(threshold=0.02)
    write_recording(tmp_path)

    def start(*sources: str, mqtt: str, more: str = "") -> MonitorChild:
        write_config(tmp_path / "monitor.toml", broker.port, *sources, mqtt=mqtt, more=more)
        return run_monitor(tmp_path / "monitor.toml")

    return start


@pytest.fixture
def host(broker: Broker) -> Iterator[Host]:
    """A host of Sparkplug at the broker, which reads payloads with a decoder that is not ours."""
    made = Host(broker.port)
    yield made
    made.close()


@pytest.fixture
def page_monitor(
    tiny_model: TinyModel, tmp_path: Path, run_monitor: Callable[[Path], MonitorChild]
) -> Callable[[NDArray[np.float32], str], tuple[MonitorChild, str]]:
    """`page_monitor(samples, more)` starts a monitor that hears `samples` at 16 kHz and serves a page; and its URL."""

    def start(samples: NDArray[np.float32], more: str) -> tuple[MonitorChild, str]:
        tiny_model(threshold=0.02)
        soundfile.write(tmp_path / "a.wav", samples, 16000)
        port = free_port()
        (tmp_path / "monitor.toml").write_text(
            '[model]\npath = "model.onnx"\n'
            '[[source]]\nname = "pump <7>"\nkind = "file"\npath = "a.wav"\npace = "real-time"\n'
            f'[state]\ndirectory = "state"\n[http]\nlisten = "127.0.0.1:{port}"\n{more}\n'
        )
        child = run_monitor(tmp_path / "monitor.toml")
        child.wait_for("started")
        return child, f"http://127.0.0.1:{port}/"

    return start


@pytest.fixture
def paced_monitor(
    tiny_model: TinyModel, tmp_path: Path, run_monitor: Callable[[Path], MonitorChild]
) -> Callable[..., MonitorChild]:
    """`paced_monitor(tables, seconds=...)` runs one that hears so many seconds of paced noise."""
    tiny_model(threshold=0.02)

    def start(tables: str, *, seconds: float, head: str = HEAD) -> MonitorChild:
        write_paced(tmp_path, tables, seconds=seconds, head=head)
        return run_monitor(tmp_path / "monitor.toml")

    return start


@pytest.fixture
def wall_clock(tmp_path: Path, require_program: Callable[[str], str]) -> WallClock:
    """A wall clock for a child, which can be set; its monotonic clock goes on."""
    faketime = Path(require_program("faketime")).resolve()
    library = next(faketime.parents[1].glob("lib/**/libfaketime.so.1"), None)
    if library is None:
        pytest.skip("libfaketime.so.1 is not where the program faketime is")
    return WallClock(tmp_path / "clock", library)


@pytest.fixture
def serve_mail() -> Iterator[Callable[..., MailServer]]:
    """Makes mail servers, not started yet, and stops them at the end of the test."""
    servers: list[MailServer] = []

    def make(**settings: Any) -> MailServer:
        servers.append(MailServer(**settings))
        return servers[-1]

    yield make
    for server in servers:
        server.stop()


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """Makes servers for webhooks, and closes them at the end of the test."""
    servers: list[Server] = []

    def make(answer: Callable[[int, str], int] = lambda number, body: 200) -> Server:
        servers.append(Server(answer))
        return servers[-1]

    yield make
    for server in servers:
        server.close()


@pytest.fixture
def browser(require_program: Callable[[str], str]) -> Iterator[Chromium]:
    """A browser of its own."""
    with Chromium(require_program("chromium")) as chromium:
        yield chromium
