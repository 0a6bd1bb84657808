"""The most unusual pieces of the recordings: a picture of each and, for audio, a player. All inline."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import soundfile
import soxr
from dasvdd_runtime.contract import UNIT_NOT_STATED
from dasvdd_runtime.reading.recording_types import used_channels
from numpy.typing import NDArray

from ..inspection import Clip
from .drawing import as_svg, canvas, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PICTURE = (5.2, 2.7)
PLAYER_RATE_HZ = 16000
"""Players carry no more than this rate, which keeps one of ten seconds below 400 kB."""
PLAYER_PEAK = 0.9
N_FFT = 1024
SPAN_DB = 70.0
"""Levels further below the loudest are drawn alike."""
MOST_COLUMNS = 500
MOST_CHANNELS = 6


def mono(samples: NDArray[np.float32], channel: str) -> NDArray[np.float32]:
    """What the model hears of `samples` [samples, channels], as one channel [samples]: those it uses, averaged."""
    used = samples[:, used_channels(channel, samples.shape[1])]
    mixed: NDArray[np.float32] = used.mean(axis=1, dtype=np.float32)
    return mixed


def player_data(signal: NDArray[np.float32], sample_rate_hz: float) -> tuple[str, float]:
    """A FLAC data URI of `signal` [samples], made louder or softer to a fixed peak, and by how many dB it was."""
    if sample_rate_hz > PLAYER_RATE_HZ:
        signal = soxr.resample(signal, sample_rate_hz, PLAYER_RATE_HZ)
        sample_rate_hz = PLAYER_RATE_HZ
    signal = signal - signal.mean()
    peak = float(np.abs(signal).max())
    gain = PLAYER_PEAK / peak if peak > 0 else 1.0
    buffer = io.BytesIO()
    soundfile.write(buffer, signal * gain, round(sample_rate_hz), format="FLAC", subtype="PCM_16")
    return f"data:audio/flac;base64,{base64.b64encode(buffer.getvalue()).decode()}", 20 * float(np.log10(gain))


def spectrogram_db(signal: NDArray[np.float32], sample_rate_hz: float) -> tuple[NDArray[np.float64], float]:
    """Levels [frequencies, frames] in dB of a full-scale sine from 0 Hz to half the rate, and seconds per frame."""
    from matplotlib import mlab

    length = min(N_FFT, len(signal))
    hop = max(1, length // 2, (len(signal) - length) // MOST_COLUMNS)
    spectrum, _, _ = mlab.specgram(
        signal,
        NFFT=length,
        Fs=sample_rate_hz,
        noverlap=max(0, length - hop),
        mode="magnitude",
        window=np.hanning(length),
    )
    return 20 * np.log10(np.maximum(2 * np.asarray(spectrum, np.float64), 1e-6)), hop / sample_rate_hz


def clip_figure(
    clip: Clip,
    number: int,
    *,
    kind: str,
    sample_rate_hz: float,
    window_seconds: float,
    channel: str,
    channel_names: Sequence[str],
    units: Sequence[str],
) -> str:
    """A spectrogram (audio) or the channels over time (sensors), with the unusual window between two lines, as SVG."""
    seconds = len(clip.samples) / sample_rate_hz
    with canvas(PICTURE) as (figure, axes):
        if kind == "audio":
            levels, _ = spectrogram_db(mono(clip.samples, channel), sample_rate_hz)
            image = axes.imshow(
                levels,
                origin="lower",
                aspect="auto",
                extent=(clip.start_seconds, clip.start_seconds + seconds, 0, sample_rate_hz / 2000),
                cmap="magma",
                vmin=float(levels.max()) - SPAN_DB,
                vmax=float(levels.max()),
                interpolation="nearest",
            )
            axes.grid(False)
            axes.set_ylabel("kHz")
            figure.colorbar(image, ax=axes, label="dB of full scale", pad=0.02)
            mark = "white"
        else:
            edges = (np.array([-0.5, 0.5]) * window_seconds + clip.peak_seconds - clip.start_seconds) * sample_rate_hz
            inside = slice(max(0, int(edges[0])), max(1, int(edges[1])))
            used = used_channels(channel, clip.samples.shape[1])
            _draw_channels(axes, clip, most_unusual(clip.samples, inside, used), sample_rate_hz, channel_names, units)
            mark = "black"
        for edge in (-0.5, 0.5):
            axes.axvline(clip.peak_seconds + edge * window_seconds, color=mark, linestyle="--", linewidth=1)
        axes.set_xlabel("time in the recording (s)")
        picture = "Spectrogram" if kind == "audio" else "Channels over time"
        return as_svg(
            figure,
            f"clip{number}",
            f"{picture} of {clip.name} from {clip.start_seconds:.1f} s, most unusual at {clip.peak_seconds:.1f} s",
        )


def most_unusual(samples: NDArray[np.float32], inside: slice, used: Sequence[int]) -> list[int]:
    """Up to MOST_CHANNELS of the `used` channels of `samples` [samples, channels] that differ most `inside`.

    Difference is that of the mean inside from the piece's median, over the piece's standard deviation; largest first.
    """
    piece = samples[:, list(used)].astype(np.float64)
    spread = np.maximum(piece.std(axis=0), 1e-12)
    change = np.abs(piece[inside].mean(axis=0) - np.median(piece, axis=0)) / spread
    return [used[i] for i in np.argsort(-change, kind="stable")[:MOST_CHANNELS]]


def _draw_channels(
    axes: Axes,
    clip: Clip,
    places: Sequence[int],
    sample_rate_hz: float,
    channel_names: Sequence[str],
    units: Sequence[str],
) -> None:
    """The channels `places` one below the other, each over its own range, which stands beside its name."""
    time = clip.start_seconds + np.arange(len(clip.samples)) / sample_rate_hz
    step = max(1, len(time) // 2000)
    labels = []
    for row, place in enumerate(places):
        column = clip.samples[:, place].astype(np.float64)
        low, high = float(column.min()), float(column.max())
        scaled = (column - low) / (high - low) if high > low else np.full(len(column), 0.5)
        axes.plot(time[::step], 0.8 * scaled[::step] - row, linewidth=1, color=f"C{row}")
        unit = f" {units[place]}" if units[place] != UNIT_NOT_STATED else ""
        labels.append(f"{shortened(channel_names[place])}\n{low:.3g} to {high:.3g}{unit}")
    axes.set_yticks(0.4 - np.arange(len(places)), labels, fontsize=8)
    axes.set_xlim(time[0], max(time[-1], time[0] + 1e-9))
