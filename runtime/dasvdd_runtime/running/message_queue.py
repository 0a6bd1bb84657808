"""What a capture thread hands over to the thread that scores, and the bounded queue where it waits."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..errors import DasvddError

QUEUE_SECONDS = 10.0
"""Samples of a live source that may wait, or three windows if that is more; beyond that the oldest are dropped."""
WAITING_BLOCKS = 4
"""Blocks of a source that is not live that may wait; beyond that it is read no further."""
BURST_TIMES = 2.0
"""What fills the queue so much faster than the clock is a burst, whatever the scoring does."""


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
    burst: bool = False
    """They were dropped since samples came faster than the clock, not since they waited for long."""


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

    What happens when it is full depends on the source. A microphone (`live`) goes on whether or not it is read: beyond
    `queue_seconds` of samples, 10 s say, the oldest are dropped. Of a file that grows (`live` and `unread_stays`) what
    is not read stays in the file: `put` waits while so many samples are there. A replay or a pipe (not `live`) waits
    as well, already while WAITING_BLOCKS are there. Messages other than samples are never dropped.
    """

    def __init__(
        self,
        *,
        sample_rate_hz: float,
        live: bool,
        wake: threading.Event,
        queue_seconds: float = QUEUE_SECONDS,
        unread_stays: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._rate_hz = sample_rate_hz
        self._arrived = 0
        """Samples since all was taken, those that were dropped included."""
        self._arriving_since_seconds = 0.0
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
                if not self._arrived:
                    self._arriving_since_seconds = self._clock()
                self._arrived += len(message.samples)
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
            self._samples = self._others = self._arrived = 0
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
            burst=self._arrived / self._rate_hz > BURST_TIMES * (self._clock() - self._arriving_since_seconds),
        )
        self._samples -= len(oldest.samples)
        del self._messages[at[0]]
        return True


def joined(messages: list[Message]) -> list[Message]:
    """`messages` with samples that follow each other in one piece, so that a turn of the service costs little. Pure."""
    shorter: list[Message] = []
    run: list[Samples] = []
    for message in [*messages, None]:
        if run and not (isinstance(message, Samples) and not message.gap):
            first = run[0]
            whole = first.samples if len(run) == 1 else np.concatenate([part.samples for part in run])
            shorter.append(replace(first, samples=whole))
            run = []
        if isinstance(message, Samples):
            run.append(message)
        elif message is not None:
            shorter.append(message)
    return shorter
