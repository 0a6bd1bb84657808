"""Which part of the training stretches is held out, for the threshold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dasvdd_runtime.errors import DataError
from dasvdd_runtime.words import count

from .config import DataSettings
from .corpus import Corpus, Stretch


def hold_out(corpus: Corpus, settings: DataSettings, *, window_samples: int, minimum_train_samples: int) -> Corpus:
    """The corpus with a part of its training stretches turned into held-out ones, as `settings.holdout` says.

    'tail': the last `holdout_share` of every stretch, one window apart from what is trained on; a stretch too short
    for that is trained on whole; where all are too short, and there are enough of them, whole ones are held out as by
    'recordings', which takes them evenly spread in reading order. Where the recordings already name held-out parts,
    nothing changes. Raises DataError if nothing could be held out.
    """
    training, share = corpus.with_role("train"), settings.holdout_share
    if not training:
        raise DataError("none of the recordings has the role 'train'")
    if settings.holdout == "none" or corpus.with_role("holdout"):
        return corpus
    if settings.holdout == "recordings":
        return _in_place_of_training(corpus, _whole_ones(training, share))
    rate_hz = corpus.sample_rate_hz
    parted = [
        _parted(stretch, share, rate_hz, window_samples=window_samples, minimum_train_samples=minimum_train_samples)
        for stretch in training
    ]
    notes = [
        f"{parts[0].name}: {len(parts[0].samples) / rate_hz:.2f} s is too short to hold out its tail; all of it is "
        "trained on"
        for parts in parted
        if len(parts) == 1
    ]
    if len(notes) < len(training):
        return _in_place_of_training(corpus, [part for parts in parted for part in parts], notes)
    longest_seconds = max(len(stretch.samples) for stretch in training) / rate_hz
    if len(training) * share < 1:
        raise DataError(
            f"no recording is long enough to hold out its last {share:.0%}: the longest has {longest_seconds:.2f} s, "
            f"at least {window_samples / share / rate_hz:.2f} s are needed. Use --holdout recordings, or a shorter "
            "window."
        )
    whole = _whole_ones(training, share)
    held = sum(stretch.role == "holdout" for stretch in whole)
    note = (
        f"the recordings have at most {longest_seconds:.2f} s, too little to hold out the tail of any: "
        f"{held} of {len(training)} whole recordings are held out instead"
    )
    return _in_place_of_training(corpus, whole, [note])


def _parted(
    stretch: Stretch, share: float, rate_hz: float, *, window_samples: int, minimum_train_samples: int
) -> list[Stretch]:
    """`stretch` without its tail, and its tail, one window apart; or, where it is too short for that, as it is."""
    tail = round(len(stretch.samples) * share)
    train_end = len(stretch.samples) - tail - window_samples
    if tail < window_samples or train_end < minimum_train_samples:
        return [stretch]
    held_out = replace(
        stretch,
        role="holdout",
        start_seconds=stretch.start_seconds + (train_end + window_samples) / rate_hz,
        samples=stretch.samples.part(len(stretch.samples) - tail, len(stretch.samples)),
    )
    return [replace(stretch, samples=stretch.samples.part(0, train_end)), held_out]


def _whole_ones(training: Sequence[Stretch], share: float) -> list[Stretch]:
    """`training` with about `share` of it held out, whole and evenly spread. Raises DataError where that cannot be."""
    wanted = max(1, round(len(training) * share))
    held = {round((i + 0.5) * len(training) / wanted - 0.5) for i in range(wanted)}
    if not 0 < len(held) < len(training):
        raise DataError(
            f"--holdout recordings with {count(len(training), 'recording')} leaves none to train on or to hold out. "
            "Use --holdout tail, or add recordings."
        )
    return [replace(stretch, role="holdout") if i in held else stretch for i, stretch in enumerate(training)]


def _in_place_of_training(corpus: Corpus, stretches: Sequence[Stretch], notes: Sequence[str] = ()) -> Corpus:
    others = [stretch for stretch in corpus.stretches if stretch.role != "train"]
    return replace(corpus, stretches=[*stretches, *others], notes=[*corpus.notes, *notes])
