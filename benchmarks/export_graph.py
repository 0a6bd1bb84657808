"""How fast is the exported graph beside other ways to the same score?  python benchmarks/export_graph.py

A clip of 10 s at 16 kHz, log-mel (FFT 1024, hop 512, 128 bands), five stacked frames and the network 640-128-128-128-8
and back, one thread. The ways take turns, so that a busy machine is as unkind to each, and medians are compared:

- graph: what dasvdd-export writes, in onnxruntime
- torch: the best eager form: torch.stft, re^2 + im^2, mel product, the same network
- unfolded: the graph with one matrix product for the whole DFT
- librosa: librosa's mel spectrogram in dB, and the network in onnxruntime
- network: only that, on frames that are there

Claims: the graph takes at most the time of torch, the unfolded graph at least 1.6 times, librosa at least 5 times as
long. Beside them stand two limits of the same run: the network alone, which both have to run (what librosa takes over
it is the most that any front end could be ahead, even one of no cost), and the time of the graph's matrix products at
the speed of one large product.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

import click

os.environ["OMP_NUM_THREADS"] = "1"  # before numpy is imported

import librosa
import numpy as np
import torch
from dasvdd_export.fused import export_model
from dasvdd_runtime.model_files.opening import open_session
from dasvdd_train.front_ends import POWER_FLOOR, FrontEnd, LogMel, Rows, hann_dft_basis, mel_filters
from dasvdd_train.model import DasvddModel
from graph_arithmetic import MatrixProduct, flop_a_window
from numpy.typing import NDArray
from torch import Tensor, nn

RATE_HZ, SECONDS, N_FFT, HOP, MEL_BANDS, STACKED = 16000, 10, 1024, 512, 128, 5
WIDTHS, LATENT = (128, 128, 128), 8
TORCH_BAR, UNFOLDED_BAR, LIBROSA_BAR = 1.0, 1.6, 5.0
SAMPLES = RATE_HZ * SECONDS // HOP * HOP
AGREE = 1e-4
"""Largest relative difference between the residuals of two ways."""

Way = Callable[[], NDArray[np.float32]]
"""To the residual [bands] of the clip, whose sum is the reconstruction error."""


class WholeDft(nn.Module):
    """Log-mel frames with one matrix product for the DFT of a frame."""

    def __init__(self) -> None:
        super().__init__()
        self.log_mel = LogMel(sample_rate_hz=RATE_HZ, channels=1)
        self.register_buffer("basis", torch.from_numpy(hann_dft_basis(N_FFT)))
        self.register_buffer("filters", torch.from_numpy(filters()))

    def forward(self, window: Tensor) -> Tensor:
        """Frames [batch, frames, bands] of `window` [batch, 1, samples]."""
        spectrum = torch.matmul(self.log_mel.frames_of(window), cast(Tensor, self.basis))
        real, imaginary = torch.split(spectrum, N_FFT // 2 + 1, dim=2)
        return decibels(torch.matmul(real * real + imaginary * imaginary, cast(Tensor, self.filters)))


class TorchStft(nn.Module):
    """Log-mel frames by torch.stft."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("hann", torch.hann_window(N_FFT) * 2 / torch.hann_window(N_FFT).sum())
        self.register_buffer("filters", torch.from_numpy(filters().T.copy()))

    def forward(self, window: Tensor) -> Tensor:
        """Frames [batch, frames, bands] of `window` [batch, 1, samples]."""
        hann = cast(Tensor, self.hann)
        spectrum = torch.stft(window[:, 0], N_FFT, HOP, window=hann, center=False, return_complex=True)
        power = spectrum.real.square() + spectrum.imag.square()
        return decibels(torch.matmul(cast(Tensor, self.filters), power)).transpose(1, 2)


def filters() -> NDArray[np.float32]:
    """The mel filters [bins, bands]."""
    return mel_filters(sample_rate_hz=RATE_HZ, n_fft=N_FFT, mel_bands=MEL_BANDS)[0]


def decibels(power: Tensor) -> Tensor:
    """`power` relative to a full-scale sine in dB."""
    return 10 * torch.log10(power.clamp_min(POWER_FLOOR))


def model_behind(front_end: FrontEnd) -> DasvddModel:
    """The network of the claim, with the same random weights behind each `front_end`."""
    torch.manual_seed(0)
    model = DasvddModel(front_end, stacked_frames=STACKED, widths=WIDTHS, latent=LATENT)
    model.mean.fill_(-60)
    model.std.fill_(12)
    model.gamma.fill_(2.5)
    return model.eval().requires_grad_(False)


def log_mel_model(frames: nn.Module | None) -> DasvddModel:
    """The model of the claim, with `frames` in place of the product's front end."""
    model = model_behind(LogMel(sample_rate_hz=RATE_HZ, channels=1))
    if frames is not None:
        model.front_end = cast(FrontEnd, frames)
    return model


def in_onnxruntime(
    model: DasvddModel, path: Path, shape: tuple[int, int]
) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """Residual of an input of `shape` by the graph of `model`, written to `path`."""
    path.write_bytes(export_model(model, shape).SerializeToString())
    session = open_session(path, provider="cpu", threads=1).session
    return lambda batch: np.asarray(session.run(["score", "residual"], {"window": batch})[1][0])


def the_ways(clip: NDArray[np.float32], folder: Path) -> dict[str, Way]:
    """Each way to the score and residual of `clip` [samples]; the graphs are written to `folder`."""
    batch = clip[None, None]
    graph = in_onnxruntime(log_mel_model(None), folder / "graph.onnx", (1, SAMPLES))
    unfolded = in_onnxruntime(log_mel_model(WholeDft()), folder / "unfolded.onnx", (1, SAMPLES))
    frame_count = SAMPLES // HOP - N_FFT // HOP + 1
    bands = Rows(channels=MEL_BANDS, channel_names=[str(band) for band in range(MEL_BANDS)])
    network = in_onnxruntime(model_behind(bands), folder / "network.onnx", (frame_count, MEL_BANDS))
    eager = log_mel_model(TorchStft())
    full_scale = float(librosa.filters.get_window("hann", N_FFT).sum() / 2) ** 2

    with torch.no_grad():
        frames = np.ascontiguousarray(LogMel(sample_rate_hz=RATE_HZ, channels=1)(torch.from_numpy(batch)).numpy())

    def in_torch() -> NDArray[np.float32]:
        with torch.no_grad():
            return np.asarray(eager(torch.from_numpy(batch))[3][0].numpy())

    def in_librosa() -> NDArray[np.float32]:
        power = librosa.feature.melspectrogram(
            y=clip, sr=RATE_HZ, n_fft=N_FFT, hop_length=HOP, center=False, n_mels=MEL_BANDS, norm=None
        )
        frames = librosa.power_to_db(power, ref=full_scale, amin=POWER_FLOOR * full_scale, top_db=None)
        return network(np.ascontiguousarray(frames.T[None], np.float32))

    return {
        "graph": lambda: graph(batch),
        "torch": in_torch,
        "unfolded": lambda: unfolded(batch),
        "librosa": in_librosa,
        "network": lambda: network(frames),
    }


@click.command()
@click.option("--turns", default=200, show_default=True)
def main(turns: int) -> None:
    """Print the ratios beside their bars; exit 1 if one is not met."""
    torch.set_num_threads(1)
    clip = (0.05 * np.random.default_rng(0).standard_normal(SAMPLES)).astype(np.float32)
    product, flop_a_second = MatrixProduct(), []
    with tempfile.TemporaryDirectory() as folder:
        ways = the_ways(clip, Path(folder))
        flop = flop_a_window(Path(folder) / "graph.onnx")
        residuals = {name: way() for name, way in ways.items()}
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(turns):
            for name, way in ways.items():
                begin = time.process_time()
                way()
                seconds[name].append(time.process_time() - begin)
            flop_a_second.append(product.flop_a_second(1))
    apart = max(float(np.abs(residual / residuals["graph"] - 1).max()) for residual in residuals.values())
    if not apart <= AGREE:
        raise click.ClickException(f"the ways disagree by {apart:.2g} relative, allowed {AGREE:.0e}")
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    for name, median in medians.items():
        click.echo(f"{name}: {1000 * median:.2f} ms of processor time")
    to_torch = medians["graph"] / medians["torch"]
    unfolded, with_librosa = (medians[name] / medians["graph"] for name in ("unfolded", "librosa"))
    limit = flop / statistics.median(flop_a_second)
    click.echo(f"the graph takes {to_torch:.2f} times what torch takes (bar at most {TORCH_BAR})")
    click.echo(f"the unfolded graph takes {unfolded:.2f} times what the graph takes (bar {UNFOLDED_BAR})")
    click.echo(
        f"librosa takes {with_librosa:.1f} times what the graph takes (bar {LIBROSA_BAR}), and "
        f"{medians['librosa'] / medians['network']:.1f} times what the network alone takes"
    )
    click.echo(
        f"the graph takes {medians['graph'] / limit:.2f} times its matrix products ({flop / 1e6:.0f} MFLOP at "
        f"{flop / limit / 1e9:.0f} GFLOP/s: {1000 * limit:.2f} ms); the residuals agree to {apart:.1g}"
    )
    if to_torch > TORCH_BAR or unfolded < UNFOLDED_BAR or with_librosa < LIBROSA_BAR:
        sys.exit(1)


if __name__ == "__main__":
    main()
