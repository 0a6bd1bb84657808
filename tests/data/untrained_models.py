"""Models with random weights behind every front end and choice of channels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from dasvdd_train.front_ends import EnvelopeSpectrum, FrontEnd, LogMel, LogSpectrum, RawWindow, Rows
from dasvdd_train.model import DasvddModel
from dasvdd_train.model_file import TrainedModel, load_model


def untrained(front_end: FrontEnd, stacked_frames: int) -> TrainedModel:
    """A model with random weights behind `front_end`, enough for the graph."""
    torch.manual_seed(0)
    audio = front_end.kind == "audio"
    model = DasvddModel(front_end, stacked_frames=stacked_frames, widths=(32, 16), latent=8).eval()
    model.requires_grad_(False)
    model.mean.fill_(-60 if audio else 0)
    model.std.fill_(12 if audio else 1)
    model.center.normal_()
    model.gamma.fill_(2.5)
    channels = front_end.settings()["channels"]
    tiny = load_model(Path(__file__).with_name("schema_1.0") / "sensor.pt")
    fields = {name: getattr(tiny, name) for name in tiny.__dataclass_fields__}
    baseline = type(tiny.baseline)([-20] * 3, [], [], [0.0] * channels, [0.1] * channels)
    return TrainedModel(
        **fields
        | {
            "model": model,
            "channel_names": tuple(f"channel {i + 1}" for i in range(channels)),
            "window_samples": front_end.frame_hop_samples * 30,
            "baseline": baseline,
        }
    )


XYZ: dict[str, Any] = {
    "kind": "sensor", "sample_rate_hz": 200.0, "channels": 3, "channel": "all", "channel_names": ["x", "y", "z"],
}  # fmt: skip
STEREO: dict[str, Any] = {
    "kind": "audio", "sample_rate_hz": 16000.0, "channels": 2, "channel": "1", "channel_names": ["left", "right"],
}  # fmt: skip
FRONT_ENDS = {
    "mono": (LogMel(sample_rate_hz=16000.0, channels=1), 5),
    "hop 1/3": (LogMel(sample_rate_hz=16000.0, channels=1, n_fft=480, frame_hop_samples=160, mel_bands=32), 2),
    "hop as long as a frame": (LogMel(sample_rate_hz=16000.0, channels=1, n_fft=510, frame_hop_samples=510), 1),
    "odd frames": (LogMel(sample_rate_hz=16000.0, channels=1, n_fft=625, frame_hop_samples=125, mel_bands=64), 1),
    "hop 1/4": (LogMel(sample_rate_hz=16000.0, channels=1, frame_hop_samples=256), 3),
    "second channel": (LogMel(sample_rate_hz=16000.0, channels=2, channel="1", mel_bands=40), 1),
    "mean channel": (LogMel(sample_rate_hz=44100.0, channels=2, channel="mean", mel_bands=40), 5),
    "all channels": (LogMel(sample_rate_hz=16000.0, channels=2, channel="all", mel_bands=40), 2),
    "rows": (Rows(channels=3, channel_names=["x", "y", "z"]), 1),
    "stacked rows": (Rows(channels=3, channel_names=["x", "y", "z"]), 8),
    "log spectrum": (LogSpectrum(**XYZ, n_fft=128, frame_hop_samples=64, spectrum_bands=0, floor_db=[-100.0] * 3), 1),
    "odd bins": (LogSpectrum(**XYZ, n_fft=50, frame_hop_samples=25, spectrum_bands=0, floor_db=[-100.0] * 3), 2),
    "banded spectrum": (LogSpectrum(**STEREO, n_fft=512, frame_hop_samples=256, spectrum_bands=40, floor_db=[-120]), 3),
    "envelope": (
        EnvelopeSpectrum(
            **STEREO,
            frame_samples=4096,
            frame_hop_samples=2048,
            envelope_low_hz=2000.0,
            envelope_high_hz=6000.0,
            envelope_max_hz=500.0,
            floor_db=[-120.0],
        ),
        1,
    ),
    "raw": (RawWindow(**XYZ, frame_samples=64, frame_hop_samples=32, remove_frame_mean=False), 2),
    "raw without mean": (RawWindow(**XYZ, frame_samples=64, frame_hop_samples=64, remove_frame_mean=True), 1),
    "one column": (Rows(channels=3, channel_names=["x", "y", "z"], channel="2"), 1),
}
