"""The thread that reads a source, and the queue between it and scoring."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from dasvdd_runtime.errors import DataError
from dasvdd_runtime.running.capture import Capture
from dasvdd_runtime.running.message_queue import Ended, Message, MessageQueue, Missing, Samples
from dasvdd_runtime.sources.base import Block, Source, SourceLost
from numpy.typing import NDArray


def queue(*, live: bool, rate_hz: float = 10.0) -> MessageQueue:
    return MessageQueue(sample_rate_hz=rate_hz, live=live, wake=threading.Event())


def block(value: float, samples: int = 40) -> Samples:
    return Samples(np.full((samples, 1), value, np.float32))


def test_a_full_live_queue_drops_the_oldest_and_says_how_many() -> None:
    """Of 160 samples, the 10 s at 10 Hz that may wait are kept, and the first kept block tells of the 80 before it."""
    messages = queue(live=True)
    messages.put(Missing("gone"))
    for value in range(4):
        messages.put(block(value))
    missing, *kept = messages.take_all()
    assert isinstance(missing, Missing)
    assert [message.samples[0, 0] for message in kept if isinstance(message, Samples)] == [2, 3]
    first = kept[0]
    assert isinstance(first, Samples)
    assert (first.gap, first.dropped, first.lost) == (True, 80, 0)
    assert messages.take_all() == []


def test_losses_before_dropped_samples_are_not_forgotten() -> None:
    """A gap that was reported with a block survives the block."""
    messages = queue(live=True)
    messages.put(Samples(np.zeros((60, 1), np.float32), gap=True, lost=7))
    messages.put(Samples(np.zeros((60, 1), np.float32), gap=True, lost=2))
    (kept,) = messages.take_all()
    assert isinstance(kept, Samples)
    assert (kept.gap, kept.lost, kept.dropped) == (True, 9, 60)


class ListSource:
    """Plays a script: blocks are given, exceptions are raised, and a float is a time to wait."""

    sample_rate_hz = 10.0

    def __init__(self, script: list[NDArray[np.float32] | Exception | None], *, live: bool) -> None:
        self.live = live
        self.opened = 0
        self.reads = 0
        self._script = script

    def open(self) -> None:
        self.opened += 1

    def read(self) -> Block | None:
        self.reads += 1
        if not self._script:
            time.sleep(0.01)
            return Block(np.empty((0, 1), np.float32))
        step = self._script.pop(0)
        if isinstance(step, Exception):
            raise step
        return None if step is None else Block(step)

    def close(self) -> None:
        pass


def gather(capture: Capture, *, until: type[Message], seconds: float = 10.0) -> list[Message]:
    """Messages up to the first of type `until` after a sample, or all of `seconds`."""
    messages: list[Message] = []
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not any(isinstance(message, until) for message in messages):
        messages += capture.take_all()
        time.sleep(0.01)
    return messages


def start(source: Source, *, stall_seconds: float = 5.0) -> Capture:
    capture = Capture(source, name="test", stall_seconds=stall_seconds, wake=threading.Event())
    capture.start()
    return capture


def stop(capture: Capture) -> None:
    capture.request_stop()
    assert capture.join()


def test_nothing_is_dropped_from_a_source_that_can_wait() -> None:
    """A file is read no further than a few blocks ahead, and every block arrives in order."""
    source = ListSource([np.full((1000, 1), i, np.float32) for i in range(50)] + [None], live=False)
    capture = start(source)
    time.sleep(0.3)
    assert source.reads <= 6
    messages = gather(capture, until=Ended)
    stop(capture)
    assert [m.samples[0, 0] for m in messages if isinstance(m, Samples)] == list(range(50))
    assert messages[-1] == Ended(None)


def test_a_fault_ends_a_finite_source_and_is_handed_on() -> None:
    """A damaged file is not opened again."""
    fault = DataError("truncated")
    source = ListSource([np.ones((5, 1), np.float32), fault], live=False)
    capture = start(source)
    messages = gather(capture, until=Ended)
    stop(capture)
    assert messages[-1] == Ended(fault)
    assert source.opened == 1


@pytest.mark.parametrize(
    ("fault", "reason", "traced"),
    [
        (SourceLost("unplugged"), "unplugged", False),
        (OSError(24, "Too many open files"), "Too many open files", False),
        (ValueError("driver nonsense"), "ValueError: driver nonsense", True),
    ],
    ids=["lost", "system", "driver"],
)
def test_a_live_source_that_fails_is_opened_again(
    fault: Exception, reason: str, traced: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever a driver raises: MISSING with the reason, then samples again, marked as after a gap with its length.

    The log has a traceback of faults in code alone.
    """
    ones = np.ones((5, 1), np.float32)
    source = ListSource([ones, fault, ones * 2], live=True)
    begin = time.monotonic()
    capture = start(source)
    messages = gather(capture, until=Missing) + gather(capture, until=Samples)
    stop(capture)
    before, missing, after = messages
    assert isinstance(before, Samples)
    assert not before.gap
    assert missing == Missing(reason)
    assert any(record.exc_info for record in caplog.records) == traced
    assert isinstance(after, Samples)
    assert after.gap
    assert 5 <= after.lost <= 10 * (time.monotonic() - begin)  # away for one second and more; 10 samples a second


def test_a_live_source_that_gives_nothing_is_opened_again() -> None:
    """A device that hangs without an error is closed and opened once it has given nothing for too long."""
    source = ListSource([np.ones((5, 1), np.float32)], live=True)
    capture = start(source, stall_seconds=0.1)
    time.sleep(0.15)
    assert capture.waiting_seconds() > 0.05
    messages = gather(capture, until=Missing)
    stop(capture)
    assert any(isinstance(message, Missing) and "no samples" in message.reason for message in messages)


def test_a_read_that_never_returns_does_not_hold_up_the_end() -> None:
    """A driver that keeps the thread is seen by its waiting, and joining gives up."""
    release = threading.Event()

    class HangingSource(ListSource):
        def read(self) -> Block | None:
            release.wait()
            return None

    capture = start(HangingSource([], live=True))
    time.sleep(0.2)
    assert capture.waiting_seconds() >= 0.1
    capture.request_stop()
    begin = time.monotonic()
    assert not capture.join()
    assert time.monotonic() - begin < 5.0
    release.set()
    assert capture.join()
