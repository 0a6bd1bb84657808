"""Start, memory and processor share of the monitor.  python benchmarks/monitor_footprint.py demo_output/run/model.onnx

Claims: from process start to the first score at most 1.5 s; with one microphone at most 120 MB resident and 70 MB of
that anonymous. The limit beside them is what importing numpy and onnxruntime and opening the model costs in the same
run. The microphone is PulseAudio's null sink, in real time (see scripts/fake_microphone.py for the packages).
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import click
import numpy as np
import soundfile

sys.path.append(str(Path(__file__).parents[1] / "scripts"))
from dasvdd_runtime import Scorer
from fake_microphone import FakeMicrophone
from mosquitto_broker import free_port

START_BAR_SECONDS, RESIDENT_BAR_MB, ANONYMOUS_BAR_MB = 1.5, 120, 70
HTTP_MB = 5
"""What [http] may add: prometheus-client brings ssl, http.client and wsgiref along."""
EVIDENCE_MB = {"none": 0, "spectrogram": 3, "audio": 5}
"""What [evidence] may add: its memory of the stream, the thread, numpy.fft, and for audio libsndfile."""
RUNS = 5
BARE = """
import sys, time, os
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import numpy, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
options.enable_cpu_mem_arena = options.enable_mem_pattern = False
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
shape = [1 if not isinstance(n, int) else n for n in session.get_inputs()[0].shape]
session.run(None, {"window": numpy.zeros(shape, "float32")})
print("ready", flush=True)
time.sleep(float(sys.argv[2]))
"""


def megabytes(pid: int) -> tuple[float, float]:
    """Resident and anonymous memory of a process in MB (1e6 bytes)."""
    fields = dict(line.split(":") for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
    return tuple(int(fields[name].split()[0]) * 1024 / 1e6 for name in ("Rss", "Anonymous"))  # type: ignore[return-value]


def write_config(folder: Path, model: Path, source: str) -> Path:
    """A monitor.toml with `source` as its one source, which writes every score."""
    path = folder / "monitor.toml"
    head = f'[model]\npath = "{model}"\nprovider = "cpu"\n[[source]]\nname = "machine"\n'
    path.write_text(f"{head}{source}[events]\nscores = true\n")
    return path


def seconds_to(command: list[str], wanted: str) -> float:
    """Seconds from the start of `command` to the first line with `wanted` on its standard output."""
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if wanted in line:
                elapsed = time.perf_counter() - started
                process.kill()
                return elapsed
    raise click.ClickException(f"{' '.join(command)} ended without printing {wanted}")


def start_seconds(folder: Path, model: Path, monitor: list[str]) -> tuple[float, float]:
    """Median seconds to the first score of a replayed file, and of the bare imports and session, interleaved."""
    metadata = Scorer(model, provider="cpu").metadata
    samples = 0.05 * np.random.default_rng(0).standard_normal((round(metadata.sample_rate_hz * 10), metadata.channels))
    soundfile.write(folder / "noise.wav", samples, round(metadata.sample_rate_hz))
    config = write_config(folder, model, 'kind = "file"\npath = "noise.wav"\n')
    ours, bare = [], []
    for _ in range(RUNS):
        ours.append(seconds_to([*monitor, "run", str(config)], '"event": "score"'))
        bare.append(seconds_to([sys.executable, "-c", BARE, str(model), "0"], "ready"))
    return statistics.median(ours), statistics.median(bare)


def microphone_figures(
    folder: Path, model: Path, monitor: list[str], seconds: float, http: bool, evidence: str
) -> tuple[float, float, float, int]:
    """Resident MB, anonymous MB, share of a core and scores while one microphone is watched for `seconds`.

    With `http`, its metrics, and what its page shows with all curves, are read once a second.
    `evidence`: what is kept of alarms.
    """
    metadata = Scorer(model, provider="cpu").metadata
    microphone = FakeMicrophone(folder)
    try:
        samples = 0.05 * np.random.default_rng(0).standard_normal(round(16000 * (seconds + 10)))
        soundfile.write(folder / "sound.wav", samples, 16000)
        microphone.play(folder / "sound.wav")
        port = free_port()
        table = f'[http]\nlisten = "127.0.0.1:{port}"\n' if http else ""
        table += f'[evidence]\nmode = "{evidence}"\ndirectory = "clips"\n'
        config = write_config(folder, model, f'kind = "microphone"\ndevice = "fakemic"\n{table}')
        with (folder / "events").open("w") as events:
            process = subprocess.Popen(
                [*monitor, "run", str(config)], stdout=events, stderr=subprocess.DEVNULL, env=microphone.environment
            )
            time.sleep(5)
            before = processor_seconds(process.pid)
            end = time.monotonic() + seconds
            while (left := end - time.monotonic()) > 0:
                if http:
                    for path in ("metrics", "api/status?after=0"):
                        urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=5).read()
                time.sleep(min(1.0, left))
            share = (processor_seconds(process.pid) - before) / seconds
            resident, anonymous = megabytes(process.pid)
            process.terminate()
            process.wait(10)
        events_written = [json.loads(line)["event"] for line in (folder / "events").read_text().splitlines()]
        scores = events_written.count("score")
        if scores < seconds / metadata.window_hop_seconds / 2:
            raise click.ClickException(f"only {scores} scores in {seconds} s: the microphone did not work")
        return resident, anonymous, share, scores
    finally:
        microphone.close()


def processor_seconds(pid: int) -> float:
    """User and system seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@click.command()
@click.argument("model", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--seconds", default=20.0, show_default=True, help="How long to watch the microphone.")
@click.option("--http", is_flag=True, help="With [http], and its metrics and its page's figures read once a second.")
@click.option("--evidence", default="none", type=click.Choice(["none", "spectrogram", "audio"]), help="Keep clips.")
def main(model: Path, seconds: float, http: bool, evidence: str) -> None:
    """Print the figures beside their bars; exit 1 if one is not met."""
    model = model.resolve()
    monitor = [str(Path(sys.executable).with_name("dasvdd-monitor"))]
    with tempfile.TemporaryDirectory() as folder:
        ours, bare = start_seconds(Path(folder), model, monitor)
        bare_process = subprocess.Popen([sys.executable, "-c", BARE, str(model), "60"], stdout=subprocess.PIPE)
        assert bare_process.stdout is not None
        bare_process.stdout.readline()
        bare_resident, bare_anonymous = megabytes(bare_process.pid)
        bare_process.kill()
        bare_process.wait()
        resident, anonymous, share, scores = microphone_figures(Path(folder), model, monitor, seconds, http, evidence)
    more_mb = HTTP_MB * http + EVIDENCE_MB[evidence]
    rows = [
        ("start to first score, s", ours, START_BAR_SECONDS, bare),
        ("resident, MB", resident, RESIDENT_BAR_MB + more_mb, bare_resident),
        ("anonymous, MB", anonymous, ANONYMOUS_BAR_MB + more_mb, bare_anonymous),
    ]
    for name, found, bar, limit in rows:
        click.echo(f"{name}: {found:.3g}, bar {bar}; {found / limit:.2f} times a bare session's {limit:.3g}")
    click.echo(f"{100 * share:.1f} % of a core with one microphone, {scores} scores")
    if any(found > bar for _, found, bar, _ in rows):
        sys.exit(1)


if __name__ == "__main__":
    main()
