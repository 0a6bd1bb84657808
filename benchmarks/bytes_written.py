"""What the monitor writes to the disk in an hour.  python benchmarks/bytes_written.py

Cards and eMMC wear out by what is written. A real `dasvdd-monitor run` watches a replay in real time with an outbox
and a real mosquitto, and the kernel counts (write_bytes in /proc/PID/io: whole pages, journal of the file system not
included). Printed are bytes an hour while nothing happens, extrapolated from --seconds, and bytes for each event,
which reloads of the configuration make. No event file: that one grows by its lines. The folder must be on a real disk.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import soundfile

sys.path.append(str(Path(__file__).parents[1] / "scripts"))
from dasvdd_runtime import Scorer
from mosquitto_broker import Broker

MODEL = Path(__file__).parents[1] / "tests" / "data" / "schema_1.0" / "audio.onnx"
SETTLE_SECONDS = 8.0
EVENTS = 10
EVENT_SECONDS = 1.0


@dataclass(frozen=True)
class Case:
    """One way of running."""

    name: str
    telemetry: bool
    broker_up: bool


CASES = (
    Case("events only, broker up", telemetry=False, broker_up=True),
    Case("scores too, broker up", telemetry=True, broker_up=True),
    Case("scores too, broker down", telemetry=True, broker_up=False),
)


def written_bytes(pid: int) -> int:
    """Bytes that a process has caused to be written to disks."""
    fields = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
    return int(fields["write_bytes"]) - int(fields["cancelled_write_bytes"])


def write_config(folder: Path, model: Path, case: Case, port: int, seconds: float) -> Path:
    """A monitor.toml that replays noise in real time for a little more than `seconds`."""
    metadata = Scorer(model, provider="cpu").metadata
    samples = np.random.default_rng(0).uniform(-0.01, 0.01, (round(metadata.sample_rate_hz * seconds), 1))
    soundfile.write(folder / "noise.wav", samples, round(metadata.sample_rate_hz))
    flag = str(case.telemetry).lower()
    path = folder / "monitor.toml"
    path.write_text(
        f'[model]\npath = "{model}"\nprovider = "cpu"\n[decision]\nthreshold = 1e9\n'
        f'[[source]]\nname = "machine"\nkind = "file"\npath = "noise.wav"\npace = "real-time"\n'
        f'[events]\nscores = {flag}\n[mqtt]\nhost = "127.0.0.1"\nport = {port}\ntelemetry = {flag}\n'
    )
    return path


def measure(folder: Path, model: Path, case: Case, seconds: float) -> tuple[float, float]:
    """Bytes an hour while nothing happens, and bytes an event."""
    broker = Broker(folder)
    if case.broker_up:
        broker.start()
    config = write_config(folder, model, case, broker.port, seconds + 60)
    program = str(Path(sys.executable).with_name("dasvdd-monitor"))
    process = subprocess.Popen([program, "run", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        time.sleep(SETTLE_SECONDS)
        before = written_bytes(process.pid)
        time.sleep(seconds)
        quiet = (written_bytes(process.pid) - before) / seconds
        before = written_bytes(process.pid)
        for _ in range(EVENTS):
            process.send_signal(signal.SIGHUP)
            time.sleep(EVENT_SECONDS)
        time.sleep(SETTLE_SECONDS)
        events = written_bytes(process.pid) - before - quiet * (EVENTS * EVENT_SECONDS + SETTLE_SECONDS)
        return 3600 * quiet, events / EVENTS
    finally:
        process.terminate()
        process.wait(10)
        broker.stop()


@click.command()
@click.argument("model", default=MODEL, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--seconds", default=60.0, show_default=True, help="How long to watch each case.")
def main(model: Path, seconds: float) -> None:
    """Print the figures."""
    hop_seconds = Scorer(model, provider="cpu").metadata.window_hop_seconds
    click.echo(f"one source, a score every {hop_seconds:g} s, {seconds:g} s each")
    for case in CASES:
        with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
            an_hour, an_event = measure(Path(folder), model.resolve(), case, seconds)
        click.echo(f"{case.name}: {an_hour / 1e6:.2f} MB an hour, {an_event / 1e3:.0f} kB an event")


if __name__ == "__main__":
    main()
