"""One training run from end to end: recordings -> model.pt, holdout.npz, metrics.jsonl, config.toml, report.html."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from dasvdd_runtime.reading.manifest import Segment

from .checkpoint import CHECKPOINT_NAME, PROGRESS_NAME, check_resumable
from .claim import sole_training_in
from .conclude import Result, conclude
from .config import TrainConfig
from .learn import learn
from .metrics import EpochMetrics
from .outputs import OUTPUT_NAMES
from .prepare import Listener, prepare
from .trainer import choose_device


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
    with sole_training_in(out):
        check_resumable(out, resume=resume)
        if (out / "model.pt").exists():
            listener.say(
                f"{out} holds a finished model. It stays until this training has finished; then "
                f"{', '.join(OUTPUT_NAMES)} are replaced, and all else there is kept"
            )
        prepared = prepare(segments, config, folder=out, listener=listener)
        learned = learn(prepared, out, listener=listener, resume=resume, watchers=watchers)
        try:
            result = conclude(learned, out, name=name, listener=listener)
        except Exception:
            listener.say(
                f"all {len(learned.history)} epochs are kept: once this is mended, the same command with --resume goes "
                "on from there, and trains no epoch again"
            )
            raise
        for left in (CHECKPOINT_NAME, PROGRESS_NAME):
            (out / left).unlink(missing_ok=True)
        return result
