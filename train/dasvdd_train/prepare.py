"""Recordings and settings -> what a training starts from: stretches with roles, an untrained model, window sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from dasvdd_runtime.errors import DataError
from dasvdd_runtime.reading.manifest import Segment
from dasvdd_runtime.thresholds.decision_chain import MINIMUM_WINDOWS
from dasvdd_runtime.words import count, duration

from .architecture import build_model, front_end_used
from .config import DataSettings, TrainConfig
from .corpus import Corpus, Stretch, load_corpus
from .diagnosis import Doubt, short_doubts
from .features import Geometry, geometry
from .metrics import EpochMetrics
from .model import DasvddModel
from .silence import without_silence
from .split import hold_out


class Listener(Protocol):
    """Who is told how the run goes; the command line prints it."""

    def say(self, text: str) -> None:
        """A fact worth a line."""
        ...

    def warn(self, text: str) -> None:
        """Something that makes the result doubtful."""
        ...

    def reading(self, segment: Segment) -> None:
        """The next recording is being read."""
        ...

    def working(self, text: str, done: int, total: int) -> None:
        """What is worked on between the reading and the end but for epochs, and how far it is."""
        ...

    def epoch(self, metrics: EpochMetrics) -> None:
        """An epoch has ended."""
        ...


@dataclass(frozen=True)
class Prepared:
    """All that is known before the first feature is computed."""

    corpus: Corpus
    """With its held-out part split off."""
    model: DasvddModel
    """Untrained."""
    config: TrainConfig
    """With what was automatic replaced by what is used."""
    sizes: Geometry
    training: list[Stretch]
    """The stretches that are trained on."""
    warnings: list[Doubt]


def prepare(segments: Sequence[Segment], config: TrainConfig, *, folder: Path | None, listener: Listener) -> Prepared:
    """Read `segments` into a temporary file in `folder`, choose the model, split off the held-out part, and say so.

    Raises DataError where nothing usable is left or too little is held out for a threshold, ConfigError for settings
    that do not suit the data.
    """
    corpus = load_corpus(segments, config.data, folder=folder, on_segment=listener.reading)
    model = build_model(corpus, config)
    config = _effective(config, corpus, model)
    sizes = geometry(
        model,
        window_seconds=config.window.window_seconds,
        window_hop_seconds=config.window.window_hop_seconds,
        sample_rate_hz=corpus.sample_rate_hz,
    )
    corpus, silent = without_silence(corpus, sizes, config.data)
    # Before what may refuse the rest: why so little is left stands there.
    warnings = [Doubt("left-out", f"left out: {reason}") for reason in corpus.rejected]
    warnings += [Doubt("left-out", line) for line in silent]
    warnings += [Doubt("upsampled", line) for line in corpus.upsampled]
    for warning in warnings:
        listener.warn(warning.text)
    try:
        whole, corpus = corpus, _split(corpus, config.data, sizes)
        _require_a_threshold(whole, corpus, config.data, sizes)
    except DataError as error:
        raise DataError(f"{error}{_labels_alone(segments)}") from error
    training, too_short = _long_enough(corpus, sizes)
    late = [Doubt("left-out", f"left out: {reason}") for reason in too_short]
    late += _short_doubts(corpus, config, sizes)
    for warning in late:
        listener.warn(warning.text)
    _describe(corpus, sizes, config, listener)
    return Prepared(corpus, model, config, sizes, training, warnings + late)


def _labels_alone(segments: Sequence[Segment]) -> str:
    """What to do where all that is trained on has a note, as the judged alarms of `export-labels` have."""
    training = [segment for segment in segments if segment.role in ("train", "holdout")] or segments
    if not all(segment.note for segment in training):
        return ""
    return (
        " Alarms that were judged are no training set by themselves: `dasvdd-monitor export-labels --out labels.csv "
        "--with recordings/healthy` adds the healthy recordings."
    )


def _effective(config: TrainConfig, corpus: Corpus, model: DasvddModel) -> TrainConfig:
    """`config` with what was automatic replaced by what is used, so that config.toml makes the same model again."""
    used = {
        "data": {"sample_rate_hz": corpus.sample_rate_hz, "channel": model.front_end.settings()["channel"]},
        "front_end": front_end_used(model.front_end) | {"stacked_frames": model.stacked_frames},
        "network": {"widths": model.widths, "latent": model.latent},
    }
    return config.model_copy(update={name: getattr(config, name).model_copy(update=u) for name, u in used.items()})


def _split(corpus: Corpus, settings: DataSettings, sizes: Geometry) -> Corpus:
    return hold_out(corpus, settings, window_samples=sizes.window_samples, minimum_train_samples=sizes.minimum_samples)


def _require_a_threshold(whole: Corpus, split: Corpus, settings: DataSettings, sizes: Geometry) -> None:
    """Raises DataError where the held-out part of `split` is too small for a threshold: before the training, not after.

    `whole`: the corpus before it was split, from which other ways to hold out are judged.
    """
    windows = _held_out_windows(split, sizes)
    if not split.with_role("holdout") or windows >= MINIMUM_WINDOWS:
        return
    ways = []
    training = whole.with_role("train")
    if whole.with_role("holdout"):
        ways.append("Give more of the recordings the role holdout.")
    else:
        # As many windows in the tail of each as make up the least together.
        hops = -(-MINIMUM_WINDOWS // len(training)) - 1
        tail_seconds = (sizes.window_samples + hops * sizes.window_hop_samples) / whole.sample_rate_hz
        ways.append(
            f"Record each of the {count(len(training), 'recording')} for at least "
            f"{duration(tail_seconds / settings.holdout_share + 0.05)}, or record more of them."
        )
        if settings.holdout == "tail" and len(training) * settings.holdout_share >= 0.5 and len(training) > 1:
            other = _split(whole, settings.model_copy(update={"holdout": "recordings"}), sizes)
            if _held_out_windows(other, sizes) >= MINIMUM_WINDOWS:
                held = f"{len(other.with_role('holdout'))} of the {len(training)}"
                ways.append(f"--holdout recordings holds out {held} whole instead, and is enough.")
    ways.append(
        "--holdout none trains without a threshold; dasvdd-export then needs --calibration with other healthy ones."
    )
    held_out = f"{count(windows, 'window')} of {sizes.window_samples / whole.sample_rate_hz:.3g} s"
    raise DataError(
        f"the held-out part holds {held_out}, and an alarm threshold needs at least {MINIMUM_WINDOWS}, so nothing is "
        f"trained. {' '.join(ways)}"
    )


def _short_doubts(corpus: Corpus, config: TrainConfig, sizes: Geometry) -> list[Doubt]:
    tested = corpus.with_role("test_normal", "test_anomalous")
    hop_seconds = sizes.window_hop_samples / corpus.sample_rate_hz
    least = config.decision.windows_to_alarm(hop_seconds)
    return short_doubts(
        [sizes.windows_in(len(stretch.samples)) for stretch in tested],
        windows_to_alarm=least,
        seconds_to_alarm=sizes.window_samples / corpus.sample_rate_hz + (least - 1) * hop_seconds,
    )


def _held_out_windows(corpus: Corpus, sizes: Geometry) -> int:
    return sum(sizes.windows_in(len(stretch.samples)) for stretch in corpus.with_role("holdout"))


def _long_enough(corpus: Corpus, sizes: Geometry) -> tuple[list[Stretch], list[str]]:
    """The training stretches that hold a feature vector, and the reasons against the others.

    Raises DataError if there is none.
    """
    stretches = corpus.with_role("train")
    reasons = [
        f"{stretch.name}: {len(stretch.samples)} samples to train on, a feature vector takes {sizes.minimum_samples}"
        for stretch in stretches
        if len(stretch.samples) < sizes.minimum_samples
    ]
    if len(reasons) == len(stretches):
        raise DataError("every recording is too short to train on:\n  " + "\n  ".join(reasons))
    return [stretch for stretch in stretches if len(stretch.samples) >= sizes.minimum_samples], reasons


def _channel_words(channel: str, channels: int) -> str:
    """What is judged of audio with several channels, and what that asks of the device."""
    device = (
        f"the device must deliver {channels} channels too, and a mono recording is refused. For a mono microphone "
        "train on mono recordings: ffmpeg -i stereo.wav -ac 1 mono.wav"
    )
    if not channel.isdecimal():
        return f"channels: {channel} of {channels} ({'judged each' if channel == 'all' else 'mixed'}); {device}"
    rest = "the other is" if channels == 2 else "the others are"
    other = "1" if channel == "0" else "0"
    return (
        f"channel {channel} of {channels}, counted from 0, is judged, and {rest} not used: --channel {other} takes "
        f"another, --channel mean all of them mixed. Still, {device}"
    )


def _describe(corpus: Corpus, sizes: Geometry, config: TrainConfig, listener: Listener) -> None:
    for note in corpus.notes:
        listener.say(note)
    seconds = {
        role: corpus.seconds_of(corpus.with_role(role))
        for role in ("train", "holdout", "test_normal", "test_anomalous")
    }
    parts = ", ".join(f"{value:.1f} s {role.replace('_', ' ')}" for role, value in seconds.items() if value)
    channels = len(corpus.channel_names)
    listener.say(f"{corpus.kind} at {corpus.sample_rate_hz:g} Hz, {count(channels, 'channel')}: {parts}")
    if corpus.kind == "audio" and channels > 1:
        listener.say(_channel_words(config.data.channel, channels))
    window = sizes.window_samples / corpus.sample_rate_hz
    hop = sizes.window_hop_samples / corpus.sample_rate_hz
    rounded = (window, hop) != (config.window.window_seconds, config.window.window_hop_seconds)
    listener.say(f"windows of {window:g} s every {hop:g} s{' (rounded to whole frame hops)' if rounded else ''}")
