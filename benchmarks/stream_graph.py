"""How much does the stream form of overlapping windows gain?  python benchmarks/stream_graph.py

16 kHz, log-mel with the default settings (FFT 1024, hop 512, 128 bands, five stacked frames), one thread, one stream.
Behind it two networks: the small one of export_graph.py, 640-128-128-128-8, and the default one, 640-1024-256-256.
Plain and stream form score the same windows in turns, through the scorers that the monitor uses, and medians are
compared.

Claims: the stream form scores one more window at least three times as fast for 10 s every 2.5 s, and 1.7 times for 1 s
every 0.25 s, with the small network. Beside them stands the limit: feature vectors of a window over those of a hop,
which is what the arithmetic allows. With the default network single hops of 1 s windows meet another limit: its weights
are read from memory for eight vectors.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import click

os.environ["OMP_NUM_THREADS"] = "1"  # before numpy is imported

import numpy as np
import torch
from dasvdd_export.fused import export_model, export_stream_form
from dasvdd_export.stream_form import StreamForm
from dasvdd_runtime.model_files.opening import open_session
from dasvdd_train.front_ends import LogMel
from dasvdd_train.model import DasvddModel

RATE_HZ, HOP = 16000, 512
NETWORKS = {"small": ((128, 128, 128), 8), "default": ((1024, 256), 256)}
SIZES = {(10.0, 2.5): 3.0, (1.0, 0.25): 1.7}
"""Window and hop in seconds, and the bar."""
AGREE = 1e-5


def make_model(widths: tuple[int, ...], latent: int) -> DasvddModel:
    """Random weights behind the default front end."""
    torch.manual_seed(0)
    front_end = LogMel(sample_rate_hz=RATE_HZ, channels=1)
    model = DasvddModel(front_end, stacked_frames=5, widths=widths, latent=latent)
    model.mean.fill_(-60)
    model.std.fill_(12)
    model.gamma.fill_(2.5)
    return model.eval().requires_grad_(False)


def compared(model: DasvddModel, window: int, hop: int, streams: int, turns: int, folder: Path) -> tuple[float, float]:
    """Median milliseconds of processor time of one more window of `streams` at once, by plain and by stream form."""
    form = StreamForm(model, window_samples=window, window_hop_samples=hop)
    (folder / "plain.onnx").write_bytes(export_model(model, (1, window)).SerializeToString())
    (folder / "stream.onnx").write_bytes(export_stream_form(form, (1, hop)).SerializeToString())
    plain, stream = (
        open_session(folder / f"{name}.onnx", provider="cpu", threads=1).session for name in ("plain", "stream")
    )
    lead_in = -(-window // hop)
    samples = 0.05 * np.random.default_rng(0).standard_normal((streams, 1, (lead_in + turns) * hop)).astype(np.float32)
    state = np.zeros((streams, form.state_size), np.float32)
    times: list[tuple[float, float]] = []
    for number in range(lead_in + turns):
        end = (number + 1) * hop
        newest = np.ascontiguousarray(samples[:, :, end - hop : end])
        begin = time.process_time()
        found, state = stream.run(["score", "state_next"], {"samples": newest, "state": state})
        between = time.process_time()
        if number < lead_in:
            continue
        whole = np.ascontiguousarray(samples[:, :, end - window : end])
        begin_plain = time.process_time()
        (expected,) = plain.run(["score"], {"window": whole})
        times.append((time.process_time() - begin_plain, between - begin))
        apart = float(np.abs(found / expected - 1).max())
        if not apart <= AGREE:
            raise click.ClickException(f"the forms disagree by {apart:.2g} relative, allowed {AGREE:.0e}")
    return 1000 * statistics.median(t[0] for t in times), 1000 * statistics.median(t[1] for t in times)


@click.command()
@click.option("--turns", default=200, show_default=True)
def main(turns: int) -> None:
    """Print the ratios beside their bars; exit 1 if one of the small network is not met."""
    torch.set_num_threads(1)
    missed = False
    for network, (widths, latent) in NETWORKS.items():
        model = make_model(widths, latent)
        for (window_seconds, hop_seconds), bar in SIZES.items():
            window, hop = (round(seconds * RATE_HZ / HOP) * HOP for seconds in (window_seconds, hop_seconds))
            limit = (window // HOP - 5) / (hop // HOP)
            for streams in (1, 16):
                with tempfile.TemporaryDirectory() as folder:
                    plain, stream = compared(model, window, hop, streams, turns, Path(folder))
                held = streams == 1
                click.echo(
                    f"{network} network, {window_seconds:g} s every {hop_seconds:g} s, {streams} at once: plain "
                    f"{plain:.2f} ms, stream {stream:.2f} ms, {plain / stream:.2f} times as fast"
                    f"{f' (bar {bar})' if held else ''}; {limit:.2f} times fewer vectors"
                )
                missed |= held and network == "small" and plain / stream < bar
    if missed:
        sys.exit(1)


if __name__ == "__main__":
    main()
