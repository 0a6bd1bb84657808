"""A finished model looks at its recordings once more: codes for the latent map, the most unusual windows, rivals.

Samples are read a few windows at a time, so that stretches may lie on disk: only `len(samples)` and `samples[a:b]` are
used of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from dasvdd_runtime.reading.manifest import Role
from dasvdd_runtime.windows import cut_windows
from numpy.typing import NDArray
from torch import Tensor

from .corpus import Stretch
from .evaluation import Separation, separation
from .features import Geometry, as_input
from .model import DasvddModel
from .rivals import MOST_FEATURES, fit_rivals
from .spacing import evenly_spaced

WINDOWS_AT_ONCE = 64
TRAINING_WINDOWS = 20_000
"""At most this many training windows, evenly spaced over all recordings, are looked at."""
RIVAL_ROWS = 20_000
"""At most about this many training feature vectors fit the rivals."""
CODES_PER_ROLE = 600
"""Codes on the latent map."""
CLIP_SECONDS = 10.0
SENSOR_CLIP_WINDOWS = 5
"""A piece of a sensor recording is at least this many windows long, so that the unusual one has its surroundings."""
TRAINING_CLIPS, HELD_OUT_CLIPS = 3, 2
RAW_ROWS = 200_000
"""Samples per channel that are compared to find a channel twice."""
RAW_PIECE_ROWS = 1000
"""Of them, these follow each other."""


@dataclass(frozen=True)
class Clip:
    """A piece of a recording around one of its most unusual windows."""

    name: str
    role: Role
    start_seconds: float
    """Where the piece starts in its recording."""
    peak_seconds: float
    """Where the middle of the unusual window lies in its recording."""
    score: float
    """Of that window, before smoothing."""
    samples: NDArray[np.float32]
    """Shape [samples, channels]."""


@dataclass(frozen=True)
class WindowView:
    """Evenly spaced windows of one stretch, as the model sees them."""

    stretch: Stretch
    first_samples: NDArray[np.int64]
    """Where each window starts in the stretch, [windows]."""
    scores: NDArray[np.float64]
    """[windows]"""
    mean_frames: NDArray[np.float32]
    """Standardised frames averaged over each window, [windows, bands]."""
    codes: NDArray[np.float32]
    """Code of the feature vector in the middle of each window, [windows, latent]."""


@dataclass(frozen=True)
class RivalResult:
    """A cheap baseline on the same feature vectors and the same test windows."""

    name: str
    separation: Separation


@dataclass(frozen=True)
class Inspection:
    """What the report shows beside scores."""

    training: list[WindowView]
    codes: dict[str, NDArray[np.float32]]
    """Role -> codes [codes, latent]."""
    clips: list[Clip]
    """The most unusual pieces of training and held-out recordings."""
    rivals: list[RivalResult]
    rivals_missing: str
    """Why `rivals` is empty; empty where it is not."""
    raw_rows: NDArray[np.float32]
    """Evenly spaced pieces of the training samples, [samples, channels]."""


def inspect(
    model: DasvddModel,
    stretches: Sequence[Stretch],
    sizes: Geometry,
    *,
    sample_rate_hz: float,
    on_step: Callable[[str, int, int], None] = lambda _text, _done, _of: None,
) -> Inspection:
    """Look at `stretches` of all roles with the trained `model`; `on_step` is told what is done, and how far it is."""
    viewed = 0
    by_role: dict[str, list[WindowView]] = {}
    for role, most in (
        ("train", TRAINING_WINDOWS),
        ("holdout", TRAINING_WINDOWS),
        ("test_normal", CODES_PER_ROLE),
        ("test_anomalous", CODES_PER_ROLE),
    ):
        chosen = [s for s in stretches if s.role == role and len(s.samples) >= sizes.window_samples]
        stride = _stride(chosen, sizes, most)
        by_role[role] = []
        for stretch in chosen:
            on_step("looking for unusual windows", viewed, len(stretches))
            by_role[role].append(_view(model, stretch, sizes, stride))
            viewed += 1
    on_step("looking for unusual windows", len(stretches), len(stretches))
    on_step("comparing with cheap baselines", 0, 1)
    rivals, missing = _rivals(model, stretches, sizes)
    on_step("comparing with cheap baselines", 1, 1)
    training = [s for s in stretches if s.role == "train"]
    windows_shown = SENSOR_CLIP_WINDOWS if model.kind == "sensor" else 1
    length = max(windows_shown * sizes.window_samples, round(CLIP_SECONDS * sample_rate_hz))
    return Inspection(
        training=by_role["train"],
        codes={role: _thinned(np.concatenate([v.codes for v in views])) for role, views in by_role.items() if views},
        clips=[
            *_clips(by_role["train"], TRAINING_CLIPS, sizes, length, sample_rate_hz),
            *_clips(by_role["holdout"], HELD_OUT_CLIPS, sizes, length, sample_rate_hz),
        ],
        rivals=rivals,
        rivals_missing=missing,
        raw_rows=_raw_rows(training),
    )


def window_vectors(model: DasvddModel, windows: NDArray[np.float32]) -> tuple[Tensor, Tensor]:
    """Frames [windows, frames, bands] and feature vectors [windows, vectors, features] of `windows`."""
    frames = model.frames(as_input(windows, model.kind))
    stacked = frames.unfold(1, model.stacked_frames, 1).transpose(2, 3)
    return frames, stacked.reshape(len(windows), stacked.shape[1], -1)


def _stride(stretches: Sequence[Stretch], sizes: Geometry, most: int) -> int:
    """Samples from one window to the next, a multiple of the window hop, so that there are about `most` at most."""
    windows = sum(sizes.windows_in(len(s.samples)) for s in stretches)
    return max(1, -(-windows // most)) * sizes.window_hop_samples


def _blocks(stretch: Stretch, sizes: Geometry, stride: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """First samples and windows [windows, window_samples, channels] of `stretch`, a few at a time."""
    starts = np.arange(0, len(stretch.samples) - sizes.window_samples + 1, stride)
    for at in range(0, len(starts), WINDOWS_AT_ONCE):
        block = starts[at : at + WINDOWS_AT_ONCE]
        if stride <= sizes.window_samples:
            piece = np.asarray(stretch.samples[block[0] : block[-1] + sizes.window_samples])
            yield block, cut_windows(piece, window_samples=sizes.window_samples, hop_samples=stride)
        else:
            yield block, np.stack([np.asarray(stretch.samples[s : s + sizes.window_samples]) for s in block])


@torch.no_grad()
def _view(model: DasvddModel, stretch: Stretch, sizes: Geometry, stride: int) -> WindowView:
    firsts, scores, frames, codes = [], [], [], []
    for first_samples, windows in _blocks(stretch, sizes, stride):
        frame, x = window_vectors(model, windows)
        firsts.append(first_samples)
        scores.append(model(as_input(windows, model.kind))[0].double().numpy())
        frames.append(frame.mean(dim=1).numpy())
        codes.append(model.encoder(x[:, x.shape[1] // 2]).numpy())
    return WindowView(stretch, *map(np.concatenate, (firsts, scores, frames, codes)))


def _thinned(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    return rows[evenly_spaced(len(rows), CODES_PER_ROLE)]


def _clips(views: Sequence[WindowView], most: int, sizes: Geometry, length: int, sample_rate_hz: float) -> list[Clip]:
    """The highest peaks of `views`, `length` samples around each, no two of them within the same clip."""
    ranked = sorted(
        ((float(score), place, int(first)) for place, view in enumerate(views)
         for first, score in zip(view.first_samples, view.scores, strict=True)),
        reverse=True,
    )  # fmt: skip
    taken: list[tuple[int, int]] = []
    clips: list[Clip] = []
    for score, place, first in ranked:
        if len(clips) == most:
            break
        if any(place == p and abs(first - f) < length for p, f in taken):
            continue
        taken.append((place, first))
        stretch = views[place].stretch
        start = max(0, min(first + sizes.window_samples // 2 - length // 2, len(stretch.samples) - length))
        clips.append(
            Clip(
                name=stretch.name,
                role=stretch.role,
                start_seconds=stretch.start_seconds + start / sample_rate_hz,
                peak_seconds=stretch.start_seconds + (first + sizes.window_samples / 2) / sample_rate_hz,
                score=score,
                samples=np.array(stretch.samples[start : start + length], np.float32),
            )
        )
    return clips


@torch.no_grad()
def _rivals(model: DasvddModel, stretches: Sequence[Stretch], sizes: Geometry) -> tuple[list[RivalResult], str]:
    tests = {role: [s for s in stretches if s.role == role] for role in ("test_normal", "test_anomalous")}
    if not all(any(len(s.samples) >= sizes.window_samples for s in group) for group in tests.values()):
        return [], "there are no labelled test recordings of both kinds to compare on"
    features = model.bands * model.stacked_frames
    if features > MOST_FEATURES:
        return [], f"a feature vector has {features} values, and a covariance of more than {MOST_FEATURES} is not cheap"
    training = [s for s in stretches if s.role == "train" and len(s.samples) >= sizes.window_samples]
    if not training:
        return [], "no training recording holds a whole window"
    rivals = fit_rivals(_training_rows(model, training, sizes))
    scores: dict[str, dict[str, list[NDArray[np.float64]]]] = {
        r.name: {"test_normal": [], "test_anomalous": []} for r in rivals
    }
    for role, group in tests.items():
        for stretch in group:
            for _, windows in _blocks(stretch, sizes, sizes.window_hop_samples):
                _, x = window_vectors(model, windows)
                for rival in rivals:
                    rows = rival.score(x.flatten(0, 1).numpy())
                    scores[rival.name][role].append(rows.reshape(len(windows), -1).mean(axis=1))
    results = []
    for name, by_role in scores.items():
        found = separation(np.concatenate(by_role["test_normal"]), np.concatenate(by_role["test_anomalous"]))
        assert found is not None
        results.append(RivalResult(name, found))
    return results, ""


def _training_rows(model: DasvddModel, training: Sequence[Stretch], sizes: Geometry) -> NDArray[np.float32]:
    """About RIVAL_ROWS feature vectors at most, [rows, features], from windows that do not overlap."""
    windows = sum(len(s.samples) // sizes.window_samples for s in training)
    stride = sizes.window_samples * max(1, -(-windows // RIVAL_ROWS))
    per_window = max(1, RIVAL_ROWS // windows)
    rows = []
    for stretch in training:
        for _, block in _blocks(stretch, sizes, stride):
            _, x = window_vectors(model, block)
            chosen = torch.linspace(0, x.shape[1] - 1, min(per_window, x.shape[1])).round().long()
            rows.append(x[:, chosen].flatten(0, 1).numpy())
    return np.concatenate(rows)


def _raw_rows(training: Sequence[Stretch]) -> NDArray[np.float32]:
    """RAW_ROWS samples at most, in pieces at even distances over all of `training`."""
    total = sum(len(s.samples) for s in training)
    stride = max(RAW_PIECE_ROWS, -(-total * RAW_PIECE_ROWS // RAW_ROWS))
    pieces, first = [], 0
    for stretch in training:
        starts = range(-first % stride, len(stretch.samples), stride)
        pieces += [np.asarray(stretch.samples[start : start + RAW_PIECE_ROWS]) for start in starts]
        first += len(stretch.samples)
    return np.concatenate(pieces)
