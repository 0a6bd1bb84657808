"""From the outbox to its receivers: a thread each, which tries for ever and tells of a fault once."""

from __future__ import annotations

import json
import logging
import queue
import random
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import takewhile
from typing import Protocol

from ..logs import about
from ..running.snapshot import HeldBack, Standing
from ..words import count
from .fates import Fates
from .outbox import Outbox
from .outbox_store import Row

log = logging.getLogger(__name__)

IDLE_SECONDS = 1.0
"""How often the outbox is looked at when nothing wakes the thread."""
FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS = 1.0, 30.0
LONGEST_HOLD_SECONDS = 30.0
"""How often events that a publisher holds are offered again when nothing wakes the thread."""
SAME_HOLD_SECONDS = 60.0
"""A hold that ends by no more than this later than the one told has been told."""
DRAIN_SECONDS = 1.0
"""How long a stop may go on delivering what waits."""
STOP_SECONDS = 2.0
"""How long a stop waits for all the threads."""


class DeliveryFailed(Exception):
    """A receiver that does not take events now; the message says why, and holds no secret."""


class Held(Exception):
    """A publisher that keeps `events` for now, by its own rule: no fault of the receiver."""

    def __init__(self, events: int, for_seconds: float, why: str) -> None:
        super().__init__(why)
        self.events = events
        self.for_seconds = for_seconds
        self.why = why


class Publisher(Protocol):
    """Takes events to one receiver. Used by one thread."""

    name: str
    """What the outbox and people call the receiver."""
    batch: int
    """How many rows it takes at once."""

    def try_connection(self) -> tuple[bool, str]:
        """For `check`, instead of the rest: try the receiver, without an event. Whether all looks right; and in words.

        Raises DeliveryFailed where there is no connection, ConfigError for a secret that cannot be read.
        """

    def connect(self) -> None:
        """Be connected; called often. Raises DeliveryFailed."""

    def deliver(self, rows: Sequence[Row], *, delivered: Callable[[Row], None], refused: Callable[[Row], None]) -> None:
        """Deliver `rows` in order, with a call of `delivered` or `refused` as the receiver has answered each.

        Raises DeliveryFailed where it cannot go on, and Held where it does not want to yet; rows without an answer are
        given again, after Held as soon as there are more.
        """

    def hand_over(self, successor: Publisher) -> None:
        """Take leave for `successor`, which takes events to the same receiver from now on. Does not raise."""

    def close(self) -> None:
        """Take leave. Does not raise."""


class Delivery:
    """The thread that feeds one publisher from the outbox."""

    def __init__(self, outbox: Outbox, publisher: Publisher) -> None:
        self._outbox = outbox
        self.name = publisher.name
        self._publisher = publisher
        self._successors: queue.SimpleQueue[Publisher] = queue.SimpleQueue()
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._interrupted = threading.Event()  # by a stop or a successor: the wait for a retry ends
        self._stop_at_seconds = float("inf")
        self.fault = ""
        """Why the receiver takes nothing now."""
        self.held: HeldBack | None = None
        """What its publisher keeps for now."""
        self.fates = Fates()
        self._told_until = 0.0
        self._retry_seconds = FIRST_RETRY_SECONDS
        self._thread = threading.Thread(target=self._run, name=publisher.name, daemon=True)

    def start(self) -> None:
        """Begin to deliver."""
        self._thread.start()

    def use(self, publisher: Publisher) -> None:
        """Deliver by `publisher`, of the same name, as soon as no row is under way. Returns at once."""
        self._successors.put(publisher)
        self._interrupted.set()
        self._wake.set()

    def wake(self) -> None:
        """There is something to deliver."""
        self._wake.set()

    def request_stop(self) -> None:
        """Deliver what waits, for DRAIN_SECONDS at most, then end."""
        self._stop_at_seconds = time.monotonic() + DRAIN_SECONDS
        self._stopping.set()
        self._interrupted.set()
        self._wake.set()

    def join(self, timeout_seconds: float) -> bool:
        """Wait for the end; False if it does not come. What is not delivered stays in the outbox."""
        self._thread.join(timeout_seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            try:
                self._hand_over()
                self._publisher.connect()
                self._deliver_all()
            except Held as held:
                self._tell_held(held)
                if self._stopping.is_set():
                    break
                self._wake.wait(min(held.for_seconds, LONGEST_HOLD_SECONDS))
                self._wake.clear()
                continue
            except Exception as failure:  # what a library raises, too: nothing may end this thread
                self._tell(str(failure) if isinstance(failure, DeliveryFailed) else repr(failure))
                self._wait_to_retry()
                if self._stopping.is_set():
                    break
                continue
            if self._stopping.is_set():
                break
            self._wake.wait(IDLE_SECONDS)
            self._wake.clear()
        self._publisher.close()

    def _hand_over(self) -> None:
        """Go on with the successor, if there is one."""
        while not self._successors.empty():
            successor = self._successors.get_nowait()
            try:
                self._publisher.hand_over(successor)
            finally:
                self._publisher = successor
            self._retry_seconds = FIRST_RETRY_SECONDS

    def _wait_to_retry(self) -> None:
        """Longer from failure to failure, but not while there is a successor or a stop, whenever that comes."""
        self._interrupted.clear()  # before the look at what sets it: what comes after that ends the wait
        wait_seconds = self._next_wait_seconds()
        if self._successors.empty() and not self._stopping.is_set():
            self._interrupted.wait(wait_seconds)

    def _deliver_all(self) -> None:
        while time.monotonic() < self._stop_at_seconds and self._successors.empty():
            rows = self._outbox.read(self._publisher.name, most=self._publisher.batch)
            if not rows and self.fault:
                self._recovered()
            if not rows:
                return
            whole = list(takewhile(_is_whole, rows))
            if whole:
                self._offer(whole)
            else:
                log.error("%s: an event in the outbox is damaged and given up", self._publisher.name)
                self._refused(rows[0])

    def _offer(self, rows: Sequence[Row]) -> None:
        try:
            self._publisher.deliver(rows, delivered=self._delivered, refused=self._refused)
        except Held:
            self.fates.note(rows, "held")
            raise

    def _tell_held(self, held: Held) -> None:
        """Note until when events are held; say so where that is new."""
        before, until = self.held, time.time() + held.for_seconds
        self.held = HeldBack(held.events, until)
        if self.fault:
            self._recovered()
        if before is None or until > self._told_until + SAME_HOLD_SECONDS:
            self._told_until = until
            name, at = self._publisher.name, f"{datetime.fromtimestamp(until):%H:%M:%S}"
            waiting = count(held.events, "event")
            log.warning(
                "%s: held until %s (%s): %s. What must call goes at once",
                name,
                at,
                held.why,
                waiting,
                extra=about(name),
            )

    def _delivered(self, row: Row) -> None:
        self.held = None
        self.fates.note([row], "delivered")
        self._outbox.acknowledge(self._publisher.name, row.id)
        if self.fault:
            self._recovered()

    def _refused(self, row: Row) -> None:
        self.held = None
        self.fates.note([row], "refused")
        self._outbox.refuse(self._publisher.name, row.id)

    def _recovered(self) -> None:
        name = self._publisher.name
        log.warning("%s: delivering again; %d events waited", name, self._waiting(), extra=about(name))
        self.fault = ""
        self._retry_seconds = FIRST_RETRY_SECONDS

    def _tell(self, fault: str) -> None:
        self.held = None
        if fault != self.fault:
            self.fault = fault
            name = self._publisher.name
            log.error("%s: %s. Tried again until it works; events wait in the outbox", name, fault, extra=about(name))

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
        self._deliveries: dict[str, Delivery] = {}
        self.deliver_by(publishers)

    def deliver_by(self, publishers: Iterable[Publisher]) -> None:
        """Hand over to those of `publishers` whose receiver had another, and begin with the rest."""
        for publisher in publishers:
            if publisher.name in self._deliveries:
                self._deliveries[publisher.name].use(publisher)
                continue
            delivery = self._deliveries[publisher.name] = Delivery(self._outbox, publisher)
            delivery.start()

    def use(
        self, receivers: Mapping[str, bool], publishers: Iterable[Publisher], *, max_events: int, max_bytes: int
    ) -> None:
        """Have these `receivers` (see Outbox) and limits from now on, and `publishers` for those that changed.

        Receivers that are named no more get what waits for them within STOP_SECONDS, and nothing after.
        """
        removed = [self._deliveries.pop(name) for name in self._deliveries.keys() - receivers.keys()]
        _stop(removed)
        for delivery in removed:
            if waiting := self._outbox.waiting(delivery.name):
                log.warning("%s is removed; %d events that waited for it are dropped", delivery.name, waiting)
        self._outbox.use(receivers, max_events=max_events, max_bytes=max_bytes)
        self.deliver_by(publishers)

    def write(self, line: str, *, durable: bool) -> None:
        """Keep `line` until every receiver has it."""
        if self._outbox.write(line, durable=durable):
            for delivery in self._deliveries.values():
                delivery.wake()

    def read(self, name: str, *, most: int) -> list[Row]:
        """As `Outbox.read`, for a receiver that nothing here delivers to."""
        return self._outbox.read(name, most=most)

    def acknowledge(self, name: str, row_id: int) -> None:
        """As `Outbox.acknowledge`."""
        self._outbox.acknowledge(name, row_id)

    def standings(self) -> dict[str, Standing]:
        """How each receiver stands. Does not wait for the disk."""
        found, by_name = self._outbox.standings(), self._deliveries.copy()
        for name in found.keys() & by_name.keys():
            delivery = by_name[name]
            found[name] = replace(found[name], held=delivery.held, fault=delivery.fault, tests=delivery.fates.by_id)
        return found

    def close(self) -> None:
        """Deliver what can be delivered within STOP_SECONDS; the rest stays on the disk."""
        _stop(self._deliveries.values())
        self._outbox.close()


def _stop(deliveries: Collection[Delivery]) -> None:
    for delivery in deliveries:
        delivery.request_stop()
    end_seconds = time.monotonic() + STOP_SECONDS
    for delivery in deliveries:
        delivery.join(max(0.0, end_seconds - time.monotonic()))
