"""Events that wait until their receivers have them: on the disk, and in memory while the disk does not take them."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from ..errors import ConfigError
from ..events import Event, events_dropped, outbox_reset, to_json, with_id
from ..files import is_full_disk
from ..running.snapshot import Standing
from ..state.database_faults import is_damage, put_aside
from .outbox_faults import refuse_for_good
from .outbox_store import OutboxStore, Receiver, Row, without_excess

log = logging.getLogger(__name__)

FILE_NAME = "outbox.db"
BATCH_SECONDS = 5.0
"""Telemetry and the receivers' progress are put on the disk at the latest so long after: what nobody has lost yet, and
what a restart would only deliver twice."""
BATCH_ROWS = 500
RETRY_SECONDS = 1.0
"""Least time between two attempts at a disk that does not take what is written."""
REPORT_SECONDS = 60.0
"""Least time between two events that tell of events dropped."""
MEMORY_EVENTS, MEMORY_BYTES = 10_000, 8_000_000
"""What is kept in memory while the disk takes nothing."""
ROOM = 0.9
"""Events dropped are told of once the outbox is no fuller than this, so that the telling drops none."""
BEFORE_OPENING = -(1 << 62)
"""Ids begin here, far below 0, until the file has been opened, for only the file tells which ids are taken.

Those in the file are 1 and up, so that no acknowledgement of a row in memory can count as one of a row in the file. At
the opening, what waits in memory is numbered anew, behind the file's last row (see `_adopt`)."""


class Outbox:
    """A sink whose receivers read from it, each at its own pace, in order and at least once.

    Its methods may be called from any thread. None but the constructor raises.
    """

    def __init__(
        self,
        folder: Path,
        receivers: Mapping[str, bool],
        *,
        max_events: int,
        max_bytes: int,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`receivers`: by name, whether it takes score telemetry as well.

        Raises ConfigError if the folder cannot be written or another process holds its outbox. A full disk and a
        damaged file are no reason not to monitor.
        """
        self._path = folder / FILE_NAME
        self._limits = {"max_events": max_events, "max_bytes": max_bytes}
        self._clock = clock
        self._now = now
        self._lock = threading.Lock()
        self._receivers = {name: Receiver(telemetry, BEFORE_OPENING) for name, telemetry in receivers.items()}
        self._next_id = BEFORE_OPENING + 1
        self._pending: list[Row] = []
        self._pending_bytes = 0
        self._moved = False  # cursors or counts differ from those stored
        self._due_seconds = float("inf")
        self._retry_seconds = self._report_seconds = -float("inf")
        self._faulty = self._closed = self._adopted = False
        self._store: OutboxStore | None = None
        try:
            self._open()
        except OSError as error:
            if not is_full_disk(error):
                raise ConfigError(f"[outbox] folder: {folder} cannot be written: {error.strerror}") from error
            self._fail(error)
        except sqlite3.Error as error:
            refuse_for_good(self._path, error)
            self._fail(error)
        if self._pending:
            self._commit()

    def use(self, receivers: Mapping[str, bool], *, max_events: int, max_bytes: int) -> None:
        """These receivers and limits from now on. A receiver that is new begins with what comes next."""
        with self._lock:
            self._limits.update(max_events=max_events, max_bytes=max_bytes)
            if self._store is not None:
                self._store.use_limits(**self._limits)
            new, old = Receiver(False, self._next_id - 1), self._receivers
            self._receivers = {name: replace(old.get(name, new), telemetry=wants) for name, wants in receivers.items()}
            self._moved = True
            self._commit()

    def write(self, line: str, *, durable: bool) -> bool:
        """Keep `line`; `durable`: on the disk itself when this returns, unless the disk takes nothing.

        False where there is no receiver for it.
        """
        with self._lock:
            if self._closed or not (durable or any(receiver.telemetry for receiver in self._receivers.values())):
                return False
            if self._clock() >= self._due_seconds:
                self._commit()
            self._append(line, durable=durable)
            if durable or len(self._pending) >= BATCH_ROWS:
                self._commit()
        return True

    def read(self, name: str, *, most: int) -> list[Row]:
        """The first `most` rows that the receiver `name` has not acknowledged, in order; none if there are none."""
        with self._lock:
            if self._closed or name not in self._receivers:
                return []
            if self._clock() >= self._due_seconds:
                self._commit()
            receiver = self._receivers[name]
            rows: list[Row] = []
            if self._store is not None and self._store.rows:
                try:
                    rows = self._store.after(receiver, most=most)
                except sqlite3.Error as error:
                    self._begin_anew(error)
                    return []
            rows += [row for row in self._pending if receiver.wants(row)][: most - len(rows)]
            if not rows and receiver.cursor < self._next_id - 1:  # the rest is telemetry, and not for it
                self._update(name, replace(receiver, cursor=self._next_id - 1))
            return rows

    def acknowledge(self, name: str, row_id: int) -> None:
        """The receiver `name` has everything up to the row `row_id`."""
        with self._lock:
            receiver = self._receivers.get(name)
            if receiver is not None and row_id > receiver.cursor:
                self._update(name, replace(receiver, cursor=row_id))

    def refuse(self, name: str, row_id: int) -> None:
        """The receiver `name` will not take the row `row_id`, and has all before it."""
        with self._lock:
            receiver = self._receivers.get(name)
            if receiver is not None:
                self._update(name, replace(receiver, cursor=max(row_id, receiver.cursor), refused=receiver.refused + 1))

    def waiting(self, name: str) -> int:
        """How many rows the receiver `name` has not acknowledged, at most. Does not wait for the disk."""
        store, receiver = self._store, self._receivers.get(name)
        kept = len(self._pending) + (0 if store is None else store.rows)
        return 0 if receiver is None else max(0, min(kept, self._next_id - 1 - receiver.cursor))

    def standings(self) -> dict[str, Standing]:
        """How each receiver stands. Does not wait for the disk."""
        receivers = self._receivers.items()
        return {name: Standing(self.waiting(name), receiver.all_losses) for name, receiver in receivers}

    def close(self) -> None:
        """Put everything on the disk; what is not delivered goes out after the next start."""
        with self._lock:
            self._retry_seconds = -float("inf")
            self._commit()
            self._closed = True
            unwritten = sum(row.durable for row in self._pending)
            if unwritten:
                log.error("%s: %d events that the disk does not take are lost", self._path, unwritten)
            if self._store is not None:
                self._store.close()

    def _append(self, line: str, *, durable: bool) -> None:
        self._pending.append(Row(self._next_id, durable, line))
        self._pending_bytes += len(line)
        self._next_id += 1
        self._due_seconds = min(self._due_seconds, self._clock() + BATCH_SECONDS)

    def _update(self, name: str, receiver: Receiver) -> None:
        self._receivers[name] = receiver
        self._moved = True
        self._due_seconds = min(self._due_seconds, self._clock() + BATCH_SECONDS)

    def _commit(self) -> None:
        """Store what somebody still has to get, and how far each has come."""
        self._report_losses()
        self._keep([row for row in self._pending if any(r.wants(row) for r in self._receivers.values())])
        self._due_seconds = self._clock() + BATCH_SECONDS if self._losses() else float("inf")
        nothing_stored = self._store is not None and not self._store.rows
        if not self._pending and (nothing_stored or not self._moved):
            return  # what is on the disk would not be delivered again
        self._due_seconds = self._clock() + BATCH_SECONDS
        if self._clock() < self._retry_seconds:
            self._bound_memory()
            return
        try:
            if self._store is not None and not self._store.is_in_place:
                self._take_back(self._store)
            if self._store is None:
                self._open()
            assert self._store is not None
            durable = any(row.durable for row in self._pending)
            self._receivers = self._store.commit(self._pending, self._receivers, durable=durable)
        except (sqlite3.Error, OSError) as error:
            if is_damage(error):
                self._begin_anew(error)
            else:
                self._fail(error)
            return
        self._keep([])
        self._moved = False
        if not self._losses():
            self._due_seconds = float("inf")
        if self._faulty:
            self._faulty = False
            log.warning("%s: written to again", self._path)

    def _keep(self, rows: list[Row]) -> None:
        """Make `rows` what waits in memory."""
        self._pending = rows
        self._pending_bytes = sum(len(row.line) for row in rows)

    def _bound_memory(self) -> None:
        """Drop from memory what is too much."""
        if len(self._pending) > MEMORY_EVENTS or self._pending_bytes > MEMORY_BYTES:
            kept, dropped = without_excess(self._pending, max_events=MEMORY_EVENTS, max_bytes=MEMORY_BYTES)
            self._keep(kept)
            self._receivers = {name: receiver.without(dropped) for name, receiver in self._receivers.items()}
            self._moved = True

    def _losses(self) -> dict[str, dict[str, int]]:
        """What has been dropped and not been told, by receiver."""
        return {name: receiver.losses for name, receiver in self._receivers.items() if any(receiver.losses.values())}

    def _report_losses(self) -> None:
        """Add an event that tells what was dropped, once there is room for it."""
        losses = self._losses()
        if not losses or self._faulty or self._store is None or self._clock() < self._report_seconds:
            return
        if self._store.rows > ROOM * self._limits["max_events"] or self._store.bytes > ROOM * self._limits["max_bytes"]:
            return
        self._report_seconds = self._clock() + REPORT_SECONDS
        for name, count in losses.items():
            log.error("%s never got %d events and %d scores, and refused %d", name, *count.values())
        self._receivers = {name: receiver.after_telling() for name, receiver in self._receivers.items()}
        self._tell(events_dropped(losses))

    def _tell(self, event: Event) -> None:
        self._append(to_json(with_id(event), now=self._now()), durable=True)

    def _open(self) -> None:
        """Open the file; move it aside and begin anew if it is damaged."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            store = OutboxStore(self._path, **self._limits)
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
            self._move_aside(error)
            store = OutboxStore(self._path, **self._limits)
        try:
            if not self._adopted:
                self._adopt(store)
        except BaseException:
            store.close()
            raise
        self._store = store

    def _adopt(self, store: OutboxStore) -> None:
        """Go on where the process before came to: its rows come first, then those in memory."""
        stored = store.receivers({name: receiver.telemetry for name, receiver in self._receivers.items()})
        self._receivers = {name: stored[name].adding_losses(receiver) for name, receiver in self._receivers.items()}
        first_id = store.highest_id() + 1
        self._keep([row._replace(id=first_id + i) for i, row in enumerate(self._pending)])
        self._next_id = first_id + len(self._pending)
        self._adopted = True

    def _begin_anew(self, error: Exception) -> None:
        """Replace a file that cannot be read, so that what comes from now on is delivered."""
        try:
            if self._store is not None:
                self._store.close()
                self._store = None
            self._move_aside(error)
            self._open()
        except (sqlite3.Error, OSError) as second:
            self._fail(second)

    def _take_back(self, store: OutboxStore) -> None:
        """Have in memory again what waits in a file that somebody has removed, for a new one."""
        log.error("%s was removed or replaced by another program: begun anew with what waits", self._path)
        cursors = [receiver.cursor for receiver in self._receivers.values()]
        waiting = store.after(Receiver(True, min(cursors, default=0)), most=store.rows)
        self._store = None
        store.close()
        self._keep(waiting + self._pending)

    def _move_aside(self, error: Exception) -> None:
        target = put_aside(self._path, self._now())
        log.error(
            "%s is damaged (%s): moved to %s and begun anew; its events are not delivered", *(self._path, error, target)
        )
        self._tell(outbox_reset(reason=str(error), moved_to=target.name))

    def _fail(self, error: Exception) -> None:
        """Go on from memory until the next attempt."""
        self._retry_seconds = self._clock() + RETRY_SECONDS
        if not self._faulty:
            self._faulty = True
            log.error("%s: %s; events are kept in memory until it can be written", self._path, error)
        self._bound_memory()
