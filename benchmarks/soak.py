"""Days of audio through the monitor: does anything grow?  python benchmarks/soak.py [MODEL]

A real `dasvdd-monitor run` gets --hours of 16-bit audio on its standard input, as fast as it scores them, with a state
directory, an outbox and a real mosquitto. Every hour of audio has half a minute of alarm and ends with a reload of the
configuration; the broker is away for the middle third. After each hour resident and anonymous memory, open file
descriptors and threads are read from /proc. Flat is: after the first quarter, the fitted trend of resident memory is at
most --growth-mb a day (single readings scatter by 3 MB), and the last quarter has no more descriptors or threads than
the first.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import click
import numpy as np
from numpy.typing import NDArray

sys.path.append(str(Path(__file__).parents[1] / "scripts"))
from dasvdd_runtime import Scorer
from mosquitto_broker import Broker

MODEL = Path(__file__).parents[1] / "tests" / "data" / "schema_1.0" / "audio.onnx"
LEVELS = (0.02, 0.2)
"""Deviations of noise; the model says which is the unusual one. Neither clips: a clipped window is not judged, and the
first day of the drift watch, which takes memory once, would end somewhere in the midst of the measurement."""
CONNECTED_SECONDS = 3.0


@dataclass(frozen=True)
class Sample:
    """What the monitor holds after some hours of audio."""

    hours: float
    resident_mb: float
    anonymous_mb: float
    descriptors: int
    threads: int


def look(pid: int, hours: float) -> Sample:
    """Read /proc of the monitor."""
    memory = dict(line.split(":") for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
    resident, anonymous = (int(memory[name].split()[0]) * 1024 / 1e6 for name in ("Rss", "Anonymous"))
    counts = [len(os.listdir(f"/proc/{pid}/{folder}")) for folder in ("fd", "task")]  # noqa: PTH208 - not files
    return Sample(hours, resident, anonymous, *counts)


def levels_and_threshold(scorer: Scorer, rng: np.random.Generator) -> tuple[float, float, float]:
    """The amplitude of noise that scores lower, of noise that scores higher, and a threshold between their scores."""
    samples = rng.standard_normal((10 * scorer.metadata.window_samples, scorer.metadata.channels)).astype(np.float32)
    scores = {level: float(np.median(scorer.score_signal(level * samples).score)) for level in LEVELS}
    usual, unusual = sorted(LEVELS, key=lambda level: scores[level])
    return usual, unusual, float(np.sqrt(scores[usual] * scores[unusual]))


def hour_of_audio(pipe: IO[bytes], usual: NDArray[np.float32], unusual: NDArray[np.float32]) -> None:
    """Write one hour, of which half a minute is unusual; both are a minute, [samples, channels]."""
    half = len(usual) // 2
    for number in range(60):
        pipe.write(pcm(np.concatenate([unusual[:half], usual[half:]]) if number == 30 else usual))
    pipe.flush()


def pcm(samples: NDArray[np.float32]) -> bytes:
    """16-bit little-endian PCM."""
    return (np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()


def write_config(folder: Path, model: Path, threshold: float, port: int) -> Path:
    """A monitor.toml with everything that keeps something."""
    path = folder / "monitor.toml"
    path.write_text(
        f'[model]\npath = "{model}"\nprovider = "cpu"\n[decision]\nthreshold = {threshold!r}\n'
        f'[[source]]\nname = "machine"\nkind = "stdin"\nformat = "s16le"\n[state]\ndirectory = "state"\n'
        f'[mqtt]\nhost = "127.0.0.1"\nport = {port}\n'
    )
    return path


def soak(folder: Path, model: Path, hours: int) -> tuple[list[Sample], int]:
    """One sample an hour of audio, and the number of alarms."""
    rng = np.random.default_rng(0)
    scorer = Scorer(model, provider="cpu")
    metadata = scorer.metadata
    shape = (round(60 * metadata.sample_rate_hz), metadata.channels)
    usual, unusual, threshold = levels_and_threshold(scorer, rng)
    minute = rng.standard_normal(shape).astype(np.float32)
    broker = Broker(folder)
    broker.start()
    config = write_config(folder, model, threshold, broker.port)
    program = str(Path(sys.executable).with_name("dasvdd-monitor"))
    samples = []
    with (folder / "events").open("wb") as events, (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, "run", str(config)], stdin=subprocess.PIPE, stdout=events, stderr=log)
        assert process.stdin is not None
        try:
            time.sleep(CONNECTED_SECONDS)
            for hour in range(1, hours + 1):
                if hour == hours // 3 + 1:
                    broker.stop()
                if hour == 2 * hours // 3 + 1:
                    broker.start()
                hour_of_audio(process.stdin, usual * minute, unusual * minute)
                samples.append(look(process.pid, hour))
                show(samples[-1])
                process.send_signal(signal.SIGHUP)
            process.stdin.close()
            if status := process.wait(120):
                raise click.ClickException(f"the monitor ended with {status}: {(folder / 'log').read_text()[-500:]}")
        finally:
            process.kill()
            broker.stop()
    kinds = [json.loads(line)["event"] for line in (folder / "events").read_text().splitlines()]
    return samples, kinds.count("alarm_raised")


def show(sample: Sample) -> None:
    """One line."""
    click.echo(
        f"{sample.hours:4.0f} h: {sample.resident_mb:6.1f} MB resident, {sample.anonymous_mb:5.1f} MB anonymous, "
        f"{sample.descriptors} descriptors, {sample.threads} threads"
    )


@click.command()
@click.argument("model", default=MODEL, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--hours", type=click.IntRange(8), default=240, show_default=True, help="Of audio.")
@click.option("--growth-mb", default=1.0, show_default=True, help="Most that resident memory may grow in a day.")
def main(model: Path, hours: int, growth_mb: float) -> None:
    """Print a line an hour of audio and the trends; exit 1 if something grows."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        samples, alarms = soak(Path(folder), model.resolve(), hours)
    settled = samples[hours // 4 :]
    slope = float(np.polyfit([s.hours for s in settled], [s.resident_mb for s in settled], 1)[0])
    first, last = samples[: hours // 4], samples[-hours // 4 :]
    descriptors = min(s.descriptors for s in last) - max(s.descriptors for s in first)
    threads = min(s.threads for s in last) - max(s.threads for s in first)
    minutes = (time.monotonic() - started) / 60
    click.echo(
        f"{hours} h of audio in {minutes:.1f} min, {alarms} alarms of {hours}: resident memory "
        f"{24 * slope:+.2f} MB a day (bar {growth_mb:g}), descriptors {descriptors:+d}, threads {threads:+d}"
    )
    if 24 * slope > growth_mb or descriptors > 0 or threads > 0 or alarms != hours:
        sys.exit(1)


if __name__ == "__main__":
    main()
