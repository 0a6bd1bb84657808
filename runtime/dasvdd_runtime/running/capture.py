"""One thread a source: open, read, close, open again; what arrives waits in a bounded queue."""

from __future__ import annotations

import logging
import threading
import time

from ..condition.loss_meter import LossMeter
from ..errors import DasvddError
from ..logs import about
from ..sources.base import Block, Source, SourceLost, why_missing
from .message_queue import QUEUE_SECONDS, Ended, Message, MessageQueue, Missing, Samples

log = logging.getLogger(__name__)

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
    ) -> None:
        """`wake` is set whenever something arrives; `queue_seconds` of a live source's samples may wait.

        `unread_stays`: what is not read yet waits where it is, so that the source waits and nothing is dropped.

        A live source that gives no samples for twice `stall_seconds`, or twice three samples, is opened again.
        """
        self.name = name
        self.sample_rate_hz = source.sample_rate_hz
        self._source = source
        self._give_up_seconds = 2 * max(stall_seconds, STALL_SAMPLES / source.sample_rate_hz)
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
        self._came_round_seconds = time.monotonic()

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
        """It is worth taking what has arrived: as much as `wake_at` asked for, news of another kind, any of a replay.

        Less of a live source is due once no more has come for LAST_SAMPLES_SECONDS, so that it does not wait for ever.
        """
        return self._queue.is_due() or (self.waiting_seconds() >= LAST_SAMPLES_SECONDS and not self._queue.is_empty)

    def wake_at(self, samples: int) -> None:
        """Set `wake` only once `samples` have arrived, or news of another kind.

        Where the next window lacks 8000 samples, blocks of 1000 that arrive then wake the thread that scores once, at
        the eighth, and not eight times. It holds until it is called again.
        """
        self._queue.wake_at(samples)

    def waiting_seconds(self) -> float:
        """For how long the open source has given no samples; 0 while it is closed or its queue is full."""
        since = self._waiting_since
        return 0.0 if since is None else max(0.0, time.monotonic() - since)

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
        return time.monotonic() - self._came_round_seconds < ALIVE_SECONDS

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
            self._queue.put(Missing(why_missing(fault) if fault else "the device gives no samples; opening it again"))
            self._stop.wait(retry_seconds)
            retry_seconds = min(2 * retry_seconds, LAST_RETRY_SECONDS)
            self._loss.reopened()

    def _session(self) -> DasvddError | None:
        """From open to close; returns the fault that ended it."""
        self._waiting_since = self._came_round_seconds = time.monotonic()
        try:
            self._source.open()
            self._read_to_end()
        except DasvddError as error:
            return error
        except OSError as error:  # of the system, such as too many open files: it passes
            return SourceLost(error.strerror or str(error))
        except Exception as error:  # whatever a device's library raises must not end monitoring
            log.exception("source '%s'", self.name, extra=about(self.name))
            return SourceLost(f"{type(error).__name__}: {error}")
        finally:
            self._waiting_since = None
            try:
                self._source.close()
            except Exception:
                log.exception("source '%s' does not close", self.name, extra=about(self.name))
        return None

    def _read_to_end(self) -> None:
        """Hand over samples until the source ends, gives none for too long, or a stop is asked for."""
        reopened = self._reopened
        self._reopened = True
        waiting_since = time.monotonic()
        while not self._stop.is_set():
            self._waiting_since = waiting_since
            block = self._source.read()
            now = self._came_round_seconds = time.monotonic()
            if block is None:
                return
            if len(block.samples):
                self._waiting_since = None
                lost = self._lost_before(block, now)
                gap = block.overflowed or lost > 0 or (reopened and block.lost is None)
                self._queue.put(Samples(block.samples, gap=gap, lost=lost))
                reopened, waiting_since = False, time.monotonic()
                self._heard_seconds += len(block.samples) / self._source.sample_rate_hz
            elif self._source.live and now - waiting_since >= self._give_up_seconds:
                return

    def _lost_before(self, block: Block, now_seconds: float) -> int:
        if block.lost is not None:
            return block.lost
        return self._loss.arrived(now_seconds, len(block.samples)) if self._source.live else 0
