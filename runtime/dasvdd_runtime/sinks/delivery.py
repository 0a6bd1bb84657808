"""From the outbox to its receivers: a thread each, which tries for ever and tells of a fault once."""

from __future__ import annotations

import json
import logging
import random
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import takewhile
from typing import Protocol

from ..snapshot import Standing
from .outbox import Outbox
from .outbox_store import Row

log = logging.getLogger(__name__)

IDLE_SECONDS = 1.0
"""How often the outbox is looked at when nothing wakes the thread."""
FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS = 1.0, 30.0
DRAIN_SECONDS = 1.0
"""How long a stop may go on delivering what waits."""
STOP_SECONDS = 2.0
"""How long a stop waits for all the threads."""


class DeliveryFailed(Exception):
    """A receiver that does not take events now; the message says why, and holds no secret."""


class Publisher(Protocol):
    """Takes events to one receiver. Used by one thread."""

    name: str
    """What the outbox and people call the receiver."""
    batch: int
    """How many rows it takes at once."""

    def connect(self) -> None:
        """Be connected; called often. Raises DeliveryFailed."""

    def deliver(self, rows: Sequence[Row], *, delivered: Callable[[Row], None], refused: Callable[[Row], None]) -> None:
        """Deliver `rows` in order, with a call of `delivered` or `refused` as the receiver has answered each.

        Raises DeliveryFailed where it cannot go on; rows without an answer are given again.
        """

    def close(self) -> None:
        """Take leave. Does not raise."""


class Delivery:
    """The thread that feeds one publisher from the outbox."""

    def __init__(self, outbox: Outbox, publisher: Publisher) -> None:
        self._outbox = outbox
        self._publisher = publisher
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._stop_at_seconds = float("inf")
        self._fault = ""
        self._retry_seconds = FIRST_RETRY_SECONDS
        self._thread = threading.Thread(target=self._run, name=publisher.name, daemon=True)
        outbox.on_write(self._wake.set)

    def start(self) -> None:
        """Begin to deliver."""
        self._thread.start()

    def request_stop(self) -> None:
        """Deliver what waits, for DRAIN_SECONDS at most, then end."""
        self._stop_at_seconds = time.monotonic() + DRAIN_SECONDS
        self._stopping.set()
        self._wake.set()

    def join(self, timeout_seconds: float) -> bool:
        """Wait for the end; False if it does not come. What is not delivered stays in the outbox."""
        self._thread.join(timeout_seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            try:
                self._publisher.connect()
                self._deliver_all()
            except Exception as failure:  # what a library raises, too: nothing may end this thread
                self._tell(str(failure) if isinstance(failure, DeliveryFailed) else repr(failure))
                if self._stopping.wait(self._next_wait_seconds()):
                    break
                continue
            if self._stopping.is_set():
                break
            self._wake.wait(IDLE_SECONDS)
            self._wake.clear()
        self._publisher.close()

    def _deliver_all(self) -> None:
        while time.monotonic() < self._stop_at_seconds:
            rows = self._outbox.read(self._publisher.name, most=self._publisher.batch)
            if not rows and self._fault:
                self._recovered()
            if not rows:
                return
            whole = list(takewhile(_is_whole, rows))
            if whole:
                self._publisher.deliver(whole, delivered=self._delivered, refused=self._refused)
            else:
                log.error("%s: an event in the outbox is damaged and given up", self._publisher.name)
                self._refused(rows[0])

    def _delivered(self, row: Row) -> None:
        self._outbox.acknowledge(self._publisher.name, row.id)
        if self._fault:
            self._recovered()

    def _refused(self, row: Row) -> None:
        self._outbox.refuse(self._publisher.name, row.id)

    def _recovered(self) -> None:
        log.warning("%s: delivering again; %d events waited", self._publisher.name, self._waiting())
        self._fault = ""
        self._retry_seconds = FIRST_RETRY_SECONDS

    def _tell(self, fault: str) -> None:
        if fault != self._fault:
            self._fault = fault
            log.error("%s: %s. Tried again until it works; events wait in the outbox", self._publisher.name, fault)

    def _waiting(self) -> int:
        return self._outbox.waiting(self._publisher.name)

    def _next_wait_seconds(self) -> float:
        """Doubled from failure to failure, and never the same for two monitors that lost one broker."""
        wait_seconds = self._retry_seconds * random.uniform(0.8, 1.2)
        self._retry_seconds = min(2 * self._retry_seconds, LONGEST_RETRY_SECONDS)
        return wait_seconds


def _is_whole(row: Row) -> bool:
    """The row holds an event, as it was written. The disk may have damaged it."""
    try:
        event = json.loads(row.line)
    except ValueError:
        return False
    return isinstance(event, dict) and all(isinstance(event.get(key), str) for key in ("event", "id"))


class DeliveredOutbox:
    """The outbox as one sink of the service, with the threads that empty it."""

    def __init__(self, outbox: Outbox, publishers: Iterable[Publisher]) -> None:
        self._outbox = outbox
        self._deliveries = [Delivery(outbox, publisher) for publisher in publishers]
        for delivery in self._deliveries:
            delivery.start()

    def write(self, line: str, *, durable: bool) -> None:
        """Keep `line` until every receiver has it."""
        self._outbox.write(line, durable=durable)

    def read(self, name: str, *, most: int) -> list[Row]:
        """As `Outbox.read`, for a receiver that nothing here delivers to."""
        return self._outbox.read(name, most=most)

    def acknowledge(self, name: str, row_id: int) -> None:
        """As `Outbox.acknowledge`."""
        self._outbox.acknowledge(name, row_id)

    def standings(self) -> dict[str, Standing]:
        """How each receiver stands. Does not wait for the disk."""
        return self._outbox.standings()

    def close(self) -> None:
        """Deliver what can be delivered within STOP_SECONDS; the rest stays on the disk."""
        for delivery in self._deliveries:
            delivery.request_stop()
        end_seconds = time.monotonic() + STOP_SECONDS
        for delivery in self._deliveries:
            delivery.join(max(0.0, end_seconds - time.monotonic()))
        self._outbox.close()
