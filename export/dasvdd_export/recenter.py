"""A trained model on a machine or a mounting that differs a little: standardisation, center and threshold set anew.

The networks see standardised features alone, (feature - mean) / std per band. What a site does to each band as a gain
and an offset (another microphone, sensor, mounting, distance or level; in log spectra an offset in dB) is undone by the
mean and std of that site: the networks then see what they were trained on. What changes how bands move together is not
undone; the reconstruction error shows it.

For fixed networks the mean of the codes minimises the center's term of eq. 3, which Algorithm 1 descends. gamma stays:
it is the weight that the networks were trained with. Constants inside a front end (channel, bands, floor) stay too.
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from dasvdd_runtime.calibration import Calibration, calibrate
from dasvdd_runtime.condition.spectrum import baseline_with_spectrum
from dasvdd_runtime.contract import Recentring
from dasvdd_runtime.errors import DataError
from dasvdd_runtime.files import require_writable
from dasvdd_runtime.reading.recording_types import used_channels
from dasvdd_runtime.words import duration
from dasvdd_train.corpus import Corpus, Stretch, fingerprint
from dasvdd_train.features import feature_vectors, fit_standardisation, frame_table
from dasvdd_train.holdout import save_holdout
from dasvdd_train.model import DasvddModel
from dasvdd_train.model_file import TrainedModel, load_model, save_model
from dasvdd_train.split import hold_out
from numpy.typing import NDArray

from .held_out import load_like, score_recordings, sizes_of

MINIMUM_WINDOWS = 300
"""Windows without overlap: a band's mean is then known to 6 % of its deviation (1 / sqrt(300)), which adds 0.3 % of the
features' variance to every score."""

EXPLAINED_LESS = 0.1
"""Of the features: networks that explain nothing, and so much less than in training, know nothing of a sound."""


@dataclass(frozen=True)
class ScoresOf:
    """The new held-out recordings under one model."""

    median: float
    high: float
    """95th percentile."""
    above: float
    """Share of windows above that model's own threshold."""
    explained: float
    """1 - reconstruction error / number of features: 0 is what the mean alone explains, 1 is perfect."""


@dataclass(frozen=True)
class Report:
    """How far things moved."""

    model: Path
    """The new model.pt."""
    seconds: float
    held_out_seconds: float
    mean_shift_median: float
    """Of the bands' means, in the training's standard deviations."""
    mean_shift_worst: float
    worst_band: str
    std_ratios: tuple[float, float]
    """Smallest and largest of new / old."""
    center_shift: float
    """Of the center, relative to the codes' root mean square distance from the new one."""
    old_threshold: float | None
    """None where the model had none."""
    new_threshold: float
    before: ScoresOf
    """By the original model."""
    after: ScoresOf
    trained_explained: float
    """The same figure in the training's held-out part."""
    constant_bands: list[str]
    """Bands without any change in the new recordings, whose deviation stays that of the training."""


def recenter(model_path: Path, data: Path, folder: Path, *, say: Callable[[str], None] = lambda _: None) -> Report:
    """Write `model.pt` and `holdout.npz` into `folder`, with the networks of `model_path` set anew on normal `data`.

    `model_path` is not touched. The held-out part of `data`, by the training's own rule, sets the threshold and nothing
    else. Raises DataError for too little data, for data that the networks know nothing of, and where `folder` holds a
    model that was trained. `say` is told what is left out of them.
    """
    _require_free(folder, model_path)
    trained = load_model(model_path)
    corpus = _split(trained, load_like(trained, data, role="train", say=say), data)
    fitting = corpus.with_role("train")
    seconds = corpus.seconds_of(fitting)
    needed = MINIMUM_WINDOWS * trained.window_samples / trained.sample_rate_hz
    if seconds < needed:
        raise DataError(
            f"{data}: {duration(seconds)} beside the held-out part, and at least {duration(needed)} are needed "
            f"({MINIMUM_WINDOWS} windows): means from less would be off by so much that every score is. Record the "
            "healthy machine for longer, in all its states."
        )
    model, constant_bands, center_shift = _fit(trained, fitting)
    moved = dataclasses.replace(trained, model=model)
    holdout, residual = score_recordings(moved, corpus)
    before, old_residual = score_recordings(trained, corpus)
    features = model.bands * model.stacked_frames
    explained, trained_explained = (1 - sum(errors) / features for errors in (residual, trained.residual_baseline))
    if explained <= min(0.0, trained_explained - EXPLAINED_LESS):
        raise DataError(
            f"{data}: with its own mean and deviation per band, the networks explain {explained:.1%} of the features, "
            f"and of the training's machine {trained_explained:.1%}: they know nothing of this sound. Train on it: "
            "dasvdd-train."
        )
    calibration = calibrate(
        holdout.streams,
        settings=trained.decision,
        window_hop_seconds=trained.window_hop_seconds,
        false_alarms_per_day=trained.config.alarm.false_alarms_per_day,
    )
    recentred = dataclasses.replace(
        moved,
        residual_baseline=list(residual),
        calibration=calibration,
        baseline=baseline_with_spectrum(
            [stretch.samples for stretch in fitting],
            trained.sample_rate_hz,
            kind=trained.kind,
            channel_names=trained.channel_names,
            used_channels=used_channels(model.front_end.settings()["channel"], trained.channels),
            window_samples=trained.window_samples,
        ),
        recentred=Recentring(
            recordings=len({stretch.name for stretch in fitting}),
            seconds=seconds,
            data_fingerprint=fingerprint(fitting),
            original_fingerprint=hashlib.sha256(model_path.read_bytes()).hexdigest(),
        ),
    )
    folder.mkdir(parents=True, exist_ok=True)
    save_holdout(folder / "holdout.npz", holdout)
    save_model(folder / "model.pt", recentred)
    shifts = ((model.mean - trained.model.mean) / trained.model.std).numpy()
    ratios = (model.std / trained.model.std).numpy()
    worst = int(np.argmax(np.abs(shifts)))
    return Report(
        model=folder / "model.pt",
        seconds=seconds,
        held_out_seconds=corpus.seconds_of(corpus.with_role("holdout")),
        mean_shift_median=float(np.median(np.abs(shifts))),
        mean_shift_worst=float(shifts[worst]),
        worst_band=model.residual_names[worst],
        std_ratios=(float(ratios.min()), float(ratios.max())),
        center_shift=center_shift,
        old_threshold=trained.calibration.threshold if trained.calibration else None,
        new_threshold=calibration.threshold,
        before=_scores_of(before.streams, trained.calibration, 1 - sum(old_residual) / features),
        after=_scores_of(holdout.streams, calibration, explained),
        trained_explained=trained_explained,
        constant_bands=constant_bands,
    )


@torch.no_grad()
def _fit(trained: TrainedModel, fitting: Sequence[Stretch]) -> tuple[DasvddModel, list[str], float]:
    """A copy of the model with mean, std and center of `fitting`; the bands constant there; how far c moved."""
    model = copy.deepcopy(trained.model)
    table = frame_table(model.front_end, [stretch.samples for stretch in fitting])
    constant = fit_standardisation(model, table)
    flat = torch.tensor([name in constant for name in model.residual_names])
    model.std.copy_(torch.where(flat, trained.model.std, model.std))
    vectors = feature_vectors(model, table)
    total, squares = torch.zeros(model.latent, dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    for x in vectors.chunks():
        z = model.encoder(x).double()
        total += z.sum(dim=0)
        squares += z.square().sum()
    center = total / len(vectors)
    spread = (squares / len(vectors) - center.square().sum()).clamp_min(0).sqrt()
    shift = float((center - trained.model.center).norm() / spread) if spread > 0 else 0.0
    model.center.copy_(center)
    return model, constant, shift


def _split(trained: TrainedModel, corpus: Corpus, data: Path) -> Corpus:
    """`corpus` with its held-out part, by the training's rule, or tails where the training held nothing out."""
    settings = trained.config.data
    if settings.holdout == "none":
        settings = settings.model_copy(update={"holdout": "tail"})
    sizes = sizes_of(trained)
    try:
        return hold_out(
            corpus, settings, window_samples=sizes.window_samples, minimum_train_samples=sizes.minimum_samples
        )
    except DataError as error:
        raise DataError(f"{data}: {error}") from error


def _require_free(folder: Path, model_path: Path) -> None:
    """Raise unless a model may be written into `folder`."""
    there = folder / "model.pt"
    require_writable(there)
    if there.exists() and (there.samefile(model_path) or load_model(there).recentred is None):
        raise DataError(f"{there} was trained and would be overwritten. Name another folder: --out FOLDER")


def _scores_of(streams: Sequence[NDArray[np.float64]], calibration: Calibration | None, explained: float) -> ScoresOf:
    scores = np.concatenate(streams)
    return ScoresOf(
        median=float(np.median(scores)),
        high=float(np.quantile(scores, 0.95)),
        above=float(np.mean(scores > calibration.threshold)) if calibration else float("nan"),
        explained=explained,
    )
