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
        return _in_place_of_training(corpus, _whole_ones(training, [stretch.name for stretch in training], share))
    rate_hz = corpus.sample_rate_hz
    parted = [
        _parted(stretch, share, rate_hz, window_samples=window_samples, minimum_train_samples=minimum_train_samples)
        for stretch in training
    ]
    if any(len(parts) > 1 for parts in parted):
        short = [parts[0] for parts in parted if len(parts) == 1 and len(parts[0].samples) >= minimum_train_samples]
        stretches = [part for parts in parted for part in parts]
        return _in_place_of_training(corpus, stretches, _without_tail(short, rate_hz))
    longest_seconds = max(len(stretch.samples) for stretch in training) / rate_hz
    if len(training) * share < 1:
        raise DataError(
            f"no recording is long enough to hold out its last {share:.0%}: the longest has {longest_seconds:.2f} s, "
            f"at least {window_samples / share / rate_hz:.2f} s are needed. Use --holdout recordings, or a shorter "
            "window."
        )
    whole = _whole_ones(training, range(len(training)), share)
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


def _without_tail(short: Sequence[Stretch], rate_hz: float) -> list[str]:
    """A line for each recording of which `short` stretches have no held-out tail."""
    seconds: dict[str, list[float]] = {}
    for stretch in short:
        seconds.setdefault(stretch.name, []).append(len(stretch.samples) / rate_hz)
    lines = []
    for name, found in seconds.items():
        many = len(found) > 1
        what = f"{len(found)} parts of at most {max(found):.2f} s are" if many else f"{found[0]:.2f} s is"
        all_of_it = "they are" if many else "all of it is"
        lines.append(f"{name}: {what} too short to hold out {'their' if many else 'its'} tail; {all_of_it} trained on")
    return lines


def _whole_ones(training: Sequence[Stretch], groups: Sequence[object], share: float) -> list[Stretch]:
    """`training` with about `share` of its groups held out, whole and evenly spread; each stretch has its group.

    Raises DataError where that cannot be.
    """
    distinct = list(dict.fromkeys(groups))
    wanted = max(1, round(len(distinct) * share))
    held = {distinct[round((i + 0.5) * len(distinct) / wanted - 0.5)] for i in range(wanted)}
    if not 0 < len(held) < len(distinct):
        raise DataError(
            f"--holdout recordings with {count(len(distinct), 'recording')} leaves none to train on or to hold out. "
            "Use --holdout tail, or add recordings."
        )
    return [
        replace(stretch, role="holdout") if group in held else stretch
        for group, stretch in zip(groups, training, strict=True)
    ]


def _in_place_of_training(corpus: Corpus, stretches: Sequence[Stretch], notes: Sequence[str] = ()) -> Corpus:
    others = [stretch for stretch in corpus.stretches if stretch.role != "train"]
    return replace(corpus, stretches=[*stretches, *others], notes=[*corpus.notes, *notes])
