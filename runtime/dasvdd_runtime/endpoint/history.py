"""The last ten minutes of every source, a point a second, in rings that never grow."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..condition.health import State
from ..running.snapshot import Residual, SourceSnapshot
from .live_spectrum import UNKNOWN, live_edges_hz, live_levels

STEP_SECONDS = 1.0
STEPS = 600
BAND_ROWS = 24
"""More bands than these are put together, the largest standing for its neighbours."""
BAND_LEVELS = 8
"""Steps of a band's colour: each is a factor of the square root of 2 above what is usual, the last 16 and more."""
JUDGED = (State.OK, State.CLIPPED)
DEAF = (State.STARTING, State.STALLED, State.MISSING)
"""Nothing arrives."""
FRESH_SECONDS = 2.0
"""A source from which nothing has come for longer is not heard, though it may not be STALLED yet."""


class Ring:
    """One source's points. Memory: 5 bytes a step, and one a band of the residual and of the spectrum."""

    def __init__(self) -> None:
        self.ratio = np.full(STEPS, np.nan, np.float32)
        """Smoothed score through the threshold in force then; NaN where nothing was judged."""
        self.in_alarm = np.zeros(STEPS, np.uint8)
        self.bands = np.zeros((STEPS, 0), np.uint8)
        self.names: Sequence[str] = ()
        """Of the bands, lowest first."""
        self.heard = np.zeros((STEPS, 0), np.uint8)
        """Levels as `live_spectrum` has them."""
        self.edges_hz: list[float] = []
        """Of their bands."""
        self.state: State | None = None
        self.state_since_seconds = 0.0

    def put(self, slot: int, source: SourceSnapshot) -> None:
        """The point of `source` as it is."""
        self.clear(slot)
        self.in_alarm[slot] = source.in_alarm
        self._hear(slot, source)
        if source.state not in JUDGED or source.ended or source.smoothed_score is None:
            return
        self.ratio[slot] = source.smoothed_score / source.threshold
        if source.residual is not None:
            levels = band_levels(source.residual)
            if self.names != source.residual.names:
                self.names, self.bands = source.residual.names, np.zeros((STEPS, len(levels)), np.uint8)
            self.bands[slot] = levels

    def clear(self, slot: int) -> None:
        """Nothing is known of this point."""
        self.ratio[slot], self.in_alarm[slot], self.bands[slot], self.heard[slot] = np.nan, 0, 0, UNKNOWN

    def _hear(self, slot: int, source: SourceSnapshot) -> None:
        if source.heard is None or source.ended or source.state in DEAF or source.waiting_seconds > FRESH_SECONDS:
            return
        if (edges_hz := live_edges_hz(source.heard)) != self.edges_hz:
            self.edges_hz, self.heard = edges_hz, np.zeros((STEPS, max(0, len(edges_hz) - 1)), np.uint8)
        if len(levels := live_levels(source.heard)):
            self.heard[slot] = levels


class History:
    """Looks at the sources once a second, in a thread of its own. Every method may be called from any thread."""

    def __init__(
        self, sources: Callable[[], Sequence[SourceSnapshot]], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._sources = sources
        self._clock = clock
        self._begin_seconds = clock()
        self._steps = np.full(STEPS, -1, np.int64)
        self._rings: dict[str, Ring] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="history", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def close(self) -> None:
        """Look no more."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()

    def look(self) -> None:
        """Note every source as it is now."""
        now_seconds = self._clock()
        step = int((now_seconds - self._begin_seconds) / STEP_SECONDS)
        slot = step % STEPS
        sources = self._sources()
        with self._lock:
            self._steps[slot] = step
            names = {source.name for source in sources}
            self._rings = {name: ring for name, ring in self._rings.items() if name in names}
            for source in sources:
                ring = self._rings.setdefault(source.name, Ring())
                ring.put(slot, source)
                if ring.state is not source.state:
                    ring.state, ring.state_since_seconds = source.state, now_seconds

    def state_seconds(self, name: str) -> float | None:
        """For how long the source `name` has been in its state, as far as was looked."""
        with self._lock:
            ring = self._rings.get(name)
            return None if ring is None else self._clock() - ring.state_since_seconds

    def after(self, step: int) -> dict[str, Any]:
        """The points after `step`, oldest first, of at most the last STEPS, for JSON.

        `ratio` is null where nothing was judged, `alarm` is a digit a point; `bands` one text a point with a letter a
        row, from `a` (usual or less), and empty where nothing was judged; `span` names the lowest band and the highest.
        `heard` is one base64 text a point with a byte a band, empty where nothing was heard; `edges_hz` are its bands'.
        """
        with self._lock:
            newest = int(self._steps.max())
            chosen = np.flatnonzero(self._steps > max(step, newest - STEPS))
            chosen = chosen[np.argsort(self._steps[chosen])]
            return {
                "steps": self._steps[chosen].tolist(),
                "sources": {name: _points(ring, chosen) for name, ring in self._rings.items()},
            }

    def _run(self) -> None:
        while not self._stop.wait(STEP_SECONDS - (self._clock() - self._begin_seconds) % STEP_SECONDS):
            self.look()


def _points(ring: Ring, slots: np.ndarray[Any, np.dtype[np.intp]]) -> dict[str, Any]:
    ratios = [float(f"{value:.4g}") if np.isfinite(value) else None for value in ring.ratio[slots].tolist()]
    bands = [
        "" if ratio is None else bytes(levels + ord("a")).decode()
        for ratio, levels in zip(ratios, ring.bands[slots], strict=True)
    ]
    return {
        "span": [ring.names[0], ring.names[-1]] if ring.names else [],
        "ratio": ratios,
        "alarm": "".join(map(str, ring.in_alarm[slots].tolist())),
        "bands": bands,
        "edges_hz": [round(edge, 1) for edge in ring.edges_hz],
        "heard": [base64.b64encode(levels).decode() if levels.any() else "" for levels in ring.heard[slots]],
    }


def band_levels(residual: Residual) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """How far each row lies above what is usual for it [rows], from 0 (usual or less) to BAND_LEVELS."""
    usual = np.asarray(residual.usual)
    ratios = np.divide(residual.values, usual, out=np.ones(len(usual)), where=usual > 0)
    rows = min(len(usual), BAND_ROWS)
    largest = np.maximum.reduceat(ratios, [row * len(usual) // rows for row in range(rows)])
    return np.clip(np.round(2 * np.log2(np.maximum(largest, 1.0))), 0, BAND_LEVELS).astype(np.uint8)
