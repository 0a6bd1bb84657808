"""The main job from end to end: recordings of a healthy machine -> model -> ONNX file -> monitor -> alarm.

    python scripts/demo.py            a simulated machine with a bearing fault that begins one minute in
    python scripts/demo.py FOLDER     your recordings: FOLDER/normal and FOLDER/faulty

It runs the three programs as a user would, prints each command, and leaves everything in demo_output/ in
the current folder.
Exits with the code of the step that failed, or 1 if the simulated fault was missed or an alarm came before it.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import simulated_machine
import soundfile
from alarm_views import Replay, chart, replays_of, save_picture
from dasvdd_runtime.errors import EXIT_DATA, EXIT_FAILURE, EXIT_NO_INPUT, EXIT_UNAVAILABLE
from dasvdd_runtime.recordings import is_audio, read_signal
from rich.console import Console
from rich.markup import escape

OUTPUT = Path("demo_output")
RUN = OUTPUT / "run"
MONITOR_CONFIG = OUTPUT / "monitor.toml"
EVENTS = OUTPUT / "events.jsonl"
PICTURE = OUTPUT / "alarm.png"

EPOCHS = 30
"""The paper trains for 300; these are enough here and keep the demonstration short."""

HEALTHY_RECORDINGS, HEALTHY_SECONDS = 6, 40.0
FAULTY_SECONDS, FAULT_ONSET_SECONDS = 180.0, 60.0

console = Console(highlight=False)


def main() -> int:
    """Run the demonstration and return its exit code."""
    parser = argparse.ArgumentParser(description="Train on healthy recordings, export, replay faulty ones: alarms.")
    parser.add_argument("data", nargs="?", type=Path, help="folder with normal/ and faulty/; default: a simulation")
    data: Path | None = parser.parse_args().data
    simulated = data is None
    if data is not None:
        faulty_recordings(data)  # what is wrong with it is said before an earlier demonstration is removed
    for leftover in (RUN, OUTPUT / "recordings"):
        shutil.rmtree(leftover, ignore_errors=True)
    for leftover in OUTPUT.glob("events.jsonl*"):
        leftover.unlink()
    OUTPUT.mkdir(exist_ok=True)

    data = simulate() if data is None else data
    faulty = faulty_recordings(data)

    step("Train an autoencoder on the healthy recordings alone")
    say(f"{EPOCHS} epochs instead of the paper's 300, to be quick. The last 20 % of each recording set the threshold.")
    must_run("dasvdd-train", data / "normal", "--out", RUN, "--epochs", EPOCHS)

    step("Export everything that decides a score into one ONNX file")
    must_run("dasvdd-export", RUN / "model.pt")

    step("Replay the faulty recordings through the monitor, as it would run beside the machine")
    write_monitor_config(faulty)
    replays, exit_code = monitor(FAULT_ONSET_SECONDS if simulated else None)
    show(replays, faulty)

    console.print(f"\n[bold]Left in {OUTPUT}/ for you to open:[/bold]")
    for path in (RUN / "model.pt", RUN / "model.onnx", RUN / "report.html", EVENTS, PICTURE):
        if path.exists():
            console.print(f"  {path}  ({path.stat().st_size / 1024:,.0f} KiB)", soft_wrap=True)
    return exit_code or (verify(replays) if simulated else 0)


def step(title: str) -> None:
    """Announce the next part of the demonstration."""
    console.print(f"\n[bold cyan]== {title}[/bold cyan]")


def say(text: str) -> None:
    """A line of narration."""
    console.print(text, markup=False)


def stop(message: str, exit_code: int) -> SystemExit:
    """The exception that ends the demonstration with a message on standard error."""
    print(f"demo: {message}", file=sys.stderr)
    return SystemExit(exit_code)


def simulate() -> Path:
    """Write the simulated recordings and return their folder, with normal/ and faulty/."""
    folder = OUTPUT / "recordings"
    step("Simulate a rotating machine (see scripts/simulated_machine.py for the physics)")
    for name in ("normal", "faulty"):
        (folder / name).mkdir(parents=True)
    for number in range(1, HEALTHY_RECORDINGS + 1):
        samples = simulated_machine.healthy(seconds=HEALTHY_SECONDS, seed=number)
        write_wav(folder / "normal" / f"healthy{number}.wav", samples)
    samples = simulated_machine.developing_fault(
        seconds=FAULTY_SECONDS, fault_onset_seconds=FAULT_ONSET_SECONDS, seed=100
    )
    write_wav(folder / "faulty" / "bearing.wav", samples)
    say(
        f"{HEALTHY_RECORDINGS} recordings of {HEALTHY_SECONDS:.0f} s while it is healthy, and {FAULTY_SECONDS:.0f} s "
        f"in which its bearing begins to fail at {FAULT_ONSET_SECONDS:.0f} s and gets slowly worse."
    )
    return folder


def write_wav(path: Path, samples: simulated_machine.Samples) -> None:
    """Write `samples` [samples] as a 16-bit WAV."""
    soundfile.write(path, samples, simulated_machine.SAMPLE_RATE_HZ, subtype="PCM_16")


def faulty_recordings(data: Path) -> dict[str, Path]:
    """The recordings in `data`/faulty, any depth, by the name that each gets as a source of the monitor.

    Ends the program if normal/ or faulty/ is missing or faulty/ holds no recording.
    """
    for name, purpose in (("normal", "recordings of the healthy machine to learn from"), ("faulty", "what to replay")):
        if not (data / name).is_dir():
            raise stop(
                f"{data / name} is not there. DATA must be a folder with two folders in it: normal/ and faulty/. "
                f"{name}/ holds {purpose} (WAV, FLAC or OGG).",
                EXIT_NO_INPUT,
            )
    faulty = data / "faulty"
    paths = sorted(path for path in faulty.rglob("*") if path.is_file() and is_audio(path))
    if not paths:
        raise stop(f"{faulty} holds no WAV, FLAC or OGG file, so there is nothing to replay.", EXIT_DATA)
    return {path.relative_to(faulty).as_posix(): path for path in paths}


def run(program: str, *arguments: object, capture: bool = False) -> subprocess.CompletedProcess[str]:
    """Print and run one of the project's programs; `capture` keeps its standard output."""
    words = [program, *map(str, arguments)]
    console.print(f"[bold]$ {escape(shlex.join(words))}[/bold]", soft_wrap=True)
    executable = Path(sys.executable).parent / program
    if not executable.exists():
        raise stop(f"{executable} is not there. Start the demonstration with `make demo`.", EXIT_UNAVAILABLE)
    return subprocess.run(
        [str(executable), *words[1:]], stdout=subprocess.PIPE if capture else None, encoding="utf-8", check=False
    )


def must_run(program: str, *arguments: object) -> None:
    """Run a program and end with its exit code if it fails."""
    exit_code = run(program, *arguments).returncode
    if exit_code:
        raise stop(f"{program} stopped with exit code {exit_code}; its message is above.", exit_code)


def write_monitor_config(faulty: dict[str, Path]) -> None:
    """A monitor.toml with one file source per recording; on a machine the source would be a microphone."""
    lines = ["[model]", 'path = "run/model.onnx"', ""]
    for name, path in faulty.items():
        source = os.path.relpath(path, OUTPUT)
        # A JSON string is a TOML basic string.
        lines += ["[[source]]", f"name = {json.dumps(name)}", 'kind = "file"', f"path = {json.dumps(source)}"]
        lines += ['pace = "fast"', ""]
    lines += ["[events]", 'path = "events.jsonl"', "scores = true", ""]
    MONITOR_CONFIG.write_text("\n".join(lines), encoding="utf-8")


def monitor(onset_seconds: float | None) -> tuple[dict[str, Replay], int]:
    """Run the monitor on MONITOR_CONFIG; what its JSON lines say, and its exit code.

    A recording that it cannot read leaves the others replayed; ends the program if nothing was.
    """
    done = run("dasvdd-monitor", "run", MONITOR_CONFIG, capture=True)
    events: list[dict[str, Any]] = [json.loads(line) for line in done.stdout.splitlines()]
    if not any(event["event"] == "score" for event in events):
        raise stop("the monitor scored nothing; its message is above.", done.returncode or EXIT_DATA)
    return replays_of(events, onset_seconds), done.returncode


def show(replays: dict[str, Replay], faulty: dict[str, Path]) -> None:
    """A chart and the verdict per recording, and the picture of the first one with an alarm."""
    unicode = console.encoding.lower().startswith("utf")
    for replay in replays.values():
        console.print()
        for line in chart(replay, width=min(console.width, 100), unicode=unicode):
            console.print(line, markup=False, no_wrap=True)
        color = "red" if replay.alarms else "yellow"
        console.print(f"[bold {color}]{escape(replay.name)}: {replay.verdict()}[/bold {color}]", soft_wrap=True)
        if replay.bands:
            say(f"It is carried by the bands around {', '.join(replay.bands)}.")
    with_scores = [replay for replay in replays.values() if len(replay.times)]
    pictured = next((replay for replay in with_scores if replay.alarms), with_scores[0] if with_scores else None)
    if pictured:
        signal = read_signal(faulty[pictured.name])
        save_picture(PICTURE, pictured, signal.samples.mean(axis=1), sample_rate_hz=signal.sample_rate_hz)


def verify(replays: dict[str, Replay]) -> int:
    """The simulated fault must be found, and only after it began."""
    (replay,) = replays.values()
    found = replay.alarm_seconds is not None and replay.alarm_seconds >= FAULT_ONSET_SECONDS
    return 0 if found else EXIT_FAILURE


if __name__ == "__main__":
    sys.exit(main())
