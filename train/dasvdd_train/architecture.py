"""Which front end and which network sizes a corpus gets where the settings leave them open."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from dasvdd_runtime.errors import ConfigError
from dasvdd_runtime.reading.recording_types import Kind

from .config import FrontEndSettings, FrontEndType, TrainConfig
from .corpus import Corpus
from .front_ends import EnvelopeSpectrum, FrontEnd, LogMel, LogSpectrum, RawWindow, Rows, channel_mix
from .model import DasvddModel

VIBRATION_RATE_HZ = 100.0
"""From this rate on a sensor is taken to vibrate: nobody samples a temperature so fast, and half of it is
the speed of a machine at 3000 turns a minute."""
AUDIO_FRAME_SAMPLES = 1024
MOST_FRAME_SAMPLES = 1024
"""Samples in a frame of a sensor: more resolution costs more than it shows."""
SENSOR_FLOOR_DB = -100.0
"""Lowest level of a sensor's spectrum, relative to the channel's own rms about its mean in the training recordings. It
makes g, m/s2, mV and converter counts give the same features but for a constant, which standardisation removes."""
AUDIO_FLOOR_DB = -120.0
ENVELOPE_MAX_HZ = 500.0

SMALL_NETWORK = ((10, 10), 4)
"""Widths and latent size of the paper's experiment with tables."""
LARGE_NETWORK = ((1024, 256), 256)
"""Those of its experiments with images."""


def build_model(corpus: Corpus, config: TrainConfig) -> DasvddModel:
    """An untrained model for `corpus`. Raises ConfigError for a front end that does not suit it."""
    front_end = _front_end(corpus, config)
    name = front_end.settings()["type"]
    widths, latent = SMALL_NETWORK if name == "rows" else LARGE_NETWORK
    return DasvddModel(
        front_end,
        stacked_frames=config.front_end.stacked_frames or (5 if name == "log_mel" else 1),
        widths=widths if config.network.widths is None else config.network.widths,
        latent=config.network.latent or latent,
    )


def front_end_used(front_end: FrontEnd) -> dict[str, Any]:
    """The settings of `front_end` that a configuration also has."""
    return {key: value for key, value in front_end.settings().items() if key in FrontEndSettings.model_fields}


def front_end_type(wanted: str, *, kind: Kind, sample_rate_hz: float) -> FrontEndType:
    """`wanted`, or what 'auto' means. Raises ConfigError for a type that does not suit the `kind`."""
    if wanted == "auto":
        if kind == "audio":
            return "log_mel"
        return "log_spectrum" if sample_rate_hz >= VIBRATION_RATE_HZ else "rows"
    if kind == "sensor" and wanted == "log_mel":
        raise ConfigError("front_end.type = log_mel is for audio: the mel scale is that of hearing. Use log_spectrum.")
    if kind == "audio" and wanted == "rows":
        raise ConfigError("front_end.type = rows is for sensors: one audio sample says nothing alone. Use raw.")
    return wanted  # type: ignore[return-value]  # the settings allow no other


def _front_end(corpus: Corpus, config: TrainConfig) -> FrontEnd:
    settings = config.front_end
    kind, rate_hz, channels = corpus.kind, corpus.sample_rate_hz, len(corpus.channel_names)
    channel = config.data.channel_for(kind)
    name = front_end_type(settings.type, kind=kind, sample_rate_hz=rate_hz)
    if name == "rows":
        return Rows(channels=channels, channel_names=list(corpus.channel_names), channel=channel)
    if name == "log_mel":
        length = settings.n_fft or AUDIO_FRAME_SAMPLES
        return LogMel(
            sample_rate_hz=rate_hz,
            channels=channels,
            channel=channel,
            n_fft=length,
            frame_hop_samples=settings.frame_hop_samples or _half(length),
            mel_bands=settings.mel_bands,
        )
    given = settings.n_fft if name == "log_spectrum" else settings.frame_samples
    length = given or _frame_samples(name, kind, config.window.window_seconds, rate_hz)
    shared: dict[str, Any] = {
        "kind": kind,
        "sample_rate_hz": rate_hz,
        "channels": channels,
        "channel": channel,
        "channel_names": _names(corpus),
        "frame_hop_samples": settings.frame_hop_samples or _half(length),
    }
    if name == "raw":
        return RawWindow(**shared, frame_samples=length, remove_frame_mean=settings.remove_frame_mean)
    shared["floor_db"] = _floor_db(corpus, channel)
    if name == "log_spectrum":
        return LogSpectrum(**shared, n_fft=length, spectrum_bands=settings.spectrum_bands)
    low_hz = settings.envelope_low_hz or rate_hz / 8
    high_hz = settings.envelope_high_hz or max(low_hz, rate_hz * 3 / 8)
    return EnvelopeSpectrum(
        **shared,
        frame_samples=length,
        envelope_low_hz=low_hz,
        envelope_high_hz=high_hz,
        envelope_max_hz=settings.envelope_max_hz or min(ENVELOPE_MAX_HZ, (high_hz - low_hz) / 2),
    )


def _half(length: int) -> int:
    """Half of `length`, or all of an odd one."""
    return length // 2 if length % 2 == 0 else length


def _frame_samples(name: str, kind: Kind, window_seconds: float, sample_rate_hz: float) -> int:
    """An even frame length: the window for an envelope, else as many equal parts of it as have at most 1024 samples.

    So a window is never longer than was asked for, and a recording of just its length holds one.
    """
    window_samples = max(16, round(window_seconds * sample_rate_hz))
    if kind == "audio" and name != "envelope":
        return AUDIO_FRAME_SAMPLES
    parts = 1 if name == "envelope" else math.ceil(window_samples / MOST_FRAME_SAMPLES)
    return window_samples // parts // 2 * 2


def _names(corpus: Corpus) -> list[str]:
    if corpus.kind == "audio":
        return [f"channel {i}" for i in range(len(corpus.channel_names))]
    return list(corpus.channel_names)


def _floor_db(corpus: Corpus, channel: str) -> list[float]:
    """Lowest level per selected channel, in whole dB: fixed for audio, relative to the training data for sensors."""
    mix = channel_mix(channel, len(corpus.channel_names)).T.astype(np.float64)
    if corpus.kind == "audio":
        return [AUDIO_FLOOR_DB] * mix.shape[1]
    count, total, squares = 0, np.zeros(len(mix)), np.zeros(mix.shape[1])
    for stretch in corpus.with_role("train"):
        count += len(stretch.samples)
        total += sum(block.sum(axis=0, dtype=np.float64) for block in stretch.samples.blocks())
    mean = total / max(1, count)
    for stretch in corpus.with_role("train"):
        squares += sum(np.square((block - mean) @ mix).sum(axis=0) for block in stretch.samples.blocks())
    variance = squares / max(1, count)
    rms_db = 10 * np.log10(np.where(variance > 0, variance, 1.0))  # a channel that stands still has no scale
    return [float(level) for level in np.round(rms_db + SENSOR_FLOOR_DB)]
