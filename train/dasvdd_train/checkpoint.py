"""A training in progress, and the file that it goes on from after an interruption."""

from __future__ import annotations

import dataclasses
import io
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from dasvdd_runtime.errors import ConfigError, ModelError
from dasvdd_runtime.files import write_atomically

from .config import TrainConfig
from .metrics import EpochMetrics
from .training_state import Best, Run, TrainingState

CHECKPOINT_NAME = "checkpoint.pt"
PROGRESS_NAME = "checkpoint.jsonl"
"""The epochs so far beside it, a line each; metrics.jsonl of the finished training."""
FORMAT = "dasvdd checkpoint 4"
DATA = "data"
"""Where the fingerprint of the recordings stands among the settings, whose names all have a dot."""
MAY_CHANGE = {"training.epochs", "training.early_stopping_epochs", "training.device"}
AFTER_TRAINING = ("alarm.", "decision.", "report.")
"""Settings that may differ when a training goes on; the networks do not depend on those of whole sections."""


def check_resumable(out: Path, *, resume: bool) -> None:
    """Raises ConfigError where `out` holds an interrupted training without `resume`, or a finished one with it."""
    if (out / CHECKPOINT_NAME).exists():
        if not resume:
            raise ConfigError(
                f"{out} holds an interrupted training. Go on with it by --resume and the same DATA and options, or "
                f"remove {out / CHECKPOINT_NAME} to start anew."
            )
    elif resume and (out / "model.pt").exists():
        raise ConfigError(f"{out} holds a finished training, nothing to resume. Without --resume it is trained anew.")


def checkpoint_of_run(out: Path, config: TrainConfig, data_fingerprint: str) -> Checkpoint:
    """That of dasvdd-train in the folder `out`: for recordings with `data_fingerprint` and the settings in `config`.

    The length of the training may change, and what is made of the trained networks.
    """
    settings = {
        name: value
        for name, value in config.flat().items()
        if name not in MAY_CHANGE and not name.startswith(AFTER_TRAINING)
    }
    return Checkpoint(out / CHECKPOINT_NAME, settings | {DATA: data_fingerprint})


class Checkpoint:
    """The file at `path` that holds a TrainingState between two epochs.

    It belongs to what `run` says of the training, in terms of JSON, and to this version of torch. One of another run is
    refused, since going on from it would make a model that no settings describe. It is written after every epoch, or
    after the first and then once `every_seconds` have passed.
    """

    def __init__(self, path: Path, run: Mapping[str, Any], *, every_seconds: float = 0.0) -> None:
        self.path = path
        self._every_seconds = every_seconds
        self._not_before = 0.0
        # As JSON and back, so that it compares with what a file holds.
        self._run: dict[str, Any] = json.loads(json.dumps({**run, "torch": torch.__version__}))

    def exists(self) -> bool:
        """There is something to go on from."""
        return self.path.exists()

    def save(self, state: TrainingState) -> None:
        """Write `state` if it is time to, whole or not at all: whenever the process ends, the last one is there."""
        if time.monotonic() < self._not_before:
            return
        content = {
            "format": FORMAT,
            "run": json.dumps(self._run),
            "members": [_saved(run) for run in state.members],
            "sums": state.sums,
            "networks": state.networks(),
            "network_optimiser": state.optimisers.networks.state_dict(),
            "center_optimiser": state.optimisers.center.state_dict(),
        }
        buffer = io.BytesIO()
        torch.save(content, buffer)
        write_atomically(self.path, buffer.getvalue())
        self._not_before = time.monotonic() + self._every_seconds if self._every_seconds else 0.0

    def restore(self, state: TrainingState) -> None:
        """Put what was saved into `state`, which has all members with which the training began.

        Those that had ended before are left out. Raises as `history`.
        """
        content = self._load(state.center.device)
        state.keep([saved["number"] for saved in content["members"]])
        state.load_networks(content["networks"])
        state.optimisers.networks.load_state_dict(content["network_optimiser"])
        state.optimisers.center.load_state_dict(content["center_optimiser"])
        state.sums.copy_(content["sums"])
        for position, (run, saved) in enumerate(zip(state.members, content["members"], strict=True)):
            state.gamma[position] = saved["gamma"]
            run.order.restore(saved["order"])
            run.gamma, run.epoch, run.history = saved["gamma"], saved["epoch"], _history(saved)
            run.best = Best(**saved["best"]) if saved["best"] else None

    def history(self) -> list[EpochMetrics]:
        """The epochs that are done, by the first member.

        Raises ModelError for a damaged file and ConfigError for one of other data or settings.
        """
        return _history(self._load(torch.device("cpu"))["members"][0])

    def remove(self) -> None:
        """The training is finished."""
        self.path.unlink(missing_ok=True)

    def _load(self, device: torch.device) -> dict[str, Any]:
        content = _read(self.path, device)
        changes = _changes(json.loads(content["run"]), self._run)
        if changes:
            epoch = content["members"][0]["epoch"]
            raise ConfigError(
                f"{self.path} holds another training, after epoch {epoch}: {'; '.join(changes)}. Going on from it "
                "would mix the two. Give the same DATA and options as then, or remove it to start anew."
            )
        return content


def run_in(path: Path) -> dict[str, Any]:
    """What the checkpoint at `path` belongs to, as `Checkpoint` was given it. Raises ModelError for a damaged file."""
    run: dict[str, Any] = json.loads(_read(path, torch.device("cpu"), mmap=True)["run"])
    return run


def _read(path: Path, device: torch.device, *, mmap: bool = False) -> dict[str, Any]:
    try:
        content = torch.load(path, map_location=device, weights_only=True, mmap=mmap)
    except Exception as error:  # torch.load raises a dozen kinds for a damaged file
        raise ModelError(f"{path}: damaged ({type(error).__name__}). Remove it to start anew.") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ModelError(f"{path}: not a checkpoint of this version. Remove it to start anew.")
    return content


def _saved(run: Run) -> dict[str, Any]:
    return {
        "number": run.number,
        "epoch": run.epoch,
        "gamma": run.gamma,
        "order": run.order.state(),
        "history": [dataclasses.asdict(metrics) for metrics in run.history],
        "best": dataclasses.asdict(run.best) if run.best else None,
    }


def _changes(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between two runs, in words, with both values of a setting."""
    names = sorted(name for name in then.keys() | now.keys() if then.get(name) != now.get(name))
    return [
        "other recordings"
        if name == DATA
        else f"{name} was {json.dumps(then.get(name))} and is {json.dumps(now.get(name))}"
        for name in names
    ]


def _history(saved: Mapping[str, Any]) -> list[EpochMetrics]:
    return [EpochMetrics(**metrics) for metrics in saved["history"]]
