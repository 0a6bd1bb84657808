"""Held-out windows and scores for an export: those that the training kept, or those of recordings given for it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from dasvdd_runtime.errors import DataError
from dasvdd_runtime.golden import relative_difference
from dasvdd_runtime.reading.manifest import Role, find_segments
from dasvdd_train.corpus import Corpus, load_corpus
from dasvdd_train.features import Geometry
from dasvdd_train.holdout import MAX_BYTES, MAX_WINDOWS, Holdout, load_holdout
from dasvdd_train.model_file import TrainedModel
from dasvdd_train.scoring import sample_windows, score_stretch, score_windows
from dasvdd_train.silence import without_silence
from numpy.typing import NDArray

SAME_MODEL = 1e-3
"""Held-out scores of one model differ less than this between machines, which sum in other orders in fp32."""


def read_held_out(
    trained: TrainedModel,
    model_path: Path,
    calibration_data: Path | None,
    *,
    say: Callable[[str], None] = lambda _: None,
) -> tuple[Holdout, Sequence[float]]:
    """Held-out windows and scores, and the mean residual per band over them.

    Raises DataError where there are none, or where they are not the model's.
    """
    if calibration_data is not None:
        return score_recordings(trained, load_like(trained, calibration_data, say=say))
    path = model_path.with_name("holdout.npz")
    if not path.exists():
        raise DataError(
            f"{path} is not there, so nothing shows that the exported graph scores real windows right, and nothing "
            "calibrates its threshold. Give normal recordings that were not trained on: --calibration DATA"
        )
    holdout = load_holdout(path)
    expected = (trained.window_samples, trained.channels)
    if len(holdout.windows) == 0 or holdout.windows.shape[1:] != expected:
        raise DataError(
            f"{path} holds windows of shape {holdout.windows.shape} where the model takes [windows, {expected[0]}, "
            f"{expected[1]}]: it belongs to another model. Train again, or give --calibration DATA."
        )
    scores, _ = score_windows(trained.model, holdout.windows)
    difference = relative_difference(scores, holdout.window_scores)
    if not difference <= SAME_MODEL:
        raise DataError(
            f"{path}: its windows score otherwise with {model_path.name} than when it was trained (relative difference "
            f"{difference:.2g}, allowed {SAME_MODEL:.0e}): one of the two files is damaged or belongs to another run. "
            "Copy both again, or train again."
        )
    return holdout, trained.residual_baseline


def load_like(
    trained: TrainedModel, data: Path, *, role: Role = "holdout", say: Callable[[str], None] = lambda _: None
) -> Corpus:
    """The normal recordings at `data` at the model's rate, in `role` where a manifest does not hold them out.

    What a monitor would withhold of them is left out, and `say` is told of it.
    Raises DataError if they are of another kind.
    """
    settings = trained.config.data.model_copy(update={"sample_rate_hz": trained.sample_rate_hz, "strict": True})
    normal = [segment for segment in find_segments(data) if segment.role != "test_anomalous"]
    segments = [
        dataclasses.replace(segment, role="holdout" if segment.role == "holdout" else role) for segment in normal
    ]
    corpus = load_corpus(segments, settings)
    same_channels = (
        len(corpus.channel_names) == trained.channels  # their names are numbers, which schema 1.0 counted from 1
        if trained.kind == "audio"
        else corpus.channel_names == trained.channel_names
    )
    if corpus.kind != trained.kind or not same_channels:
        raise DataError(
            f"{data}: {corpus.kind} with the channels {', '.join(corpus.channel_names)}; the model was trained on "
            f"{trained.kind} with {', '.join(trained.channel_names)}"
        )
    corpus, silent = without_silence(corpus, sizes_of(trained), trained.config.data)
    for line in silent:
        say(line)
    return corpus


def score_recordings(trained: TrainedModel, corpus: Corpus) -> tuple[Holdout, Sequence[float]]:
    """`read_held_out` of the held-out stretches of `corpus`. Raises DataError where none is as long as a window."""
    stretches = corpus.with_role("holdout")
    sizes = sizes_of(trained)
    scored = [score_stretch(trained.model, stretch, sizes, trained.sample_rate_hz) for stretch in stretches]
    kept = sample_windows(stretches, sizes, MAX_WINDOWS, MAX_BYTES)
    if not len(kept):
        seconds = trained.window_samples / trained.sample_rate_hz
        raise DataError(f"every recording is shorter than one window of {seconds:g} s")
    residual = np.concatenate([residuals for _, residuals in scored]).mean(axis=0)
    holdout = Holdout(kept, score_windows(trained.model, kept)[0], [stream.scores for stream, _ in scored])
    return holdout, residual.tolist()


def sizes_of(trained: TrainedModel) -> Geometry:
    """The windows of `trained`."""
    return Geometry(trained.window_samples, trained.window_hop_samples, trained.model.vector_samples)


def streams_of_variant(holdout: Holdout, found: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """The held-out streams as another graph scores them, which scored the kept windows as `found` [windows].

    Where the training kept only some of the windows, the fp32 score of another is multiplied by what the graph made of
    the kept one nearest to it in time. Raises DataError where the kept windows are not the streams'.
    """
    joined, positions = np.concatenate(holdout.streams), holdout.window_positions
    if relative_difference(joined[positions], holdout.window_scores) > SAME_MODEL:
        raise DataError(
            "the held-out windows are not those of the held-out scores beside them, so no threshold can be set for a "
            "variant. Train again, or give --calibration DATA."
        )
    ratios = found / np.maximum(joined[positions], np.finfo(np.float32).tiny)
    middles = (positions[:-1] + positions[1:]) / 2
    scores = joined * ratios[np.searchsorted(middles, np.arange(len(joined)))]
    scores[positions] = found
    return np.split(scores, np.cumsum([len(stream) for stream in holdout.streams])[:-1])
