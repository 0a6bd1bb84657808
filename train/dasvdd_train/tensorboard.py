"""The epochs of a run for TensorBoard: an extra, beside metrics.jsonl, which is always there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dasvdd_runtime.extras import require

from .metrics import EpochMetrics

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

FOLDER_NAME = "tensorboard"


class TensorBoardLog:
    """Event files in `out`/tensorboard. Raises Unavailable where tensorboard is not installed."""

    def __init__(self, out: Path) -> None:
        require("--tensorboard", "tensorboard", ("tensorboard",))
        self._folder = out / FOLDER_NAME
        self._writer: SummaryWriter | None = None

    def epoch(self, metrics: EpochMetrics) -> None:
        """Both terms of eq. 3 and the held-out score of one more epoch; later epochs of an earlier start are hidden."""
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self._folder), purge_step=metrics.epoch)
        scalars = {
            "loss/reconstruction_error": metrics.reconstruction_error,
            "loss/gamma_x_center_distance": metrics.gamma * metrics.center_distance,
            "holdout/score": metrics.holdout_score,
        }
        for name, value in scalars.items():
            if value is not None:
                self._writer.add_scalar(name, value, metrics.epoch)
        self._writer.flush()
