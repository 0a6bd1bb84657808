"""What systemd is told: ready, alive. The protocol is sd_notify(3): datagrams to $NOTIFY_SOCKET."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Mapping

log = logging.getLogger(__name__)

HEARTBEATS_A_PERIOD = 4
"""Heartbeats in the time after which systemd would restart the service."""


class ServiceManager:
    """Tells systemd how the service is; says nothing where no systemd started it. Never raises."""

    def __init__(
        self,
        address: str = "",
        *,
        watchdog_seconds: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`address` of the socket, with '@' in front of an abstract one; '' for none.

        With `watchdog_seconds`, systemd restarts the service after that long without a heartbeat.
        """
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._period_seconds = None if watchdog_seconds is None else watchdog_seconds / HEARTBEATS_A_PERIOD
        self._clock = clock
        self._next_heartbeat_seconds = -float("inf")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> ServiceManager:
        """As NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID say; a watchdog meant for another process is not fed."""
        microseconds = environment.get("WATCHDOG_USEC", "")
        meant_for = environment.get("WATCHDOG_PID", str(os.getpid()))
        watched = microseconds.isdecimal() and int(microseconds) > 0 and meant_for == str(os.getpid())
        return cls(environment.get("NOTIFY_SOCKET", ""), watchdog_seconds=int(microseconds) / 1e6 if watched else None)

    def ready(self) -> None:
        """Configuration and models are good; the sources are opened now."""
        self._send("READY=1")

    def heartbeat(self) -> None:
        """Scorer and sources go on. May be called often."""
        if self._period_seconds is None or self._clock() < self._next_heartbeat_seconds:
            return
        self._next_heartbeat_seconds = self._clock() + self._period_seconds
        self._send("WATCHDOG=1")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as to_manager:
                to_manager.settimeout(1.0)
                to_manager.sendto(message.encode(), self._address)
        except OSError as error:
            log.warning("systemd could not be told %s: %s", message, error.strerror or error)
