"""`dasvdd-monitor bench`: how fast a model runs on this machine and how much memory it takes."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click
import numpy as np

from ..windows import StreamMemory, Waiting, Window
from ..words import count
from .common import examples, model_options, reports_errors

if TYPE_CHECKING:
    from ..contract import ModelMetadata
    from ..scorer import Scorer
    from ..stream_scorer import StreamScorer

WARM_UP_RUNS = 3
FEWEST_RUNS = 10
"""Runs measured at least, however slow the model."""


@dataclass(frozen=True)
class Timing:
    """Latency of scoring one batch."""

    batch: int
    runs: int
    p50_milliseconds: float
    p99_milliseconds: float
    windows_per_second: float
    times_real_time: float
    """How many streams like the training data could be scored at once: window hop / time per window, at the median."""
    memory_megabytes: dict[str, float]
    """Memory of this process after these runs: `resident` and `anonymous`, in MB (1e6 bytes); empty if not known."""


@click.command(
    epilog=examples(
        "dasvdd-monitor bench model.onnx",
        "dasvdd-monitor bench model.onnx --provider cpu --threads 2 --format json",
    )
)
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--seconds", type=click.FloatRange(min=0.1), default=2.0, show_default=True, help="Measuring time a batch size."
)
@click.option("--format", "output_format", type=click.Choice(["table", "json"]), default="table", show_default=True)
@model_options
@reports_errors
def bench(
    model: Path,
    seconds: float,
    output_format: Literal["table", "json"],
    provider: str,
    threads: int,
) -> None:
    """Measure MODEL on this machine, on its golden windows: latency, windows per second, times real time, memory."""
    from ..scorer import Scorer

    before = time.perf_counter()
    scorer = Scorer(model, provider=provider, threads=threads)
    open_seconds = time.perf_counter() - before
    scorer.verify_golden()
    timings = [measure(scorer, batch=batch, seconds=seconds) for batch in (1, 64)]
    if output_format == "json":
        click.echo(
            json.dumps(
                {
                    "model": scorer.metadata.name,
                    "provider": scorer.provider,
                    "threads": threads,
                    "open_seconds": open_seconds,
                    "timings": [asdict(timing) for timing in timings],
                }
            )
        )
        return
    metadata = scorer.metadata
    click.echo(
        f"{metadata.name} on {scorer.provider}, {count(threads, 'thread')}, opened in "
        f"{1000 * open_seconds:.0f} ms; window {metadata.window_seconds:g} s every {metadata.window_hop_seconds:g} s"
    )
    click.echo(
        f"{'batch':>5} {'p50 ms':>10} {'p99 ms':>10} {'windows/s':>11} {'x real time':>12} {'runs':>7}  memory after"
    )
    for timing in timings:
        click.echo(
            f"{timing.batch:5d} {timing.p50_milliseconds:10.3f} {timing.p99_milliseconds:10.3f} "
            f"{timing.windows_per_second:11.0f} {timing.times_real_time:12.1f} {timing.runs:7d}  "
            + (
                ", ".join(f"{value:.0f} MB {name}" for name, value in timing.memory_megabytes.items())
                or "not known here"
            )
        )
    share = 1 / timings[0].times_real_time
    if share > 1:
        click.echo("This machine cannot keep up with one stream: train with a longer window hop or a smaller network.")
    else:
        click.echo(f"One stream takes {100 * share:.2g} % of the time of {count(threads, 'core')}.")


def measure(scorer: Scorer, *, batch: int, seconds: float) -> Timing:
    """Time `scorer` on batches of `batch` golden windows for about `seconds`, after a warm-up."""
    golden = scorer.metadata.golden.windows()
    windows = golden.swapaxes(1, 2) if scorer.metadata.kind == "audio" else golden
    windows = np.ascontiguousarray(windows[np.arange(batch) % len(windows)])
    return _measure(lambda: scorer.score_windows(windows), scorer.metadata, batch=batch, seconds=seconds)


def measure_stream(scorer: StreamScorer, *, seconds: float) -> Timing:
    """Time `scorer` on one stream that goes on, as `measure` does."""
    metadata, memory = scorer.metadata, StreamMemory()
    window = np.zeros((metadata.window_samples, metadata.channels), np.float32)
    first_samples = itertools.count(0, metadata.window_hop_samples)

    def score() -> None:
        scorer.score([Waiting(Window(next(first_samples), window), memory)])

    return _measure(score, metadata, batch=1, seconds=seconds)


def _measure(score: Callable[[], object], metadata: ModelMetadata, *, batch: int, seconds: float) -> Timing:
    for _ in range(WARM_UP_RUNS):
        score()
    durations: list[float] = []
    start = time.perf_counter()
    while len(durations) < FEWEST_RUNS or time.perf_counter() - start < seconds:
        before = time.perf_counter()
        score()
        durations.append(time.perf_counter() - before)
    median = float(np.median(durations))
    return Timing(
        batch=batch,
        runs=len(durations),
        p50_milliseconds=1000 * median,
        p99_milliseconds=1000 * float(np.percentile(durations, 99)),
        windows_per_second=batch / median,
        times_real_time=metadata.window_hop_seconds * batch / median,
        memory_megabytes=memory_megabytes(),
    )


def memory_megabytes() -> dict[str, float]:
    """Resident and anonymous memory of this process in MB (1e6 bytes), where Linux tells; else empty."""
    names = {"VmRSS": "resident", "RssAnon": "anonymous"}
    status = Path("/proc/self/status")
    if not status.exists():
        return {}
    fields = dict(line.split(":", 1) for line in status.read_text(encoding="ascii", errors="replace").splitlines())
    return {name: int(fields[key].split()[0]) * 1024 / 1e6 for key, name in names.items() if key in fields}
