"""What the recordings themselves make doubtful, and how far the threshold can be trusted. Pure: arrays -> doubts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
from dasvdd_runtime.calibration import Calibration
from dasvdd_runtime.thresholds.promises import FAR_RATIO, hours_to_count, is_promised
from dasvdd_runtime.words import count, duration, long_duration, rate
from numpy.typing import NDArray

from .diagnosis import Doubt
from .spacing import evenly_spaced

SHORT_SECONDS, FAR_TOO_SHORT_SECONDS = 60.0, 20.0
"""Training data below the first is little, below the second too little to use."""
FEW_BATCHES = 2
DUPLICATE_CORRELATION = 0.99999
"""Two channels that agree better than this carry one signal."""
MIXTURE_SILHOUETTE = 0.5
"""Mean silhouette of clusters in the training windows from which they may be separate ways of running."""
MIXTURE_BRIDGE, MIDDLE = 0.02, (0.4, 0.6)
"""Separate clusters have fewer than this share of their windows in the middle of the line between their centers. A
drift has 10 %, a slow swing 8 %, two bell shapes apart by six of their widths 1 %."""
MIXTURE_CLUSTERS = range(2, 7)
SMALLEST_CLUSTER = 0.05
"""A cluster with a smaller share of the windows is a few odd moments, no way of running."""
MIXTURE_WINDOWS = 2000
MIXTURE_COMPONENTS = 8


def amount_doubts(*, vectors: int, batch_rows: int, training_seconds: float) -> list[Doubt]:
    """Little data to train on."""
    if vectors >= FEW_BATCHES * batch_rows and training_seconds >= SHORT_SECONDS:
        return []
    few = vectors < FEW_BATCHES * batch_rows
    least = f", fewer than {FEW_BATCHES} batches of {batch_rows}" if few else ""
    seconds_wanted = max(SHORT_SECONDS, training_seconds * FEW_BATCHES * batch_rows / max(1, vectors))
    return [
        Doubt(
            "little-data",
            f"little data: {duration(training_seconds)} in {vectors} feature vectors{least}. Record at least "
            f"{long_duration(math.ceil(seconds_wanted))}, better an hour, over every way the machine runs when "
            "healthy.",
            serious=few or training_seconds < FAR_TOO_SHORT_SECONDS,
        )
    ]


def channel_doubts(
    constant_bands: Sequence[str], samples: NDArray[np.float32], channel_names: Sequence[str], *, noun: str = "channel"
) -> list[Doubt]:
    """Constant bands or channels, and channels that are there twice.

    `noun` is what one of `constant_bands` is: a band or a channel. `samples` [samples, channels] are pieces of the
    training recordings, of the channels that the model uses.
    """
    doubts = []
    if constant_bands:
        shown = ", ".join(constant_bands[:5]) + (" and more" if len(constant_bands) > 5 else "")
        doubts.append(
            Doubt(
                "constant-channels",
                f"constant in the training data: {count(len(constant_bands), noun)}, {shown}. Any change there will "
                "count in its raw unit. Leave a dead channel out with data.columns or data.channel; bands above what "
                "the microphone hears go with a lower data.sample_rate_hz.",
            )
        )
    pairs = _duplicates(samples)
    if pairs:
        named = "; ".join(f"{channel_names[a]} and {channel_names[b]}" for a, b in pairs[:5])
        doubts.append(
            Doubt(
                "duplicate-channels",
                f"channels that carry the same signal: {named}{' and more' if len(pairs) > 5 else ''} (correlation "
                f"above {DUPLICATE_CORRELATION:g}). What happens there counts twice. Check the wiring, or leave one "
                "out with data.columns or data.channel.",
            )
        )
    return doubts


def _duplicates(samples: NDArray[np.float32]) -> list[tuple[int, int]]:
    """Pairs of columns of `samples` that are equal up to offset and scale."""
    varying = np.flatnonzero(np.ptp(samples, axis=0) > 0) if len(samples) > 2 else np.empty(0, np.int64)
    if len(varying) < 2:
        return []
    correlation = np.corrcoef(samples[:, varying].astype(np.float64).T)
    pairs = np.argwhere(np.triu(np.abs(correlation) > DUPLICATE_CORRELATION, k=1))
    return [(int(varying[a]), int(varying[b])) for a, b in pairs]


def share_doubts(seconds_by_recording: Mapping[str, float]) -> list[Doubt]:
    """One recording that is nearer to being all of the training data than to its fair share."""
    total = sum(seconds_by_recording.values())
    recordings = len(seconds_by_recording)
    if recordings < 2 or total <= 0:
        return []
    name, seconds = max(seconds_by_recording.items(), key=lambda item: item[1])
    share, fair = seconds / total, 1 / recordings
    if share <= (1 + fair) / 2:
        return []
    return [
        Doubt(
            "recording-dominates",
            f"one recording dominates: {name} is {share:.0%} of the training data ({duration(seconds)} of "
            f"{duration(total)} in {count(recordings, 'recording')}). What is normal is what that one sounds like. "
            "Record the others for as long, or cut it with a manifest (start_seconds, end_seconds).",
        )
    ]


def mixture_doubts(features: NDArray[np.float32], recordings: Sequence[str]) -> list[Doubt]:
    """Training windows that fall into separate clusters: several operating points in one model.

    `features` [windows, bands] are the windows' mean standardised frames, `recordings` names the recording of each.
    """
    if len(features) < 40:
        return []
    chosen = evenly_spaced(len(features), MIXTURE_WINDOWS)
    labels, silhouette = _clusters(features[chosen])
    if silhouette < MIXTURE_SILHOUETTE:
        return []
    sizes = np.bincount(labels)
    names = np.array(recordings)[chosen]
    parts = []
    for cluster in np.argsort(-sizes, kind="stable"):
        inside = names[labels == cluster]
        values, counts = np.unique(inside, return_counts=True)
        parts.append(f"{sizes[cluster] / len(labels):.0%} of the windows, as in {values[counts.argmax()]}")
    return [
        Doubt(
            "mixture",
            f"the training data look like {len(sizes)} separate ways of running ({'; '.join(parts)}; silhouette "
            f"{silhouette:.2f}), or a part of them is faulty: listen to it first. If all is healthy, one model can "
            "learn them if each was recorded for long enough and is held out too; going from one to another may still "
            "score high. If the machine's state is known, a model for each is sharper.",
        )
    ]


def _clusters(features: NDArray[np.float32]) -> tuple[NDArray[np.int64], float]:
    """Labels [windows] and mean silhouette of the clustering of `features` [windows, bands] that is clearest."""
    from sklearn.cluster import KMeans
    from sklearn.decomposition import PCA
    from sklearn.metrics import silhouette_score

    components = min(MIXTURE_COMPONENTS, features.shape[1], len(features))
    points = PCA(components, random_state=0).fit_transform(features.astype(np.float64))
    distinct = len(np.unique(points, axis=0))
    best_labels, best = np.zeros(len(points), np.int64), -1.0
    for clusters in MIXTURE_CLUSTERS:
        if distinct <= clusters:
            break
        labels = KMeans(clusters, n_init=4, random_state=0).fit_predict(points).astype(np.int64)
        if np.bincount(labels, minlength=clusters).min() < SMALLEST_CLUSTER * len(points):
            continue
        silhouette = float(silhouette_score(points, labels))
        if silhouette > best and _largest_bridge(points, labels) < MIXTURE_BRIDGE:
            best_labels, best = labels, silhouette
    return best_labels, best


def _largest_bridge(points: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """The largest share of two clusters' `points` that lies in the middle of the line between their centers."""
    centers = [points[labels == cluster].mean(axis=0) for cluster in range(labels.max() + 1)]
    largest = 0.0
    for a, b in combinations(range(len(centers)), 2):
        line = centers[b] - centers[a]
        place = (points[(labels == a) | (labels == b)] - centers[a]) @ line / (line @ line)
        largest = max(largest, float(np.mean((place > MIDDLE[0]) & (place < MIDDLE[1]))))
    return largest


def held_out_doubts(
    training_scores: NDArray[np.float64], held_out: Sequence[tuple[str, NDArray[np.float64]]]
) -> list[Doubt]:
    """Held-out scores far above those of training, in all or in single recordings.

    `training_scores` [windows]; `held_out` has a name and scores [windows] per held-out stretch.
    """
    streams = [(name, scores) for name, scores in held_out if len(scores)]
    if not len(training_scores) or not streams:
        return []
    usual = float(np.median(training_scores))
    median = float(np.median(np.concatenate([scores for _, scores in streams])))
    if median > FAR_RATIO * usual > 0:
        return [
            Doubt(
                "held-out-far",
                f"held-out data lie far from training: their usual score is {median:.3g}, in training {usual:.3g} "
                f"({median / usual:.1f} times). Either the machine or the room changed while recording, or the model "
                "learned its few recordings by heart. The threshold follows the held-out data, so small faults are "
                "missed. Record more, train for fewer epochs, or hold out the tail of every recording "
                "(--holdout tail).",
            )
        ]
    far = [(name, float(np.median(scores))) for name, scores in streams if np.median(scores) > FAR_RATIO * median > 0]
    if not far:
        return []
    named = ", ".join(f"{name} ({score / median:.1f} times the usual score)" for name, score in far[:5])
    return [
        Doubt(
            "held-out-stands-out",
            f"{count(len(far), 'held-out stretch')} unlike the rest: {named}. Listen "
            "there: a fault, a passer-by, or a way of running that training lacks? It raises the threshold. Leave it "
            "out, or record more like it.",
        )
    ]


def calibration_doubts(calibration: Calibration) -> list[Doubt]:
    """A threshold that extrapolates, and a rate that cannot be promised from so few hours."""
    if not calibration.extrapolates:
        return []
    target, upper = calibration.false_alarms_per_day, calibration.episodes_per_day_upper
    shown = duration(3600 * calibration.hours)
    doubts = [
        Doubt(
            "threshold-extrapolates",
            f"the threshold extrapolates: {shown} of held-out running cannot show a rate as low as "
            f"{count(target, 'false alarm')} a day, so a fitted tail says where it should lie. Hold out more, or "
            "calibrate on site (dasvdd-monitor calibrate).",
        )
    ]
    if not is_promised(calibration):
        doubts.append(
            Doubt(
                "rate-not-promised",
                f"a false-alarm rate of {rate(target)} cannot be promised from {shown}: the held-out data alone rule "
                f"out no more than {rate(upper)} ({calibration.confidence:.0%} confidence). To count it takes about "
                f"{long_duration(3600 * hours_to_count(calibration))} of healthy running without an alarm.",
            )
        )
    return doubts
