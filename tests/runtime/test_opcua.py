"""Nodes of asyncua's own server: values, states, absence, passwords and encryption."""

from __future__ import annotations

import asyncio
import math
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from asyncua import Server, ua
from asyncua.crypto.cert_gen import setup_self_signed_certificate
from asyncua.crypto.permission_rules import User, UserRole
from cryptography.x509.oid import ExtendedKeyUsageOID
from dasvdd_runtime.configuration.config import load_config
from dasvdd_runtime.errors import ConfigError, Unavailable
from dasvdd_runtime.sources import source_at
from dasvdd_runtime.sources.base import Source, SourceLost
from dasvdd_runtime.sources.row_tables import OpcUaTable
from mosquitto_broker import free_port

Capturing = Callable[..., Any]
NODES = {"x": "ns=1;s=Press.X", "y": "ns=1;s=Press.Y"}


class Users:
    """Lets in nobody but monitor with the right password."""

    def get_user(
        self, _server: Any, username: Any = None, password: Any = None, certificate: Any = None
    ) -> User | None:
        return User(role=UserRole.User) if (username, password) == ("monitor", "right-one") else None


class Plant:
    """A server with the nodes x, a double, and y, an integer."""

    def __init__(self) -> None:
        self.url = f"opc.tcp://127.0.0.1:{free_port()}"
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server: Server | None = None

    def _run(self, task: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(task, self._loop).result(60)

    def start(self, *, secured: Path | None = None) -> None:
        async def begin() -> None:
            server = Server(user_manager=Users() if secured else None)
            await server.init()
            server.set_endpoint(self.url)
            policy = ua.SecurityPolicyType.NoSecurity
            if secured:
                policy = ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt
                await server.load_certificate(secured / "server.der")
                await server.load_private_key(secured / "server.pem")
            server.set_security_policy([policy])
            for name, value in (("X", 1.5), ("Y", 2)):
                await server.nodes.objects.add_variable(f"ns=1;s=Press.{name}", name, value)
            await server.start()
            self._server = server

        self._run(begin())

    def set(self, name: str, value: Any, status: int = ua.StatusCodes.Good) -> None:
        async def write() -> None:
            assert self._server is not None
            node = self._server.get_node(NODES[name])
            kind = await node.read_data_type_as_variant_type()
            found = ua.DataValue(ua.Variant(value, kind), StatusCode=ua.StatusCode(status))
            await self._server.write_attribute_value(node.nodeid, found)

        self._run(write())

    def stop(self) -> None:
        if self._server is not None:
            self._run(self._server.stop())
            self._server = None

    def close(self) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()


@pytest.fixture
def stopped_plant() -> Iterator[Plant]:
    made = Plant()
    yield made
    made.close()


@pytest.fixture(scope="module")
def running_plant() -> Iterator[Plant]:
    """A server without security, started once: it takes seconds."""
    made = Plant()
    made.start()
    yield made
    made.close()


@pytest.fixture
def plant(running_plant: Plant) -> Plant:
    """The running server, with the values that it began with."""
    running_plant.set("x", 1.5)
    running_plant.set("y", 2)
    return running_plant


def opcua(url: str, *, names: list[str] | None = None, **settings: Any) -> Source:
    """A source of ten rows a second, polled as often."""
    table = OpcUaTable.model_validate({"name": "press", "kind": "opcua", "url": url, "nodes": NODES} | settings)
    return source_at(table, sample_rate_hz=10.0, channel_names=names or ["x", "y"])


def test_nodes_become_rows_in_the_models_order(plant: Plant, captured: Capturing) -> None:
    """Whatever their types, as they change."""
    source = captured(opcua(plant.url, names=["y", "x"], max_gap_seconds=5.0))  # a busy machine is no outage
    source.wait(lambda: len(source.first_channel) >= 3)
    np.testing.assert_array_equal(source.rows[0], [2, 1.5])
    plant.set("y", -7)
    source.wait(lambda: source.first_channel[-1] == -7)
    assert source.missing == []
    assert source.lost == 0


@pytest.mark.parametrize("status", [ua.StatusCodes.BadDeviceFailure, ua.StatusCodes.UncertainLastUsableValue])
def test_a_value_that_is_not_good_is_nan(
    plant: Plant, captured: Capturing, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    """Bad, or the last one of a device that is away: never scored, and the log names the node and its status."""
    plant.set("x", 1.0, status)
    source = captured(opcua(plant.url))
    source.wait(lambda: len(source.first_channel) >= 3)
    assert math.isnan(source.first_channel[0])
    assert set(source.rows[:, 1]) == {2}
    assert "Press.X (x) gives no number, but " in caplog.text
    plant.set("x", 3.0)
    source.wait(lambda: source.first_channel[-1] == 3)


def test_a_node_that_is_not_there_is_nan(plant: Plant, captured: Capturing, caplog: pytest.LogCaptureFixture) -> None:
    """The log says so by the name of the status."""
    source = captured(opcua(plant.url, nodes=NODES | {"x": "ns=1;s=Nothing"}))
    source.wait(lambda: len(source.first_channel) >= 2)
    assert np.isnan(source.first_channel).all()
    assert "BadNodeIdUnknown" in caplog.text


def test_a_server_that_goes_and_comes_back(stopped_plant: Plant, captured: Capturing) -> None:
    """MISSING with the address, then rows again; those of the outage are lost."""
    plant = stopped_plant
    plant.start()
    source = captured(opcua(plant.url))
    source.wait(lambda: len(source.first_channel) >= 3)
    begin = time.monotonic()
    plant.stop()
    source.wait(lambda: len(source.missing) >= 2)
    assert plant.url in source.missing[-1]
    plant.start()
    source.wait(lambda: source.lost > 0)
    assert 10 <= source.lost <= 10 * (time.monotonic() - begin) + 10


@pytest.mark.parametrize("deaf", [True, False], ids=["answers nothing", "is not there"])
def test_a_stop_does_not_wait_for_a_server(captured: Capturing, deaf: bool) -> None:
    """The thread ends within the time that a stop waits for."""
    import socket

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if deaf:
            listener.listen()
        source = captured(opcua(f"opc.tcp://127.0.0.1:{listener.getsockname()[1]}"))
        time.sleep(0.3)
        begin = time.monotonic()
        assert source.stop()
        assert time.monotonic() - begin < 3.0


def make_certificate(folder: Path, name: str, purpose: Any) -> None:
    """name.der and name.pem, its key, as OPC UA wants them."""
    application = f"urn:example:{name}"
    files = (folder / f"{name}.pem", folder / f"{name}.der", application, "127.0.0.1", [purpose], {})
    asyncio.run(setup_self_signed_certificate(*files))


def test_an_encrypted_session_with_a_password(stopped_plant: Plant, tmp_path: Path, captured: Capturing) -> None:
    """With the right one the server lets it in; with another, or with another server's certificate, it does not."""
    make_certificate(tmp_path, "server", ExtendedKeyUsageOID.SERVER_AUTH)
    make_certificate(tmp_path, "client", ExtendedKeyUsageOID.CLIENT_AUTH)
    stopped_plant.start(secured=tmp_path)
    secret = tmp_path / "password"
    secret.write_text("right-one\n")
    keys = {
        "security": "sign_and_encrypt",
        "cert_file": tmp_path / "client.der",
        "key_file": tmp_path / "client.pem",
        "username": "monitor",
        "password_file": secret,
    }
    source = captured(opcua(stopped_plant.url, server_cert_file=tmp_path / "server.der", **keys))
    source.wait(lambda: len(source.first_channel) >= 2)
    assert set(source.first_channel) == {1.5}
    other = opcua(stopped_plant.url, server_cert_file=tmp_path / "client.der", **keys)
    with pytest.raises(SourceLost):
        other.open()
    other.close()
    secret.write_text("wrong-one\n")
    other = opcua(stopped_plant.url, **keys)
    with pytest.raises(SourceLost, match="no connection to") as caught:
        other.open()
    other.close()
    assert "wrong-one" not in str(caught.value)


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"url": '"http://h"'}, "url"),
        ({"url": '"opc.tcp://u:hush@h"'}, "url"),
        ({"username": '"u"'}, "belong together"),
        ({"security": '"sign"'}, "cert_file"),
        ({"cert_file": '"c"', "key_file": '"k"'}, "security"),
    ],
    ids=["scheme", "password", "user", "certificate", "security"],
)
def test_keys_that_cannot_work_are_refused(tmp_path: Path, keys: dict[str, str], says: str) -> None:
    """Each is a ConfigError that says what."""
    given = "".join(f"{key} = {value}\n" for key, value in ({"url": '"opc.tcp://h"'} | keys).items())
    source = f'[[source]]\nname = "s"\nkind = "opcua"\n{given}[source.nodes]\nx = "ns=1;i=1"\n'
    (tmp_path / "monitor.toml").write_text(f'[model]\npath = "m"\n{source}')
    with pytest.raises(ConfigError, match=says):
        load_config(tmp_path / "monitor.toml")


def test_a_channel_without_a_node_and_a_missing_package_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the names that there are, what a node id looks like, and the command that installs the extra."""
    with pytest.raises(ConfigError, match="channel 'z'; there are x, y"):
        opcua("opc.tcp://h", names=["x", "z"])
    with pytest.raises(ConfigError, match="'Press' is no node id; one looks like"):
        opcua("opc.tcp://h", nodes={"x": "Press", "y": "i=1"})
    monkeypatch.setitem(sys.modules, "asyncua", None)
    with pytest.raises(Unavailable, match=r"pip install 'dasvdd\[opcua\]'"):
        opcua("opc.tcp://h")
