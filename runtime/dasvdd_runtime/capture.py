"""One thread a source: open, read, close, open again; what arrives waits in a bounded queue."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .condition.loss_meter import LossMeter
from .errors import DasvddError
from .sources.base import Block, Source, SourceLost

log = logging.getLogger(__name__)

QUEUE_SECONDS = 10.0
"""Samples of a live source that may wait, or three windows if that is more; beyond that the oldest are dropped."""
WAITING_BLOCKS = 4
"""Blocks of a source that is not live that may wait; beyond that it is read no further."""
FIRST_RETRY_SECONDS = 1.0
LAST_RETRY_SECONDS = 30.0
STEADY_SECONDS = 30.0
"""A device that gave this much is retried after FIRST_RETRY_SECONDS again; one that flaps is retried ever later."""
LAST_SAMPLES_SECONDS = 0.5
"""Samples that are too few to be worth a turn are taken all the same once no more have come for this long."""
STALL_SAMPLES = 3
"""A source slower than `stall_seconds` is not given up before so many samples are due."""
JOIN_SECONDS = 3.0
ALIVE_SECONDS = 60.0
"""A thread that does not come round for this long hangs in its driver. Above LAST_RETRY_SECONDS."""


@dataclass(frozen=True)
class Samples:
    """Samples that arrived, and what is missing before them."""

    samples: NDArray[np.float32]
    """Shape [samples, channels]."""
    gap: bool = False
    """They do not follow the samples before."""
    lost: int = 0
    """Samples that never arrived."""
    dropped: int = 0
    """Samples that arrived, but were dropped for the queue was full."""


@dataclass(frozen=True)
class Missing:
    """The device went away or cannot be opened; it is tried again."""

    reason: str


@dataclass(frozen=True)
class Ended:
    """There will be no more: the end of the source, or the fault that ended it."""

    error: DasvddError | None = None


Message = Samples | Missing | Ended


class MessageQueue:
    """What a capture thread hands over, in order.

    With `live`, it holds `queue_seconds` of samples and drops the oldest beyond; else `put` waits while WAITING_BLOCKS
    are there, or with `unread_stays` as many samples as it holds. Messages other than samples are never dropped.
    """

    def __init__(
        self,
        *,
        sample_rate_hz: float,
        live: bool,
        wake: threading.Event,
        queue_seconds: float = QUEUE_SECONDS,
        unread_stays: bool = False,
    ) -> None:
        self._live = live
        self._unread_stays = unread_stays
        self._drops = live and not unread_stays
        self._most_samples = round(queue_seconds * sample_rate_hz)
        self._messages: deque[Message] = deque()
        self._samples = 0
        self._others = 0
        self._due_samples = 1
        self._changed = threading.Condition()
        self._closed = False
        self._wake = wake

    def put(self, message: Message) -> None:
        """Add `message`, and set `wake` if that is worth it (see `wake_at`)."""
        with self._changed:
            if not self._live:
                self._changed.wait_for(lambda: self._closed or len(self._messages) < WAITING_BLOCKS)
            elif self._unread_stays:
                self._changed.wait_for(lambda: self._closed or self._samples < self._most_samples)
            self._messages.append(message)
            if isinstance(message, Samples):
                self._samples += len(message.samples)
            else:
                self._others += 1
            while self._drops and self._samples > self._most_samples and self._drop_oldest():
                pass
        if self.is_due():
            self._wake.set()

    def take_all(self) -> list[Message]:
        """Everything that waits."""
        with self._changed:
            messages, self._messages = list(self._messages), deque()
            self._samples = self._others = 0
            self._changed.notify_all()
        return messages

    def is_due(self) -> bool:
        """As many samples wait as were asked for, or a message of another kind does, or the source waits for room."""
        return self._samples >= self._due_samples or self._others > 0 or (not self._live and bool(self._messages))

    @property
    def is_empty(self) -> bool:
        """Nothing waits."""
        return not self._messages

    def wake_at(self, samples: int) -> None:
        """Set `wake` only once `samples` wait, or a message of another kind."""
        self._due_samples = max(1, samples)
        if self.is_due():
            self._wake.set()

    def close(self) -> None:
        """Let `put` wait no longer."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _drop_oldest(self) -> bool:
        """Drop the oldest samples, of which the next ones tell; False if there are none to spare."""
        at = [i for i, message in enumerate(self._messages) if isinstance(message, Samples)][:2]
        if len(at) < 2:
            return False
        oldest, following = (self._messages[i] for i in at)
        assert isinstance(oldest, Samples) and isinstance(following, Samples)
        self._messages[at[1]] = Samples(
            following.samples,
            gap=True,
            lost=oldest.lost + following.lost,
            dropped=oldest.dropped + len(oldest.samples) + following.dropped,
        )
        self._samples -= len(oldest.samples)
        del self._messages[at[0]]
        return True


class Capture:
    """The thread that owns one source."""

    def __init__(
        self,
        source: Source,
        *,
        name: str,
        stall_seconds: float,
        wake: threading.Event,
        queue_seconds: float = QUEUE_SECONDS,
        unread_stays: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`wake` is set whenever something arrives; `queue_seconds` of a live source's samples may wait.

        `unread_stays`: what is not read yet waits where it is, so that the source waits and nothing is dropped.

        A live source that gives no samples for twice `stall_seconds`, or twice three samples, is opened again.
        """
        self.name = name
        self.sample_rate_hz = source.sample_rate_hz
        self._source = source
        self._give_up_seconds = 2 * max(stall_seconds, STALL_SAMPLES / source.sample_rate_hz)
        self._clock = clock
        self._loss = LossMeter(source.sample_rate_hz)
        self._stop = threading.Event()
        self._queue = MessageQueue(
            sample_rate_hz=source.sample_rate_hz,
            live=source.live,
            wake=wake,
            queue_seconds=queue_seconds,
            unread_stays=unread_stays,
        )
        self._thread = threading.Thread(target=self._run, name=f"capture {name}", daemon=True)
        self._waiting_since: float | None = None
        self._reopened = False
        self._heard_seconds = 0.0
        self._came_round_seconds = clock()

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def request_stop(self) -> None:
        """Ask the thread to end after the read that it is in."""
        self._stop.set()
        self._queue.close()

    def join(self) -> bool:
        """Wait for the end of the thread, JOIN_SECONDS at most; False if a device holds it."""
        if self._thread.ident is not None:
            self._thread.join(JOIN_SECONDS)
        return not self._thread.is_alive()

    def take_all(self) -> list[Message]:
        """What has arrived since the last call."""
        return self._queue.take_all()

    def is_due(self) -> bool:
        """It is worth taking what has arrived (see `wake_at`): also the last few samples, once no more follow."""
        return self._queue.is_due() or (self.waiting_seconds() >= LAST_SAMPLES_SECONDS and not self._queue.is_empty)

    def wake_at(self, samples: int) -> None:
        """Set `wake` only once `samples` have arrived, or news of another kind."""
        self._queue.wake_at(samples)

    def waiting_seconds(self) -> float:
        """For how long the open source has given no samples; 0 while it is closed or its queue is full."""
        since = self._waiting_since
        return 0.0 if since is None else max(0.0, self._clock() - since)

    @property
    def live(self) -> bool:
        """Samples come by the clock, whether or not they are read."""
        return self._source.live

    @property
    def drift_ppm(self) -> float | None:
        """By how much the device's clock is faster than this machine's; None until it is known."""
        return self._loss.drift_ppm

    @property
    def alive(self) -> bool:
        """The thread goes on: it has come round within ALIVE_SECONDS, or waits before it opens the device again."""
        return self._clock() - self._came_round_seconds < ALIVE_SECONDS

    def _run(self) -> None:
        retry_seconds = FIRST_RETRY_SECONDS
        while not self._stop.is_set():
            self._heard_seconds = 0.0
            fault = self._session()
            if self._stop.is_set():
                return
            if not self._source.live:
                self._queue.put(Ended(fault))
                return
            if self._heard_seconds >= STEADY_SECONDS:
                retry_seconds = FIRST_RETRY_SECONDS
            self._queue.put(Missing(str(fault) if fault else "the device gives no samples; opening it again"))
            self._stop.wait(retry_seconds)
            retry_seconds = min(2 * retry_seconds, LAST_RETRY_SECONDS)
            self._loss.reopened()

    def _session(self) -> DasvddError | None:
        """From open to close; returns the fault that ended it."""
        self._waiting_since = self._came_round_seconds = self._clock()
        try:
            self._source.open()
            self._read_to_end()
        except DasvddError as error:
            return error
        except Exception as error:  # whatever a device's library raises must not end monitoring
            log.exception("source '%s'", self.name)
            return SourceLost(f"{type(error).__name__}: {error}")
        finally:
            self._waiting_since = None
            try:
                self._source.close()
            except Exception:
                log.exception("source '%s' does not close", self.name)
        return None

    def _read_to_end(self) -> None:
        """Hand over samples until the source ends, gives none for too long, or a stop is asked for."""
        reopened = self._reopened
        self._reopened = True
        waiting_since = self._clock()
        while not self._stop.is_set():
            self._waiting_since = waiting_since
            block = self._source.read()
            now = self._came_round_seconds = self._clock()
            if block is None:
                return
            if len(block.samples):
                self._waiting_since = None
                lost = self._lost_before(block, now)
                gap = reopened or block.overflowed or lost > 0
                self._queue.put(Samples(block.samples, gap=gap, lost=lost))
                reopened, waiting_since = False, self._clock()
                self._heard_seconds += len(block.samples) / self._source.sample_rate_hz
            elif self._source.live and now - waiting_since >= self._give_up_seconds:
                return

    def _lost_before(self, block: Block, now_seconds: float) -> int:
        if block.lost is not None:
            return block.lost
        return self._loss.arrived(now_seconds, len(block.samples)) if self._source.live else 0
