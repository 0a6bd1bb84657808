"""Nodes of an OPC UA server, read at fixed times. asyncua is an extra and imported here alone."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Coroutine, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import ConfigError
from ..extras import require
from .base import SourceLost
from .row_feed import RowFeed
from .row_tables import OpcUaTable

if TYPE_CHECKING:
    from asyncua import ua
    from asyncua.client.client import Client
    from asyncua.common.node import Node
    from asyncua.sync import ThreadLoop

Result = TypeVar("Result")

ANSWER_SECONDS = 1.5
CONNECT_SECONDS = 2.0
"""For connection, channel and session together; below capture.JOIN_SECONDS."""
LEAVE_SECONDS = 0.7
"""With ANSWER_SECONDS below capture.JOIN_SECONDS."""


class OpcUaDevice:
    """One session with a server. asyncua keeps it alive in a thread of its own."""

    def __init__(self, table: OpcUaTable, channel_names: Sequence[str]) -> None:
        """Raises Unavailable without asyncua; ConfigError without a node for a channel, or a password to be read."""
        require('kind = "opcua"', "opcua", ("asyncua",))
        missing = [name for name in channel_names if name not in table.nodes]
        if missing:
            raise ConfigError(
                f"source '{table.name}': [source.nodes] has no node for the channel '{missing[0]}'; there are "
                f"{', '.join(table.nodes)}. Give each channel a node, or list the names of nodes in `channels`."
            )
        from asyncua import ua
        from asyncua.ua.uaerrors import UaError

        for name in channel_names:
            try:
                ua.NodeId.from_string(table.nodes[name])
            except UaError:
                raise ConfigError(
                    f"source '{table.name}': '{table.nodes[name]}' is no node id; one looks like "
                    "'ns=2;s=Press.Current' or 'ns=2;i=1005'."
                ) from None
        table.password.read()
        self._table = table
        self._names = list(channel_names)
        self._loop: ThreadLoop | None = None
        self._client: Client | None = None
        self._nodes: list[Node] = []
        logging.getLogger("asyncua").setLevel(logging.CRITICAL)  # what it says, our errors say once

    def open(self) -> None:
        """Connect. Raises SourceLost, and ConfigError for a password or certificate that cannot be read."""
        from asyncua.client.client import Client
        from asyncua.sync import ThreadLoop

        self.close()
        self._loop = ThreadLoop(CONNECT_SECONDS + 0.2)
        self._loop.daemon = True
        self._loop.start()
        client = Client(self._table.url, timeout=ANSWER_SECONDS)
        if self._table.username:
            client.set_user(self._table.username)
            client.set_password(self._table.password.read() or "")
        try:
            self._call(self._connect(client), CONNECT_SECONDS)
        except SourceLost as error:
            raise SourceLost(f"no connection to {self._table.url}: {error}") from error
        self._client = client
        self._nodes = [client.get_node(self._table.nodes[name]) for name in self._names]

    def poll(self, feed: RowFeed) -> list[float]:
        """The values of all nodes, NaN for those that are not good. Raises SourceLost without an answer."""
        assert self._client is not None, "open() comes first"
        try:
            found = self._call(self._client.read_attributes(self._nodes), ANSWER_SECONDS)
        except SourceLost as error:
            self._client = None  # no leave is taken of what does not answer
            raise SourceLost(f"{self._table.url} does not answer: {error}") from error
        values = [_value(one) for one in found]
        for name, one, value in zip(self._names, found, values, strict=True):
            if math.isnan(value):
                feed.tell(f"{self._table.nodes[name]} ({name}) gives no number, but {_words(one)}: it is NaN")
        return values

    def close(self) -> None:
        """End session and thread."""
        client, self._client = self._client, None
        loop, self._loop = self._loop, None
        if loop is None:
            return
        if client is not None:
            with contextlib.suppress(Exception):
                loop.post(asyncio.wait_for(client.disconnect(), LEAVE_SECONDS))
        with contextlib.suppress(Exception):
            loop.post(_cancel_all())
        loop.stop()

    async def _connect(self, client: Client) -> None:
        table = self._table
        if table.security != "none":
            from asyncua import ua
            from asyncua.crypto.security_policies import SecurityPolicyBasic256Sha256

            try:
                await client.set_security(
                    SecurityPolicyBasic256Sha256,
                    str(table.cert_file),
                    str(table.key_file),
                    server_certificate=None if table.server_cert_file is None else str(table.server_cert_file),
                    mode=ua.MessageSecurityMode.SignAndEncrypt
                    if table.security == "sign_and_encrypt"
                    else ua.MessageSecurityMode.Sign,
                )
            except (FileNotFoundError, PermissionError) as error:
                raise ConfigError(f"source '{table.name}': {error.filename}: {error.strerror}") from error
        await client.connect()

    def _call(self, task: Coroutine[Any, Any, Result], seconds: float) -> Result:
        """The result of `task` within `seconds`. Raises SourceLost for whatever goes wrong with the connection."""
        from asyncua.ua.uaerrors import UaError

        assert self._loop is not None
        try:
            return self._loop.post(asyncio.wait_for(task, seconds))
        except TimeoutError:
            raise SourceLost(f"nothing came for {seconds:g} s") from None
        except (OSError, UaError, ValueError) as error:
            raise SourceLost(str(error) or type(error).__name__) from error


async def _cancel_all() -> None:
    """End what asyncua has left running."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), LEAVE_SECONDS)


def _value(found: ua.DataValue) -> float:
    """NaN for what is not good, nor a number."""
    value = None if found.Value is None else found.Value.Value
    if found.StatusCode is None or not found.StatusCode.is_good() or not isinstance(value, int | float):
        return math.nan
    return float(value)


def _words(found: ua.DataValue) -> str:
    if found.StatusCode is not None and not found.StatusCode.is_good():
        return f"{found.StatusCode.name}"
    return type(None if found.Value is None else found.Value.Value).__name__
