"""How much memory does a day of audio take to train on?  python benchmarks/training_memory.py

Writes --hours of 16 kHz audio, an hour a file, as 16-bit WAVs of a humming machine in noise, trains one epoch on them
with the defaults in a process of its own, and prints that process's peak resident memory (getrusage). An epoch is
enough: memory does not grow with epochs. A day takes about twelve minutes on two cores and 9 GB of disk in the folder
for temporary files.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import click
import numpy as np
import soundfile

RATE_HZ = 16000
BAR_GIB = 4.0


def write_hour(path: Path, number: int) -> None:
    """An hour of a machine whose speed and level drift, in noise."""
    rng = np.random.default_rng(number)
    with soundfile.SoundFile(path, "w", RATE_HZ, 1, subtype="PCM_16") as file:
        for minute in range(60):
            time = np.arange(60 * RATE_HZ) / RATE_HZ
            speed_hz = 49 + 0.02 * minute + 0.1 * number
            hum = sum(np.sin(2 * np.pi * k * speed_hz * time) / k for k in range(1, 6))
            noise = rng.standard_normal(len(time), np.float32)
            file.write(((0.05 + 0.0005 * minute) * hum + 0.02 * noise).astype(np.float32))


def peak_gib(command: list[str]) -> float:
    """Run `command` to its end; its peak resident memory in GiB."""
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise click.ClickException(f"{command[0]} ended with status {os.waitstatus_to_exitcode(status)}")
    return usage.ru_maxrss / 2**20


@click.command()
@click.option("--hours", default=24, show_default=True)
@click.option("--epochs", default=1, show_default=True)
@click.option("--batch-rows", default=1000, show_default=True, help="Larger than the default 200: quicker an epoch.")
def main(hours: int, epochs: int, batch_rows: int) -> None:
    """Print peak memory beside its bar; exit 1 if it is not met."""
    program = str(Path(sys.executable).with_name("dasvdd-train"))
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        data.mkdir()
        for number in range(hours):
            write_hour(data / f"hour_{number:02}.wav", number)
        options = ["--epochs", str(epochs), "--set", f"training.batch_rows={batch_rows}"]
        options += ["--set", "training.gamma_initialisations=1"]
        peak = peak_gib([program, str(data), "--out", str(Path(folder) / "run"), *options])
    samples_gib = hours * 3600 * RATE_HZ * 4 / 2**30
    click.echo(
        f"{hours} h of 16 kHz audio: {peak:.2f} GiB peak resident, bar {BAR_GIB:g}; the samples alone would take "
        f"{samples_gib:.2f} GiB as float32"
    )
    if peak > BAR_GIB:
        sys.exit(1)


if __name__ == "__main__":
    main()
