"""The log for TensorBoard, read back by TensorBoard's own reader."""

from __future__ import annotations

from pathlib import Path

import pytest
from dasvdd_train.metrics import EpochMetrics
from dasvdd_train.tensorboard import TensorBoardLog


def test_a_resumed_run_is_one_curve(tmp_path: Path) -> None:
    """Each epoch is there once with both weighted terms, also where a second start repeats an epoch."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for epochs in (range(1, 4), range(3, 6)):
        log = TensorBoardLog(tmp_path)
        for epoch in epochs:
            log.epoch(EpochMetrics(epoch, 10.0 / epoch, 2.0, 0.25, 1.0, None if epoch == 1 else 7.0))
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [e.step for e in events.Scalars("loss/reconstruction_error")] == [1, 2, 3, 4, 5]
    assert events.Scalars("loss/reconstruction_error")[3].value == pytest.approx(2.5)
    assert [e.value for e in events.Scalars("loss/gamma_x_center_distance")] == [0.5] * 5
    assert [e.step for e in events.Scalars("holdout/score")] == [2, 3, 4, 5]
