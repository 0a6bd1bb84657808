"""After the training: what was learned is scored, calibrated, judged, and written with its report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from dasvdd_runtime.calibration import Calibration, NotEnoughScores, calibrate
from dasvdd_runtime.condition.spectrum import baseline_with_spectrum
from dasvdd_runtime.contract import TrainingSummary
from dasvdd_runtime.reading.recording_types import used_channels
from numpy.typing import NDArray

from .config import TrainConfig
from .corpus import Corpus, seconds_by_recording
from .data_diagnosis import (
    amount_doubts,
    calibration_doubts,
    channel_doubts,
    held_out_doubts,
    mixture_doubts,
    share_doubts,
)
from .diagnosis import Doubt, missed_doubts, separation_doubts, training_doubts
from .evaluation import Evaluation, evaluate
from .features import Geometry
from .holdout import MAX_BYTES, MAX_TEST_BYTES, MAX_TEST_WINDOWS, MAX_WINDOWS, Holdout, LabelledWindows
from .inspection import Inspection, inspect
from .learn import Learned
from .metrics import learning_curve
from .model import DasvddModel
from .model_file import TrainedModel
from .outcomes import ScoredStream
from .outputs import write_outputs
from .prepare import Listener
from .scoring import sample_windows, score_stretch, score_windows


@dataclass(frozen=True)
class Result:
    """What a run made."""

    trained: TrainedModel
    evaluation: Evaluation | None
    inspection: Inspection
    files: list[Path]
    warnings: list[Doubt]


@dataclass(frozen=True)
class _Scored:
    """Scored stretches of the held-out and test roles."""

    streams: list[ScoredStream]
    residual_by_role: dict[str, list[float]]

    def held_out(self) -> list[NDArray[np.float64]]:
        return [stream.scores for stream in self.streams if stream.role == "holdout"]


def conclude(learned: Learned, out: Path, *, name: str, listener: Listener) -> Result:
    """Score, calibrate and judge what was learned, and write it into `out`."""
    prepared = learned.prepared
    corpus, model, config, sizes = prepared.corpus, prepared.model, prepared.config, prepared.sizes
    hop_seconds = sizes.window_hop_samples / corpus.sample_rate_hz
    scored = _score(model, corpus, sizes, listener)
    inspection = inspect(model, corpus.stretches, sizes, sample_rate_hz=corpus.sample_rate_hz, on_step=listener.working)
    listener.working("setting the threshold", 0, 1)
    calibration, doubts = _calibrate(scored, config, hop_seconds)
    evaluation = evaluate(
        scored.streams,
        calibration=calibration,
        decision=config.decision,
        window_seconds=sizes.window_samples / corpus.sample_rate_hz,
        window_hop_seconds=hop_seconds,
    )
    doubts += _doubts(learned, scored, inspection, evaluation)
    listener.working("setting the threshold", 1, 1)
    for doubt in doubts:
        listener.warn(doubt.text)
    warnings = [*prepared.warnings, *doubts]
    listener.working("measuring level and spectrum, writing the report", 0, 1)
    trained = _trained_model(learned, scored, calibration, warnings, name=name)
    held_out = corpus.with_role("holdout")
    files = write_outputs(
        out,
        trained,
        history=learned.history,
        streams=scored.streams,
        residual_by_role=scored.residual_by_role,
        holdout=_kept(model, corpus, sizes, scored) if held_out else None,
        evaluation=evaluation,
        warnings=warnings,
        notes=corpus.notes,
        inspection=inspection,
        held_out_seconds=corpus.seconds_of(held_out),
    )
    listener.working("measuring level and spectrum, writing the report", 1, 1)
    return Result(trained, evaluation, inspection, files, warnings)


def _score(model: DasvddModel, corpus: Corpus, sizes: Geometry, listener: Listener) -> _Scored:
    streams: list[ScoredStream] = []
    residuals: dict[str, list[NDArray[np.float64]]] = {}
    stretches = corpus.with_role("holdout", "test_normal", "test_anomalous")
    for done, stretch in enumerate(stretches, start=1):
        listener.working("scoring held-out and test recordings", done - 1, len(stretches))
        stream, residual = score_stretch(model, stretch, sizes, corpus.sample_rate_hz)
        streams.append(stream)
        residuals.setdefault(stretch.role, []).append(residual)
        listener.working("scoring held-out and test recordings", done, len(stretches))
    means = {role: np.concatenate(parts).mean(axis=0).tolist() for role, parts in residuals.items()}
    return _Scored(streams, means)


def _training_residual(model: DasvddModel, corpus: Corpus, sizes: Geometry) -> list[float]:
    """Mean residual per band over the training part, where nothing was held out."""
    residuals = [
        score_stretch(model, stretch, sizes, corpus.sample_rate_hz)[1] for stretch in corpus.with_role("train")
    ]
    windows = np.concatenate(residuals)
    return (windows.mean(axis=0) if len(windows) else np.zeros(model.bands)).tolist()


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


def _doubts(learned: Learned, scored: _Scored, inspection: Inspection, evaluation: Evaluation | None) -> list[Doubt]:
    """All but those about the threshold and those that were there before the training."""
    prepared, history, vectors = learned.prepared, learned.history, len(learned.vectors)
    batch_rows = prepared.config.training.batch_rows
    steps = len(history) * max(1, vectors // batch_rows)
    doubts = training_doubts(history, learned.latent, steps=steps, evaluation=evaluation)
    doubts += amount_doubts(
        vectors=vectors, batch_rows=batch_rows, training_seconds=prepared.corpus.seconds_of(prepared.training)
    )
    doubts += _data_doubts(learned, scored, inspection)
    return doubts + separation_doubts(evaluation) + missed_doubts(evaluation, epochs=len(history))


def _data_doubts(learned: Learned, scored: _Scored, inspection: Inspection) -> list[Doubt]:
    corpus, front_end = learned.prepared.corpus, learned.prepared.model.front_end
    used = used_channels(front_end.settings()["channel"], len(corpus.channel_names))
    doubts = channel_doubts(
        learned.constant_bands,
        inspection.raw_rows[:, used],
        [corpus.channel_names[i] for i in used],
        noun=front_end.band_noun,
    )
    doubts += share_doubts(seconds_by_recording(learned.prepared.training, corpus.sample_rate_hz))
    views = inspection.training
    if not views:
        return doubts
    names = [view.stretch.name for view in views for _ in view.scores]
    doubts += mixture_doubts(np.concatenate([view.mean_frames for view in views]), names)
    held_out = [(stream.name, stream.scores) for stream in scored.streams if stream.role == "holdout"]
    return doubts + held_out_doubts(np.concatenate([view.scores for view in views]), held_out)


def _trained_model(
    learned: Learned, scored: _Scored, calibration: Calibration | None, warnings: list[Doubt], *, name: str
) -> TrainedModel:
    prepared, training = learned.prepared, learned.prepared.training
    corpus, model, sizes = prepared.corpus, prepared.model, prepared.sizes
    return TrainedModel(
        model=model,
        config=prepared.config,
        name=name,
        sample_rate_hz=corpus.sample_rate_hz,
        channel_names=corpus.channel_names,
        units=corpus.units,
        window_samples=sizes.window_samples,
        window_hop_samples=sizes.window_hop_samples,
        residual_baseline=scored.residual_by_role.get("holdout") or _training_residual(model, corpus, sizes),
        calibration=calibration,
        baseline=baseline_with_spectrum(
            [stretch.samples for stretch in training],
            corpus.sample_rate_hz,
            kind=corpus.kind,
            channel_names=corpus.channel_names,
            used_channels=used_channels(model.front_end.settings()["channel"], len(corpus.channel_names)),
            window_samples=sizes.window_samples,
        ),
        training=TrainingSummary(
            recordings=len({stretch.name for stretch in training}),
            seconds=corpus.seconds_of(training),
            data_fingerprint=learned.data_fingerprint,
        ),
        not_ready=tuple(warning.text for warning in warnings if warning.serious),
        learning=learning_curve(learned.history),
    )


def _kept(model: DasvddModel, corpus: Corpus, sizes: Geometry, scored: _Scored) -> Holdout:
    """What the export needs of the held-out and the labelled recordings."""
    held_out = sample_windows(corpus.with_role("holdout"), sizes, MAX_WINDOWS, MAX_BYTES)
    normal, anomalous = (
        sample_windows(corpus.with_role(role), sizes, MAX_TEST_WINDOWS, MAX_TEST_BYTES)
        for role in ("test_normal", "test_anomalous")
    )
    labelled = LabelledWindows(normal, anomalous) if len(normal) and len(anomalous) else None
    return Holdout(held_out, score_windows(model, held_out)[0], scored.held_out(), labelled)
