"""From the sample that completes an alarm to its message at an MQTT subscriber.  python benchmarks/alarm_latency.py

Claim: at most 200 ms (the slowest of the alarms). Samples go in real time, 10 ms at a time, through a pipe to a real
`dasvdd-monitor run`, which keeps each event on the disk before it publishes it to a real mosquitto with QoS 1. The
decision rule is set to alarm on one window, so that noise that changes its level every few seconds gives many alarms:
the rule's own delay is not the subject. MODEL: any audio model; the default is a small one in tests/data.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import click
import numpy as np

sys.path.append(str(Path(__file__).parents[1] / "scripts"))
from dasvdd_runtime import Scorer
from dasvdd_runtime.contract import ModelMetadata
from mosquitto_broker import Broker
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

BAR_SECONDS = 0.2
CHUNK_SECONDS = 0.01
AMPLITUDES = 0.003, 0.3
MODEL = Path(__file__).parents[1] / "tests" / "data" / "schema_1.0" / "audio.onnx"


class Listener:
    """Notes when each alarm arrives, by the source's time at which it rose."""

    def __init__(self, port: int) -> None:
        self.arrived: dict[float, float] = {}
        subscribed = threading.Event()
        self._client = Client(CallbackAPIVersion.VERSION2)
        self._client.on_subscribe = lambda *_: subscribed.set()
        self._client.on_message = lambda _client, _data, message: self._note(message.payload)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        self._client.subscribe("latency/machine/event", qos=1)
        if not subscribed.wait(5):
            raise click.ClickException("the subscription was not taken")

    def _note(self, payload: bytes | bytearray) -> None:
        now = time.monotonic()
        event = json.loads(payload)
        if event["event"] == "alarm_raised":
            self.arrived[event["stream_seconds"]] = now

    def close(self) -> None:
        """Leave."""
        self._client.disconnect()
        self._client.loop_stop()


def usual_and_unusual(scorer: Scorer) -> tuple[list[float], float]:
    """The amplitudes of noise that the model finds less and more unusual, and a threshold between their scores."""
    random = np.random.default_rng(0)
    noise = random.uniform(-1, 1, (scorer.metadata.window_samples, 1)).astype(np.float32)
    scores = {amplitude: float(scorer.score_signal(amplitude * noise).score[0]) for amplitude in AMPLITUDES}
    return sorted(scores, key=lambda amplitude: scores[amplitude]), sum(scores.values()) / 2


def write_config(folder: Path, model: Path, port: int, threshold: float) -> Path:
    """A monitor.toml that alarms on the first window above `threshold`."""
    path = folder / "monitor.toml"
    path.write_text(
        f'[model]\npath = "{model}"\nprovider = "cpu"\n[[source]]\nname = "machine"\nkind = "stdin"\nformat = "f32le"\n'
        f"[decision]\nthreshold = {threshold}\nsmoothing_seconds = 0.0\nk = 1\nn = 1\n"
        f'[events]\npath = "events.jsonl"\n[mqtt]\nhost = "127.0.0.1"\nport = {port}\nprefix = "latency"\n'
    )
    return path


def feed(
    process: subprocess.Popen[bytes], metadata: ModelMetadata, amplitudes: list[float], alarms: int
) -> list[float]:
    """Pipe in noise, `alarms` times of the first amplitude and of the second; when each chunk was written."""
    rate = round(metadata.sample_rate_hz)
    chunk, phase_seconds = round(CHUNK_SECONDS * rate), 2 * metadata.window_seconds + 1.0
    random = np.random.default_rng(1)
    written: list[float] = []
    begin = time.monotonic()
    assert process.stdin is not None
    for number in range(round(2 * alarms * phase_seconds * rate / chunk)):
        phase = int(number * chunk / rate / phase_seconds) % 2
        samples = amplitudes[phase] * random.uniform(-1, 1, chunk)
        time.sleep(max(0.0, begin + (number + 1) * chunk / rate - time.monotonic()))
        process.stdin.write(samples.astype("<f4").tobytes())
        process.stdin.flush()
        written.append(time.monotonic())
    return written


@click.command()
@click.argument("model", default=MODEL, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--alarms", default=20, show_default=True, help="How many alarms to wait for.")
def main(model: Path, alarms: int) -> None:
    """Print the figures beside the bar; exit 1 if it is not met."""
    scorer = Scorer(model, provider="cpu")
    metadata = scorer.metadata
    if metadata.kind != "audio" or metadata.channels != 1:
        raise click.ClickException("the model must be one for audio with one channel")
    amplitudes, threshold = usual_and_unusual(scorer)
    # In the working folder: /tmp may be memory.
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name, Broker(Path(name)) as broker:
        folder = Path(name)
        listener = Listener(broker.port)
        config = write_config(folder, model.resolve(), broker.port, threshold)
        program = str(Path(sys.executable).with_name("dasvdd-monitor"))
        with (folder / "stderr").open("wb") as errors:
            process = subprocess.Popen(
                [program, "run", str(config)], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=errors
            )
            time.sleep(2.0)
            written = feed(process, metadata, amplitudes, alarms)
            time.sleep(1.0)
            process.communicate(timeout=20)
        listener.close()
        if len(listener.arrived) < alarms:
            raise click.ClickException(f"{len(listener.arrived)} of {alarms} alarms: {(folder / 'stderr').read_text()}")
    chunk = round(CHUNK_SECONDS * round(metadata.sample_rate_hz))
    delays = sorted(
        arrived - written[int(np.ceil(round(stream_seconds * metadata.sample_rate_hz) / chunk)) - 1]
        for stream_seconds, arrived in listener.arrived.items()
    )
    slowest = delays[-1]
    click.echo(
        f"alarm latency, ms: median {1000 * statistics.median(delays):.0f}, slowest {1000 * slowest:.0f} of "
        f"{len(delays)}, bar {1000 * BAR_SECONDS:.0f}"
    )
    if slowest > BAR_SECONDS:
        sys.exit(1)


if __name__ == "__main__":
    main()
