"""One open device for several sources: whichever of them reads first reads for all."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from weakref import WeakValueDictionary

import numpy as np

from .base import WAIT_SECONDS, Block, Source, SourceLost

READ_SECONDS = 1.0
"""No read takes that long, unless its device hangs; below what the end of a capture may take."""


class SharedDevice:
    """The device that several SharedSources hear."""

    def __init__(self, make: Callable[[int], Source]) -> None:
        """`make` gives the device's source, not yet open, with its first so many channels."""
        self._make = make
        self._changed = threading.Condition()
        self._source: Source | None = None
        self._channels = 0
        self._wanted_channels = 0
        self._waiting: dict[SharedSource, deque[Block]] = {}
        """What each open source has not read yet. All read as fast as the device gives, so it stays short."""
        self._reading = False
        self._ended_by = ""

    def reserve(self, channels: int) -> None:
        """Open the device with at least so many channels from now on."""
        with self._changed:
            self._wanted_channels = max(self._wanted_channels, channels)

    def join(self, source: SharedSource) -> None:
        """Open the device, if it is not open with enough channels for `source`. Raises as its own `open` does."""
        with self._changed:
            if self._source is None or self._channels < source.channels:
                self._open_anew()
            self._waiting[source] = deque()

    def read(self, source: SharedSource) -> Block | None:
        """The next block for `source`, with the device's channels. Raises as the device does, for every source."""
        with self._changed:
            if self._reading:
                self._changed.wait(WAIT_SECONDS)
            waiting = self._waiting.get(source)
            if waiting is None or self._source is None:
                raise SourceLost(self._ended_by)
            if waiting:
                return waiting.popleft()
            if self._reading:
                return Block(np.empty((0, self._channels), np.float32))
            device, self._reading = self._source, True
        block: Block | None = None
        fault = "the device gives no more samples; opening it again"
        try:
            block = device.read()
        except Exception as error:
            fault = str(error)
            raise
        finally:
            with self._changed:
                self._reading = False
                if block is None:
                    self._end(fault)
                else:
                    for other, blocks in self._waiting.items():
                        if other is not source:
                            blocks.append(block)
                self._changed.notify_all()
        return block

    def leave(self, source: SharedSource) -> None:
        """`source` hears no more; the last one closes the device."""
        with self._changed:
            self._waiting.pop(source, None)
            if not self._waiting and not self._reading:
                self._end("it was closed")

    def _open_anew(self) -> None:
        """Open the device with as many channels as any source needs. The lock is held."""
        if self._source is not None:
            self._ended_by = f"it is opened again with {self._wanted_channels} channels for another source"
        self._waiting.clear()  # so that nobody reads again
        if not self._changed.wait_for(lambda: not self._reading, timeout=READ_SECONDS):
            raise SourceLost(f"the device has not answered for {READ_SECONDS:g} s")
        self._end(self._ended_by)
        device = self._make(self._wanted_channels)
        try:
            device.open()
        except BaseException:
            device.close()
            raise
        self._source, self._channels = device, self._wanted_channels

    def _end(self, reason: str) -> None:
        """Close the device; whoever reads it from now on is told why. The lock is held."""
        self._waiting.clear()
        if self._source is not None:
            device, self._source, self._ended_by = self._source, None, reason
            device.close()


class SharedSource:
    """The first `channels` channels of a device that other sources may hear, too."""

    live = True

    def __init__(self, device: SharedDevice, *, sample_rate_hz: float, channels: int) -> None:
        self.sample_rate_hz = sample_rate_hz
        self.channels = channels
        self._device = device
        device.reserve(channels)

    def open(self) -> None:
        """Hear the device from now on. Raises SourceLost."""
        self._device.leave(self)
        self._device.join(self)

    def read(self) -> Block | None:
        """The next samples; see Source.read."""
        block = self._device.read(self)
        return None if block is None else replace(block, samples=block.samples[:, : self.channels])

    def close(self) -> None:
        """Hear it no more."""
        self._device.leave(self)


_microphones: WeakValueDictionary[tuple[str, str, float], SharedDevice] = WeakValueDictionary()


def shared_microphone(*, device: str, usb_port: str, sample_rate_hz: float, channels: int) -> SharedSource:
    """A microphone's samples at `sample_rate_hz`; sources of the same device and rate share one stream of it.

    Raises Unavailable where PortAudio is not installed.
    """
    from .microphone import MicrophoneSource, load_portaudio

    load_portaudio()

    def make(count: int) -> Source:
        return MicrophoneSource(device=device, usb_port=usb_port, sample_rate_hz=sample_rate_hz, channels=count)

    key = (device, usb_port, sample_rate_hz)
    shared = _microphones.get(key)
    if shared is None:
        shared = _microphones[key] = SharedDevice(make)
    return SharedSource(shared, sample_rate_hz=sample_rate_hz, channels=channels)
