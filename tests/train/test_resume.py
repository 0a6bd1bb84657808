"""An interrupted training goes on where it was, bit for bit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from dasvdd_runtime.errors import ConfigError, ModelError
from dasvdd_train.checkpoint import CHECKPOINT_NAME, PROGRESS_NAME, Checkpoint, checkpoint_of_run
from dasvdd_train.config import TrainConfig, TrainingSettings
from dasvdd_train.features import FeatureVectors, FrameTable, feature_vectors
from dasvdd_train.front_ends import Rows
from dasvdd_train.metrics import EpochMetrics
from dasvdd_train.model import DasvddModel
from dasvdd_train.trainer import Trained, train, train_members
from dasvdd_train.training_state import Member, Recipe
from make_tiny_models import TINY, write_audio


class Killed(Exception):
    """Stands for the end of the process between two epochs."""


def model_and_vectors() -> tuple[DasvddModel, FeatureVectors]:
    model = DasvddModel(Rows(channels=6, channel_names=list("abcdef")), stacked_frames=1, widths=(16,), latent=2)
    rows = torch.randn(330, 6, generator=torch.Generator().manual_seed(1))
    return model, feature_vectors(model, FrameTable(rows, [len(rows)]))


def settings(epochs: int = 6, **more: object) -> TrainingSettings:
    return TrainingSettings.model_validate({"epochs": epochs, "batch_rows": 50, "device": "cpu"} | more)


def weights(model: DasvddModel) -> torch.Tensor:
    return torch.cat([value.flatten() for value in model.state_dict().values()])


def train_with_kill(
    folder: Path, kill_after: int, training: TrainingSettings
) -> tuple[torch.Tensor, list[EpochMetrics]]:
    """Train, be killed after `kill_after` epochs, go on; the weights and the history."""
    checkpoint = checkpoint_of_run(folder, TrainConfig(), "data")

    def kill(metrics: EpochMetrics) -> None:
        if metrics.epoch == kill_after:
            raise Killed

    model, vectors = model_and_vectors()
    with pytest.raises(Killed):
        train(model, vectors, vectors, training, checkpoint=checkpoint, on_epoch=kill)
    model, vectors = model_and_vectors()
    seen: list[int] = []
    history = train(model, vectors, vectors, training, checkpoint=checkpoint, on_epoch=lambda m: seen.append(m.epoch))
    assert seen == list(range(kill_after + 1, training.epochs + 1))
    return weights(model), history


@pytest.mark.parametrize("kill_after", [1, 2, 5, 6])
def test_killed_after_any_epoch_the_same_model_comes_out(tmp_path: Path, kill_after: int) -> None:
    """Both optimisers, the center and the order of the data go on: every weight and figure is that of a whole run."""
    model, vectors = model_and_vectors()
    whole = train(model, vectors, vectors, settings())
    resumed, history = train_with_kill(tmp_path, kill_after, settings())
    assert torch.equal(resumed, weights(model))
    assert [(m.reconstruction_error, m.center_distance, m.holdout_score) for m in history] == [
        (m.reconstruction_error, m.center_distance, m.holdout_score) for m in whole
    ]


def test_early_stopping_keeps_its_best_networks_over_a_kill(tmp_path: Path) -> None:
    """The lowest held-out point of before the kill is still the one that is kept."""
    training = settings(40, early_stopping_epochs=50, learning_rate=0.02)
    model, vectors = model_and_vectors()
    train(model, vectors, vectors, training)
    resumed, _ = train_with_kill(tmp_path, 39, training)
    assert torch.equal(resumed, weights(model))


@pytest.mark.parametrize("kill_after", [1, 4, 7, 11, 16])
def test_a_stack_of_unequal_members_goes_on_bit_for_bit(tmp_path: Path, kill_after: int) -> None:
    """Members of other lengths and batches, some within their epochs, some gone, are what they are without a kill."""
    recipe = Recipe(features=6, widths=(16,), latent=2, batch_rows=50, kappa=0.9, learning_rate=1e-3, weight_decay=1e-7)

    def members(on_epoch: Callable[[EpochMetrics], None]) -> list[Member]:
        made = []
        for seed, (rows, epochs) in enumerate([(330, 5), (120, 8), (203, 3)]):
            table = torch.randn(rows, 6, generator=torch.Generator().manual_seed(seed))
            vectors = FeatureVectors(table, torch.arange(rows), 1)
            made.append(Member(vectors, seed, epochs, None, 2, on_epoch=on_epoch))
        return made

    told = 0

    def kill(metrics: EpochMetrics) -> None:
        nonlocal told
        told += 1
        if told == kill_after:
            raise Killed

    def results(on_epoch: Callable[[EpochMetrics], None]) -> dict[int, Trained]:
        checkpoint = Checkpoint(tmp_path / "stack.pt", {"stack": 1})
        given: dict[int, Trained] = {}
        try:
            for number, trained in train_members(members(on_epoch), recipe, torch.device("cpu"), checkpoint=checkpoint):
                assert isinstance(trained, Trained)
                given[number] = trained
        except Killed:
            return given
        checkpoint.remove()
        return given

    whole = results(lambda _: None)
    assert sorted(whole) == [0, 1, 2]
    before = results(kill)
    assert told == kill_after
    after = results(lambda _: None)
    assert sorted(before | after) == [0, 1, 2]
    for number, trained in (before | after).items():
        for name in ("encoder", "decoder"):
            for key, value in getattr(whole[number], name).items():
                assert torch.equal(getattr(trained, name)[key], value)
        assert torch.equal(trained.center, whole[number].center)
        assert trained.gamma == whole[number].gamma
        assert [m.reconstruction_error for m in trained.history] == [
            m.reconstruction_error for m in whole[number].history
        ]


def test_a_longer_training_may_go_on(tmp_path: Path) -> None:
    """Three epochs and then three more are six: only the length of a training may change."""
    model, vectors = model_and_vectors()
    train(model, vectors, None, settings(6))
    first, _ = model_and_vectors()
    checkpoint = checkpoint_of_run(tmp_path, TrainConfig(), "data")
    train(first, vectors, None, settings(3), checkpoint=checkpoint)
    longer = checkpoint_of_run(tmp_path, TrainConfig(training=TrainingSettings(epochs=6)), "data")
    second, _ = model_and_vectors()
    train(second, vectors, None, settings(6), checkpoint=longer)
    assert torch.equal(weights(second), weights(model))


@pytest.mark.parametrize(
    ("config", "data", "words"),
    [
        (TrainConfig(), "other data", "after epoch 2: other recordings\\."),
        (TrainConfig(training=TrainingSettings(seed=1)), "data", r"after epoch 2: training\.seed was 0 and is 1\."),
    ],
    ids=["data", "settings"],
)
def test_another_run_is_refused(tmp_path: Path, config: TrainConfig, data: str, words: str) -> None:
    """Going on with other recordings or settings would make a model that nothing describes: what differs is named."""
    model, vectors = model_and_vectors()
    train(model, vectors, None, settings(2), checkpoint=checkpoint_of_run(tmp_path, TrainConfig(), "data"))
    other = checkpoint_of_run(tmp_path, config, data)
    with pytest.raises(ConfigError, match=words):
        other.history()  # before anything is said to go on
    with pytest.raises(ConfigError, match=words):
        train(model, vectors, None, settings(3), checkpoint=other)


def test_what_is_made_of_the_networks_may_change(tmp_path: Path) -> None:
    """A training whose end failed is finished with another decision rule, target or report, and trains no epoch."""
    model, vectors = model_and_vectors()
    train(model, vectors, None, settings(2), checkpoint=checkpoint_of_run(tmp_path, TrainConfig(), "data"))
    other = TrainConfig.model_validate(
        {"decision": {"k": 1, "n": 1}, "alarm": {"false_alarms_per_day": 4}, "report": {"audio": False}}
    )
    assert len(checkpoint_of_run(tmp_path, other, "data").history()) == 2


def test_a_checkpoint_cut_at_any_length_is_named(tmp_path: Path) -> None:
    """A damaged file is an error with its name, never a half-restored training."""
    model, vectors = model_and_vectors()
    checkpoint = checkpoint_of_run(tmp_path, TrainConfig(), "data")
    train(model, vectors, None, settings(1), checkpoint=checkpoint)
    content = checkpoint.path.read_bytes()
    for length in range(0, len(content), max(1, len(content) // 40)):
        checkpoint.path.write_bytes(content[:length])
        with pytest.raises(ModelError, match=r"checkpoint\.pt: damaged"):
            checkpoint.history()


def start(data: Path, out: Path, *options: str) -> subprocess.Popen[str]:
    # A shell's background job, in which these tests may run, ignores Ctrl-C, and so would its children.
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    code += "from dasvdd_train.cli import main; main(prog_name='dasvdd-train')"
    command = [sys.executable, "-c", code, str(data), "--out", str(out), *TINY, "--epochs", "30", *options]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, text=True, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, env=environment)


def test_nothing_to_resume_before_the_first_epoch_is_said(tmp_path: Path) -> None:
    """Ctrl-C while recordings are read says that nothing is kept, and the same command is not refused afterwards."""
    write_audio(tmp_path / "data")
    with start(tmp_path / "data", tmp_path / "run") as process:
        assert process.stderr is not None and "reading 1/" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()
        assert process.wait(60) == 130
    assert "no epoch had finished, so there is nothing to resume: the same command begins anew" in said
    assert not list((tmp_path / "run").iterdir())


def epochs_in(out: Path) -> int:
    path = out / PROGRESS_NAME
    return path.read_text().count("\n") if path.exists() else 0


def test_the_program_killed_again_and_again_ends_with_the_same_file(tmp_path: Path) -> None:
    """SIGKILL and Ctrl-C lose at most one epoch, and the final model.pt is that of a quiet run, byte for byte."""
    write_audio(tmp_path / "data")
    quiet, rough = tmp_path / "quiet" / "run", tmp_path / "rough" / "run"
    assert start(tmp_path / "data", quiet).wait(120) == 0

    for number, at_epoch in ((signal.SIGKILL, 3), (signal.SIGINT, 9), (signal.SIGKILL, 17)):
        process = start(tmp_path / "data", rough, "--resume")
        while epochs_in(rough) < at_epoch and process.poll() is None:
            time.sleep(0.002)
        before = epochs_in(rough)
        process.send_signal(number)
        _, stderr = process.communicate(timeout=60)
        assert process.returncode == (-9 if number is signal.SIGKILL else 130), stderr
        saved = torch.load(rough / CHECKPOINT_NAME, weights_only=True)["members"][0]["epoch"]
        assert saved >= before - 1
    assert "--resume" in start(tmp_path / "data", rough).communicate(timeout=60)[1]

    process = start(tmp_path / "data", rough, "--resume")
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stderr
    assert f"going on after epoch {saved} of 30" in stderr
    assert (rough / "model.pt").read_bytes() == (quiet / "model.pt").read_bytes()
    assert not (rough / CHECKPOINT_NAME).exists() and not (rough / PROGRESS_NAME).exists()
    lines = [json.loads(line) for line in (rough / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == list(range(1, 31))
    assert "nothing to resume" in start(tmp_path / "data", rough, "--resume").communicate(timeout=60)[1]
