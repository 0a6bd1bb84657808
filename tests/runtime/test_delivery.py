"""The thread that takes events from the outbox to a receiver."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from dasvdd_runtime.sinks.delivery import Delivery, DeliveryFailed
from dasvdd_runtime.sinks.outbox import Outbox
from scraping import wait_until


class Down:
    """A receiver that takes no connection."""

    name, batch = "w", 1

    def __init__(self) -> None:
        self.connects = 0

    def connect(self) -> None:
        self.connects += 1
        raise DeliveryFailed("down")

    def deliver(self, *_: Any, **__: Any) -> None:
        pytest.fail("nothing can be delivered")

    def hand_over(self, successor: Any) -> None:
        pass

    def close(self) -> None:
        pass


class TakenAtOnce:
    """A queue whose `put` returns only once the delivery's thread has taken what was put, and tried it."""

    def __init__(self, delivery: Delivery) -> None:
        self._delivery, self._queue = delivery, delivery._successors

    def put(self, publisher: Down) -> None:
        self._queue.put(publisher)  # type: ignore[arg-type]
        self._delivery._interrupted.set()  # as a `use` just before does
        wait_until(lambda: publisher.connects > 0)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._queue, name)


def test_a_receiver_that_is_down_is_waited_for_whenever_its_successor_is_taken(tmp_path: Path) -> None:
    """A successor that the thread takes before `use` has returned leaves no retry without its wait."""
    outbox = Outbox(tmp_path, {"w": False}, max_events=10, max_bytes=100_000)
    first, second, third = Down(), Down(), Down()
    delivery = Delivery(outbox, first)
    delivery.start()
    wait_until(lambda: first.connects > 0)
    began = time.monotonic()
    delivery.use(second)
    wait_until(lambda: second.connects > 0)
    assert time.monotonic() - began < 0.7, "a successor is not waited for"
    delivery._successors = TakenAtOnce(delivery)  # type: ignore[assignment]
    delivery.use(third)
    time.sleep(0.5)
    assert third.connects <= 2
    delivery.request_stop()
    assert delivery.join(2.0)
    outbox.close()
