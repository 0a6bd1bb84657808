"""Several sources that hear one device."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from dasvdd_runtime.sources.base import Block, SourceLost
from dasvdd_runtime.sources.shared import SharedDevice, SharedSource

RATE_HZ = 1000.0


class Counter:
    """A device in real time: channel c of sample i is i + c / 10. It can be unplugged."""

    live = True
    sample_rate_hz = RATE_HZ
    opened = 0
    open_now = 0

    def __init__(self, channels: int, plugged: threading.Event) -> None:
        self.channels = channels
        self._plugged = plugged
        self._next = 0
        self._is_open = False

    def open(self) -> None:
        if not self._plugged.is_set():
            raise SourceLost("not plugged in")
        Counter.opened += 1
        Counter.open_now += 1
        self._is_open = True

    def read(self) -> Block:
        assert self._is_open
        time.sleep(0.01)
        if not self._plugged.is_set():
            raise SourceLost("unplugged")
        first, self._next = self._next, self._next + 10
        rows = np.arange(first, self._next, dtype=np.float32)[:, None]
        return Block(rows + np.arange(self.channels, dtype=np.float32) / 10)

    def close(self) -> None:
        Counter.open_now -= self._is_open
        self._is_open = False


@pytest.fixture
def plugged() -> threading.Event:
    """Set while the device is there."""
    Counter.opened = Counter.open_now = 0
    event = threading.Event()
    event.set()
    return event


def sources(plugged: threading.Event, *channels: int) -> list[SharedSource]:
    device = SharedDevice(lambda count: Counter(count, plugged))
    return [SharedSource(device, sample_rate_hz=RATE_HZ, channels=count) for count in channels]


def read_samples(source: SharedSource, samples: int, into: list[np.ndarray]) -> None:
    heard = 0
    while heard < samples:
        block = source.read()
        assert block is not None
        into.append(block.samples)
        heard += len(block.samples)


def heard_at_once(group: list[SharedSource], samples: int) -> list[np.ndarray]:
    """What each source hears, read by a thread each."""
    heard: list[list[np.ndarray]] = [[] for _ in group]
    threads = [
        threading.Thread(target=read_samples, args=(source, samples, into))
        for source, into in zip(group, heard, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    return [np.concatenate(pieces) for pieces in heard]


def test_every_source_hears_every_sample_once(plugged: threading.Event) -> None:
    """Four threads read one device: each gets its channels of the whole stream, in order, none starves."""
    group = sources(plugged, 3, 1, 2, 3)
    for source in group:
        source.open()
    for source, heard in zip(group, heard_at_once(group, 500), strict=True):
        first = heard[0, 0]
        expected = np.arange(first, first + len(heard))[:, None] + np.arange(source.channels) / 10
        np.testing.assert_allclose(heard, expected, rtol=1e-6)
    assert Counter.opened == 1
    for source in group:
        source.close()
    assert Counter.open_now == 0


def test_an_unplugged_device_is_lost_for_all_and_opened_once_again(plugged: threading.Event) -> None:
    """Each source is told why, none hears anything until the device is back, and one open serves all."""
    group = sources(plugged, 1, 1)
    for source in group:
        source.open()
    plugged.clear()
    for source in group:
        with pytest.raises(SourceLost, match="unplugged"):
            source.read()
        with pytest.raises(SourceLost, match="not plugged in"):
            source.open()
    plugged.set()
    for source in group:
        source.open()
    assert [len(heard) for heard in heard_at_once(group, 50)] == [50, 50]
    assert (Counter.opened, Counter.open_now) == (2, 1)


def test_a_later_source_that_needs_more_channels_opens_the_device_anew(plugged: threading.Event) -> None:
    """The other one is told, opens it again, and hears on beside the new one."""
    device = SharedDevice(lambda count: Counter(count, plugged))
    narrow = SharedSource(device, sample_rate_hz=RATE_HZ, channels=1)
    narrow.open()
    narrow.read()
    wide = SharedSource(device, sample_rate_hz=RATE_HZ, channels=2)
    wide.open()
    with pytest.raises(SourceLost, match="2 channels for another source"):
        narrow.read()
    narrow.open()
    first, second = heard_at_once([narrow, wide], 50)
    assert (first.shape[1], second.shape[1], Counter.open_now) == (1, 2, 1)


def test_a_device_that_does_not_answer_is_told_to_both(
    plugged: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One source wants more channels while the device holds the other in a read: each is told why it hears nothing."""
    monkeypatch.setattr("dasvdd_runtime.sources.shared.READ_SECONDS", 0.05)
    held, reading = threading.Event(), threading.Event()

    class Slow(Counter):
        def read(self) -> Block:
            reading.set()
            held.wait(5)
            return super().read()

    device = SharedDevice(lambda count: Slow(count, plugged))
    narrow = SharedSource(device, sample_rate_hz=RATE_HZ, channels=1)
    narrow.open()
    reader = threading.Thread(target=narrow.read)
    reader.start()
    reading.wait(5)
    wide = SharedSource(device, sample_rate_hz=RATE_HZ, channels=2)
    with pytest.raises(SourceLost, match="has not answered"):
        wide.open()
    held.set()
    reader.join(5)
    with pytest.raises(SourceLost, match="2 channels for another source"):
        narrow.read()


def test_a_device_outlives_the_source_that_opened_it(plugged: threading.Event) -> None:
    """The first of two goes, as in a reload; the second hears on without a gap."""
    first, second = sources(plugged, 1, 1)
    first.open()
    second.open()
    first.read()
    first.close()
    heard: list[np.ndarray] = []
    read_samples(second, 50, heard)
    np.testing.assert_array_equal(np.concatenate(heard)[:, 0], np.arange(50))
    assert Counter.opened == 1
