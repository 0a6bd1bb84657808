"""How many real-time sources one core can watch, and the memory of sixteen.  python benchmarks/monitor_streams.py MODEL

Claims: one core scores at least 1000 streams of 16 kHz with a window hop of 1 s; sixteen sources take at most 160 MB
resident. MODEL: the default audio model with a hop of 1 s (dasvdd-train --set window.window_hop_seconds=1, then
dasvdd-export).

The streams go through the monitor's own pipelines and its batched scoring in one thread, in pieces as long as those
that the service takes from its captures. Two limits stand beside it: the graph alone, on the same windows in the same
batches, and the matrix products of the graph at the speed of one large product in the same run. The sixteen sources are
real-time replays in a real `dasvdd-monitor run`, each with a thread of its own.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import numpy as np
import soundfile
from dasvdd_runtime import Scorer
from dasvdd_runtime.pipeline import DecisionRule, Pipeline
from dasvdd_runtime.running.scoring import score_waiting
from dasvdd_runtime.running.service import STATE_SECONDS
from dasvdd_runtime.scorer import BATCH_WINDOWS
from graph_arithmetic import MatrixProduct, flop_a_window
from monitor_footprint import megabytes, processor_seconds

STREAMS_BAR, RESIDENT_BAR_MB = 1000, 160
STREAMS = 64
SOURCES = 16
ROUNDS = 5


def streams_a_core(scorer: Scorer, seconds: int) -> tuple[float, float, float]:
    """Median streams that one core keeps up with, interleaved: through the pipelines and through the graph alone.

    The third is the floating-point operations a second of a large matrix product between them.
    """
    metadata = scorer.metadata
    rule = DecisionRule(metadata.calibration.threshold, metadata.decision, metadata.calibration.usual_score)
    rate, piece = round(metadata.sample_rate_hz), round(STATE_SECONDS * metadata.sample_rate_hz)
    random = np.random.default_rng(0)
    streams = (0.05 * random.standard_normal((STREAMS, rate * seconds, metadata.channels))).astype(np.float32)
    windows = np.stack([stream[: metadata.window_samples] for stream in streams])[:BATCH_WINDOWS]
    runs = round(len(streams) * seconds / metadata.window_hop_seconds / len(windows))
    product = MatrixProduct()
    ours, alone, flop_a_second = [], [], []
    for _ in range(ROUNDS):
        lines = [
            Pipeline(name=str(i), metadata=metadata, scorer=scorer, rule=rule, report_scores=False)
            for i in range(STREAMS)
        ]
        begin = time.process_time()
        for start in range(0, rate * seconds, piece):
            for line, stream in zip(lines, streams, strict=True):
                line.cut(stream[start : start + piece])
            score_waiting(lines, lambda events: None)
        ours.append(STREAMS * seconds / (time.process_time() - begin))
        assert all(line.counts.windows_scored > seconds / metadata.window_hop_seconds - 2 for line in lines)
        begin = time.process_time()
        for _ in range(runs):
            scorer.score_windows(windows)
        alone.append(STREAMS * seconds / (time.process_time() - begin))
        flop_a_second.append(product.flop_a_second())
    return statistics.median(ours), statistics.median(alone), statistics.median(flop_a_second)


def sixteen_sources(folder: Path, model: Path, seconds: float) -> tuple[float, float, float]:
    """Resident MB, anonymous MB and share of a core of a monitor with SOURCES real-time replays."""
    metadata = Scorer(model, provider="cpu").metadata
    shape = (round(metadata.sample_rate_hz * (seconds + 30)), metadata.channels)
    soundfile.write(
        folder / "a.wav", 0.05 * np.random.default_rng(0).standard_normal(shape), round(metadata.sample_rate_hz)
    )
    source = '[[source]]\nname = "s{}"\nkind = "file"\npath = "a.wav"\npace = "real-time"\n'
    sources = "".join(source.format(i) for i in range(SOURCES))
    (folder / "monitor.toml").write_text(f'[model]\npath = "{model}"\nprovider = "cpu"\n{sources}')
    monitor = [sys.executable, "-c", "from dasvdd_runtime.cli import main; main()"]
    with (folder / "events").open("w") as written:
        process = subprocess.Popen(
            [*monitor, "run", str(folder / "monitor.toml")], stdout=written, stderr=subprocess.DEVNULL
        )
        time.sleep(5)
        before = processor_seconds(process.pid)
        time.sleep(seconds)
        share = (processor_seconds(process.pid) - before) / seconds
        resident, anonymous = megabytes(process.pid)
        process.terminate()
        process.wait(20)
    events = [json.loads(line) for line in (folder / "events").read_text().splitlines()]
    scored = [event["windows_scored"] for event in events if event["event"] == "summary"]
    if len(scored) != SOURCES or min(scored) < 0.8 * seconds / metadata.window_hop_seconds:
        raise click.ClickException(f"the sources were not all scored: {scored}")
    return resident, anonymous, share


@click.command()
@click.argument("model", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--seconds", default=20, show_default=True, help="Length of each stream.")
def main(model: Path, seconds: int) -> None:
    """Print the figures beside their bars; exit 1 if one is not met."""
    model = model.resolve()
    scorer = Scorer(model, provider="cpu")
    hop_seconds = scorer.metadata.window_hop_seconds
    ours, alone, flop_a_second = streams_a_core(scorer, seconds)
    flop = flop_a_window(model)
    most = flop_a_second / flop * hop_seconds
    click.echo(
        f"streams a core at {scorer.metadata.sample_rate_hz:g} Hz, hop {hop_seconds:g} s: {ours:.0f}, bar "
        f"{STREAMS_BAR}; {ours / alone:.2f} of the {alone:.0f} of the graph alone"
    )
    click.echo(
        f"matrix products: {flop / 1e6:.0f} MFLOP a window; at the {flop_a_second / 1e9:.0f} GFLOP/s of a large one, "
        f"{most:.0f} streams. The streams are {ours / most:.2f} of that, the graph alone {alone / most:.2f}"
    )
    with tempfile.TemporaryDirectory() as folder:
        resident, anonymous, share = sixteen_sources(Path(folder), model, seconds)
    click.echo(
        f"{SOURCES} sources: {resident:.0f} MB resident, bar {RESIDENT_BAR_MB}; {anonymous:.0f} MB anonymous; "
        f"{100 * share:.1f} % of a core"
    )
    if ours < STREAMS_BAR or resident > RESIDENT_BAR_MB:
        sys.exit(1)


if __name__ == "__main__":
    main()
