"""One training run from end to end: recordings -> model.pt, holdout.npz, metrics.jsonl, config.toml, report.html."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from dasvdd_runtime.calibration import Calibration, NotEnoughScores, calibrate
from dasvdd_runtime.condition.spectrum import baseline_with_spectrum
from dasvdd_runtime.contract import TrainingSummary
from dasvdd_runtime.errors import DataError
from dasvdd_runtime.reading.manifest import Segment
from dasvdd_runtime.reading.recording_types import used_channels
from numpy.typing import NDArray

from .checkpoint import CHECKPOINT_NAME, PROGRESS_NAME, check_resumable, checkpoint_of_run
from .config import TrainConfig
from .corpus import Corpus, Stretch, fingerprint
from .data_diagnosis import (
    amount_doubts,
    calibration_doubts,
    channel_doubts,
    held_out_doubts,
    mixture_doubts,
    share_doubts,
)
from .diagnosis import (
    Doubt,
    LatentFigures,
    latent_figures,
    missed_doubts,
    refuse_diverged,
    separation_doubts,
    training_doubts,
)
from .evaluation import Evaluation, ScoredStream, evaluate
from .features import FeatureVectors, Geometry, feature_vectors, fit_standardisation, frame_table
from .holdout import MAX_BYTES, MAX_TEST_BYTES, MAX_TEST_WINDOWS, MAX_WINDOWS, Holdout, LabelledWindows
from .inspection import Inspection, inspect
from .metrics import EpochMetrics, learning_curve
from .model import DasvddModel
from .model_file import TrainedModel
from .outputs import OUTPUT_NAMES, MetricsLog, write_outputs
from .prepare import Listener, Prepared, prepare
from .scoring import sample_windows, score_stretch, score_windows
from .trainer import choose_device, train


@dataclass(frozen=True)
class Result:
    """What a run made."""

    trained: TrainedModel
    evaluation: Evaluation | None
    inspection: Inspection
    files: list[Path]
    warnings: list[Doubt]


@dataclass(frozen=True)
class _Learned:
    """A trained model, and what is known of its training."""

    prepared: Prepared
    """With `prepared.model` trained."""
    vectors: FeatureVectors
    """Those that it was trained on."""
    constant_bands: list[str]
    data_fingerprint: str
    history: list[EpochMetrics]
    latent: LatentFigures


@dataclass(frozen=True)
class _Scored:
    """Scored stretches of the held-out and test roles."""

    streams: list[ScoredStream]
    residual_by_role: dict[str, list[float]]

    def held_out(self) -> list[NDArray[np.float64]]:
        return [stream.scores for stream in self.streams if stream.role == "holdout"]


def run(
    segments: Sequence[Segment],
    out: Path,
    config: TrainConfig,
    *,
    name: str,
    listener: Listener,
    resume: bool = False,
    watchers: Sequence[Callable[[EpochMetrics], None]] = (),
) -> Result:
    """Train on `segments` and write everything into the folder `out`. Errors are those of the steps.

    While it trains, `out` holds a checkpoint of each epoch; with `resume` an interrupted training goes on from it. What
    an earlier training left in `out` is replaced as a whole, when all of the new is there. `watchers` are told of each
    epoch beside the listener.
    """
    choose_device(config.training.device)  # a device that is not there is said before anything is read
    check_resumable(out, resume=resume)
    if (out / "model.pt").exists():
        listener.say(
            f"{out} holds a finished model. It stays until this training has finished; then {', '.join(OUTPUT_NAMES)} "
            "are replaced, and all else there is kept"
        )
    prepared = prepare(segments, config, folder=out, listener=listener)
    learned = _learn(prepared, out, listener=listener, resume=resume, watchers=watchers)
    try:
        result = _conclude(learned, out, name=name, listener=listener)
    except Exception:
        listener.say(
            f"all {len(learned.history)} epochs are kept: once this is mended, the same command with --resume goes on "
            "from there, and trains no epoch again"
        )
        raise
    for left in (CHECKPOINT_NAME, PROGRESS_NAME):
        (out / left).unlink(missing_ok=True)
    return result


def _learn(
    prepared: Prepared,
    out: Path,
    *,
    listener: Listener,
    resume: bool,
    watchers: Sequence[Callable[[EpochMetrics], None]],
) -> _Learned:
    """Train the model of `prepared`, or go on with its training. Raises DataError where it diverged."""
    corpus, model, config, training = prepared.corpus, prepared.model, prepared.config, prepared.training
    frames = frame_table(model.front_end, [stretch.samples for stretch in training])
    constant_bands = fit_standardisation(model, frames)
    vectors = feature_vectors(model, frames)
    held_out = corpus.with_role("holdout")
    held_vectors = (
        feature_vectors(model, frame_table(model.front_end, [s.samples for s in held_out])) if held_out else None
    )
    data_fingerprint = fingerprint(training)
    checkpoint = checkpoint_of_run(out, config, data_fingerprint)
    log = MetricsLog(out / PROGRESS_NAME)
    if checkpoint.exists():
        done = checkpoint.history()
        log.start(done)
        listener.say(f"going on after epoch {len(done)} of {config.training.epochs}")
    else:
        log.start([])
        if resume:
            listener.say(f"{out} holds nothing to resume: training from the beginning")

    def on_epoch(metrics: EpochMetrics) -> None:
        for told in (log.append, listener.epoch, *watchers):
            told(metrics)

    history = train(model, vectors, held_vectors, config.training, checkpoint=checkpoint, on_epoch=on_epoch)
    if len(history) < config.training.epochs:
        listener.say(f"stopped early after epoch {len(history)}: the held-out score no longer fell")

    latent = latent_figures(model, vectors)
    try:
        refuse_diverged(history, latent, learning_rate=config.training.learning_rate)
    except DataError:
        checkpoint.remove()  # there is nothing in it to go on with, and it would bar the next attempt
        raise
    return _Learned(prepared, vectors, constant_bands, data_fingerprint, history, latent)


def _conclude(learned: _Learned, out: Path, *, name: str, listener: Listener) -> Result:
    """Score, calibrate and judge what was learned, and write it into `out`."""
    prepared, vectors, history = learned.prepared, learned.vectors, learned.history
    corpus, model, config, sizes = prepared.corpus, prepared.model, prepared.config, prepared.sizes
    training, warnings = prepared.training, list(prepared.warnings)
    held_out = corpus.with_role("holdout")
    training_seconds = sum(len(s.samples) for s in training) / corpus.sample_rate_hz
    scored = _score(model, corpus, sizes)
    hop_seconds = sizes.window_hop_samples / corpus.sample_rate_hz
    inspection = inspect(model, corpus.stretches, sizes, sample_rate_hz=corpus.sample_rate_hz)
    calibration, new_warnings = _calibrate(scored, config, hop_seconds)
    new_warnings += training_doubts(
        history, learned.latent, steps=len(history) * max(1, len(vectors) // config.training.batch_rows)
    )
    new_warnings += amount_doubts(
        vectors=len(vectors), batch_rows=config.training.batch_rows, training_seconds=training_seconds
    )
    new_warnings += _data_doubts(corpus, model, training, scored, inspection, learned.constant_bands)
    evaluation = evaluate(
        scored.streams,
        calibration=calibration,
        decision=config.decision,
        window_seconds=sizes.window_samples / corpus.sample_rate_hz,
        window_hop_seconds=hop_seconds,
    )
    new_warnings += separation_doubts(evaluation) + missed_doubts(evaluation, epochs=len(history))
    for warning in new_warnings:
        listener.warn(warning.text)
    warnings += new_warnings
    trained = TrainedModel(
        model=model,
        config=config,
        name=name,
        sample_rate_hz=corpus.sample_rate_hz,
        channel_names=corpus.channel_names,
        units=corpus.units,
        window_samples=sizes.window_samples,
        window_hop_samples=sizes.window_hop_samples,
        residual_baseline=scored.residual_by_role.get("holdout") or _training_residual(model, corpus, sizes),
        calibration=calibration,
        baseline=baseline_with_spectrum(
            [s.samples for s in training],
            corpus.sample_rate_hz,
            kind=corpus.kind,
            channel_names=corpus.channel_names,
            used_channels=used_channels(model.front_end.settings()["channel"], len(corpus.channel_names)),
            window_samples=sizes.window_samples,
        ),
        training=TrainingSummary(
            recordings=len({s.name for s in training}),
            seconds=training_seconds,
            data_fingerprint=learned.data_fingerprint,
        ),
        not_ready=tuple(warning.text for warning in warnings if warning.serious),
        learning=learning_curve(history),
    )
    kept = _kept(model, corpus, sizes, scored) if held_out else None
    files = write_outputs(
        out,
        trained,
        history=history,
        streams=scored.streams,
        residual_by_role=scored.residual_by_role,
        holdout=kept,
        evaluation=evaluation,
        warnings=warnings,
        notes=corpus.notes,
        inspection=inspection,
        held_out_seconds=sum(len(s.samples) for s in held_out) / corpus.sample_rate_hz,
    )
    return Result(trained, evaluation, inspection, files, warnings)


def _kept(model: DasvddModel, corpus: Corpus, sizes: Geometry, scored: _Scored) -> Holdout:
    """What the export needs of the held-out and the labelled recordings."""
    held_out = sample_windows(corpus.with_role("holdout"), sizes, MAX_WINDOWS, MAX_BYTES)
    normal, anomalous = (
        sample_windows(corpus.with_role(role), sizes, MAX_TEST_WINDOWS, MAX_TEST_BYTES)
        for role in ("test_normal", "test_anomalous")
    )
    labelled = LabelledWindows(normal, anomalous) if len(normal) and len(anomalous) else None
    return Holdout(held_out, score_windows(model, held_out)[0], scored.held_out(), labelled)


def _score(model: DasvddModel, corpus: Corpus, sizes: Geometry) -> _Scored:
    streams: list[ScoredStream] = []
    residuals: dict[str, list[NDArray[np.float64]]] = {}
    for stretch in corpus.with_role("holdout", "test_normal", "test_anomalous"):
        stream, residual = score_stretch(model, stretch, sizes, corpus.sample_rate_hz)
        streams.append(stream)
        residuals.setdefault(stretch.role, []).append(residual)
    means = {role: np.concatenate(parts).mean(axis=0).tolist() for role, parts in residuals.items()}
    return _Scored(streams, means)


def _training_residual(model: DasvddModel, corpus: Corpus, sizes: Geometry) -> list[float]:
    """Mean residual per band over the training part, where nothing was held out."""
    residuals = [
        score_stretch(model, stretch, sizes, corpus.sample_rate_hz)[1] for stretch in corpus.with_role("train")
    ]
    windows = np.concatenate(residuals)
    return (windows.mean(axis=0) if len(windows) else np.zeros(model.bands)).tolist()


def _data_doubts(
    corpus: Corpus,
    model: DasvddModel,
    training: Sequence[Stretch],
    scored: _Scored,
    inspection: Inspection,
    constant_bands: Sequence[str],
) -> list[Doubt]:
    used = used_channels(model.front_end.settings()["channel"], len(corpus.channel_names))
    seconds: dict[str, float] = {}
    for stretch in training:
        seconds[stretch.name] = seconds.get(stretch.name, 0.0) + len(stretch.samples) / corpus.sample_rate_hz
    doubts = channel_doubts(
        constant_bands,
        inspection.raw_rows[:, used],
        [corpus.channel_names[i] for i in used],
        noun=model.front_end.band_noun,
    )
    doubts += share_doubts(seconds)
    views = inspection.training
    if not views:
        return doubts
    names = [view.stretch.name for view in views for _ in view.scores]
    doubts += mixture_doubts(np.concatenate([view.mean_frames for view in views]), names)
    held_out = [(stream.name, stream.scores) for stream in scored.streams if stream.role == "holdout"]
    return doubts + held_out_doubts(np.concatenate([view.scores for view in views]), held_out)


def _calibrate(scored: _Scored, config: TrainConfig, hop_seconds: float) -> tuple[Calibration | None, list[Doubt]]:
    if not scored.held_out():
        text = "nothing was held out, so there is no threshold; dasvdd-export will need --calibration DATA"
        return None, [Doubt("no-threshold", text)]
    try:
        calibration = calibrate(
            scored.held_out(),
            settings=config.decision,
            window_hop_seconds=hop_seconds,
            false_alarms_per_day=config.alarm.false_alarms_per_day,
        )
    except NotEnoughScores as error:
        return None, [Doubt("no-threshold", f"no threshold: {error}")]
    return calibration, calibration_doubts(calibration)
