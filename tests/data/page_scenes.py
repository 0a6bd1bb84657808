"""What a monitor could be showing, without one: made-up sources behind the real endpoint."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import numpy as np
from dasvdd_runtime.alarms.book import Alarm, AlarmState
from dasvdd_runtime.condition.drift import DriftReport
from dasvdd_runtime.condition.health import State
from dasvdd_runtime.endpoint.actions import make_actions
from dasvdd_runtime.endpoint.alarm_board import AlarmBoard
from dasvdd_runtime.endpoint.evidence_shelf import EvidenceShelf
from dasvdd_runtime.endpoint.guard import Guard
from dasvdd_runtime.endpoint.history import STEPS, History
from dasvdd_runtime.endpoint.observed import Observed
from dasvdd_runtime.endpoint.pages import make_people_pages
from dasvdd_runtime.endpoint.server import Server
from dasvdd_runtime.endpoint.status import Status
from dasvdd_runtime.endpoint.tables import HttpTable
from dasvdd_runtime.events import Counts
from dasvdd_runtime.running.snapshot import Heard, HeldBack, Residual, SourceSnapshot, Standing
from dasvdd_runtime.state.state_store import StateStore
from dasvdd_runtime.thresholds.choice import ThresholdInForce

HEARD_RATE_HZ = 8000
NAMES = [f"{hz:.0f} Hz" for hz in np.geomspace(40, 7600, 128)]
WHY = "calibrated on site on 2026-11-20, for 1 false alarm a day on 9 h of normal running"


@cache
def sound(kind: str) -> Heard:
    """A second of a machine that hums, whose bearing whines, or which stands still."""
    times = np.arange(HEARD_RATE_HZ) / HEARD_RATE_HZ
    noise = np.convolve(np.random.default_rng(0).normal(0, 0.02, HEARD_RATE_HZ), np.ones(6) / 6, "same")
    samples = noise * (0.01 if kind == "still" else 1)
    if kind != "still":
        samples += 0.03 * np.sin(2 * np.pi * 120 * times)
    if kind == "whines":
        samples += 0.03 * np.sin(2 * np.pi * 2000 * times)
    return Heard((samples.astype(np.float32)[:, None],), HEARD_RATE_HZ)


def listening(name: str, seconds: float, *, level: float = 0.45) -> SourceSnapshot:
    """A source that is well, `seconds` after the beginning."""
    noise = random.Random(f"{name}{seconds:.0f}")
    smoothed = 0.02 * (level + 0.05 * math.sin(seconds / 40 + len(name)) + 0.03 * noise.random())
    residual = np.random.default_rng(round(seconds)).gamma(9, 0.01 / 9, 128)
    return SourceSnapshot(
        name=name,
        model="model",
        model_fingerprint="0f" * 32,
        state=State.OK,
        score=smoothed * (0.9 + 0.2 * noise.random()),
        smoothed_score=smoothed,
        threshold=0.02,
        in_alarm=False,
        counts=Counts(windows_scored=80_000, running_seconds=40_000 + seconds),
        drift_ppm=12.0,
        level_dbfs=-31.0 + noise.random(),
        waiting_seconds=0.1,
        live=True,
        ended=False,
        state_reason="samples arrive",
        usual_level_dbfs=(-38.0, -32.0, -27.0),
        residual=Residual(residual, [0.01] * 128, NAMES),
        drift=DriftReport(False, (), 86400.0, 0.009, 0.012, -36.0, -32.0, (0.01,) * 128, ()),
        keeps="sound" if name == "pump7" else "spectrogram",
        heard=sound("hums"),
    )


def alarming(name: str, seconds: float, *, begin: float = 420.0, times: float = 2.4) -> SourceSnapshot:
    """The same, whose bearing fails `begin` seconds after the beginning."""
    well = listening(name, seconds)
    if seconds < begin:
        return well
    assert well.smoothed_score is not None and well.residual is not None
    rise = 1 - math.exp(-(seconds - begin) / 25)
    values = well.residual.values.copy()
    values[70:84] *= 1 + 12 * rise
    smoothed = well.smoothed_score + 0.02 * (times - 0.45) * rise
    return replace(
        well,
        smoothed_score=smoothed,
        in_alarm=smoothed > 0.021,
        heard=sound("whines"),
        residual=replace(well.residual, values=values),
        counts=replace(well.counts, episodes=1),
    )


def missing(name: str, seconds: float, *, begin: float = 300.0) -> SourceSnapshot:
    """The same, whose microphone is unplugged."""
    well = listening(name, seconds)
    if seconds < begin:
        return well
    reason = "no capture device has 'USB mic' in its name; there are: HDMI"
    return replace(well, state=State.MISSING, state_reason=reason, level_dbfs=None, heard=Heard((), HEARD_RATE_HZ))


Sources = Callable[[float], Sequence[SourceSnapshot]]


def all_well(seconds: float) -> list[SourceSnapshot]:
    """Three sources that are well, the last of them an accelerometer."""
    sensor = replace(listening("gearbox 2", seconds), usual_level_dbfs=None, level_dbfs=4.0)
    return [listening("pump7", seconds), listening("fan north", seconds), sensor]


def an_alarm(seconds: float) -> list[SourceSnapshot]:
    """One of three is in alarm, a second was far above the threshold, a third stands still."""
    idle = replace(listening("press", seconds), state=State.IDLE, state_reason="level -71 dBFS below -58 dBFS")
    idle = replace(idle, heard=sound("still"), level_dbfs=-71.0)
    return [alarming("pump7", seconds), alarming("gearbox 2", seconds, begin=100, times=80), idle]


def a_missing_microphone(seconds: float) -> list[SourceSnapshot]:
    """One of three is not there, one is too loud and drifts, one drifts."""
    loud = replace(
        listening("compressor", seconds, level=0.8),
        state=State.CLIPPED,
        state_reason="0.4 % of samples at full scale (limit 0.1 %)",
        level_dbfs=-4.0,
        drift=DriftReport(True, ("the level is -9.0 dBFS, before -38.0 to -27.0 dBFS",), 86400, 0.01, 0.01, -9, -9, ()),
    )
    fan = replace(
        listening("fan north", seconds, level=0.7),
        drift=DriftReport(
            True,
            ("the usual score is 0.0151, 55% of the way from 0.009 to the threshold 0.02 (limit 50%)",),
            86400,
            0.015,
            0.016,
            None,
            None,
            (),
        ),
    )
    return [missing("pump7", seconds), loud, fan]


def many(seconds: float) -> list[SourceSnapshot]:
    """Sixteen sources of every kind."""
    names = [f"line {i // 4 + 1} machine {i % 4 + 1}" for i in range(16)]
    sources = [listening(name, seconds, level=0.3 + 0.03 * i) for i, name in enumerate(names)]
    sources[2] = alarming(names[2], seconds)
    sources[5] = missing(names[5], seconds)
    sources[9] = replace(sources[9], state=State.IDLE, state_reason="level -71 dBFS below -58 dBFS")
    sources[11] = replace(sources[11], muted=True)
    sources[14] = replace(sources[14], name="a conveyor with a very long name, in hall 4 beside the second kiln")
    return sources


def alarm(source: str, *, ago_seconds: float, **changes: object) -> Alarm:
    """An alarm that goes on."""
    made = Alarm(
        id=f"{source.replace(' ', '-')}-{ago_seconds:.0f}",
        source=source,
        model_fingerprint="0f" * 32,
        state=AlarmState.ACTIVE,
        raised_at=datetime.now(UTC) - timedelta(seconds=ago_seconds),
        ended_at=None,
        start_seconds=1000.0,
        peak_seconds=1001.0,
        peak_score=0.048,
        end_seconds=None,
        threshold=0.02,
        muted=False,
        recording=None,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Scene:
    """An endpoint that serves."""

    url: str
    tick: Callable[[], None]
    """Let a second pass at once."""


@contextmanager
def served(
    sources: Sources,
    directory: Path | None,
    *,
    alarms: Sequence[Alarm] = (),
    token: Path | None = None,
    seconds: int = STEPS,
    port: int = 0,
    evidence: Path | None = None,
) -> Iterator[Scene]:
    """The endpoint of a monitor with `sources`, so many `seconds` after its start.

    Its state.db has `alarms`, whose clips lie in `evidence`.
    """
    shift = [0.0]

    def clock() -> float:
        return time.monotonic() + shift[0]

    begin = clock()
    threshold = ThresholdInForce(0.02, 0.009, "site", WHY, 1.0)

    def now() -> tuple[SourceSnapshot, ...]:
        return tuple(sources(clock() - begin))

    board = None
    if directory is not None:
        store, _ = StateStore.open_or_renew(directory)
        for made in alarms:
            store.save(made)
            if made.verdict is not None:
                store.judge([made.id], made.verdict, made.note)
        store.close()
        board = AlarmBoard(directory)
    history = History(now, clock=clock)

    def tick() -> None:
        history.look()
        shift[0] += 1.0

    for _ in range(seconds):
        tick()
    observed = Observed(
        sources=now,
        events=dict,
        scorers=dict,
        receivers=lambda: {"email 'email'": Standing(9, {}, HeldBack(4, 1.8e9))},
        since_beat_seconds=lambda: 0.1,
        versions={"dasvdd": "0.1.0"},
        thresholds=lambda: {source.name: threshold for source in now()},
    )
    shelf = None if evidence is None else EvidenceShelf(evidence)
    guard = Guard(HttpTable(listen="127.0.0.1:9464", token_file=token).token)
    actions = make_actions(board, guard, lambda: [source.name for source in now()])
    server = Server(
        ("127.0.0.1", port),
        make_people_pages(Status(observed, history, board, machine="pump-box", shelf=shelf), guard, shelf),
        actions,
    )
    history.start()
    server.start()
    try:
        yield Scene(f"http://127.0.0.1:{server.server_port}/", tick)
    finally:
        server.close()
        history.close()
        if board is not None:
            board.close()
