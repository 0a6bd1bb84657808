"""A training in progress, and the file that it goes on from after an interruption."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from dasvdd_runtime.errors import ConfigError, ModelError
from dasvdd_runtime.files import write_atomically

from .config import TrainConfig
from .metrics import EpochMetrics
from .training_state import Best, TrainingState

CHECKPOINT_NAME = "checkpoint.pt"
FORMAT = "dasvdd checkpoint 3"
DATA = "data"
"""Where the fingerprint of the recordings stands among the settings, whose names all have a dot."""
MAY_CHANGE = {"training.epochs", "training.early_stopping_epochs", "training.device"}
"""Settings that may differ when a training goes on."""


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


class Checkpoint:
    """The file in the folder `out` that holds the TrainingState of a run, of one member and between two epochs.

    It belongs to the recordings with `data_fingerprint`, to the settings in `config` (but not to the length of the
    training, which may change) and to this version of torch. One of another run is refused, since going on from it
    would make a model that no settings describe.
    """

    def __init__(self, out: Path, config: TrainConfig, data_fingerprint: str) -> None:
        self.path = out / CHECKPOINT_NAME
        settings = {name: value for name, value in config.flat().items() if name not in MAY_CHANGE}
        # As JSON and back, so that it compares with what a file holds.
        self._run: dict[str, Any] = json.loads(
            json.dumps(settings | {"torch": torch.__version__, DATA: data_fingerprint})
        )

    def exists(self) -> bool:
        """There is something to go on from."""
        return self.path.exists()

    def save(self, state: TrainingState) -> None:
        """Write `state`, whole or not at all: whenever the process ends, the last whole epoch is there."""
        (run,) = state.members
        content = {
            "format": FORMAT,
            "run": json.dumps(self._run),
            "epoch": run.epoch,
            "gamma": run.gamma,
            "networks": state.networks(),
            "network_optimiser": state.optimisers.networks.state_dict(),
            "center_optimiser": state.optimisers.center.state_dict(),
            "order": run.order.generator.get_state(),
            "history": [dataclasses.asdict(metrics) for metrics in run.history],
            "best": dataclasses.asdict(run.best) if run.best else None,
        }
        buffer = io.BytesIO()
        torch.save(content, buffer)
        write_atomically(self.path, buffer.getvalue())

    def restore(self, state: TrainingState) -> None:
        """Put what was saved into `state`.

        Raises as `history`.
        """
        content = self._load(state.center.device)
        state.load_networks(content["networks"])
        state.optimisers.networks.load_state_dict(content["network_optimiser"])
        state.optimisers.center.load_state_dict(content["center_optimiser"])
        state.gamma.fill_(content["gamma"])
        (run,) = state.members
        run.order.generator.set_state(content["order"].cpu())
        run.gamma, run.epoch = content["gamma"], content["epoch"]
        run.history = _history(content)
        run.best = Best(**content["best"]) if content["best"] else None

    def history(self) -> list[EpochMetrics]:
        """The epochs that are done.

        Raises ModelError for a damaged file and ConfigError for one of other data or settings.
        """
        return _history(self._load(torch.device("cpu")))

    def remove(self) -> None:
        """The training is finished."""
        self.path.unlink(missing_ok=True)

    def _load(self, device: torch.device) -> dict[str, Any]:
        try:
            content = torch.load(self.path, map_location=device, weights_only=True)
        except Exception as error:  # torch.load raises a dozen kinds for a damaged file
            raise ModelError(f"{self.path}: damaged ({type(error).__name__}). Remove it to start anew.") from error
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise ModelError(f"{self.path}: not a checkpoint of this version. Remove it to start anew.")
        changes = _changes(json.loads(content["run"]), self._run)
        if changes:
            raise ConfigError(
                f"{self.path} holds another training, after epoch {content['epoch']}: {'; '.join(changes)}. Going on "
                "from it would mix the two. Give the same DATA and options as then, or remove it to start anew."
            )
        return content


def _changes(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between two runs, in words, with both values of a setting."""
    names = sorted(name for name in then.keys() | now.keys() if then.get(name) != now.get(name))
    return [
        "other recordings"
        if name == DATA
        else f"{name} was {json.dumps(then.get(name))} and is {json.dumps(now.get(name))}"
        for name in names
    ]


def _history(content: Mapping[str, Any]) -> list[EpochMetrics]:
    return [EpochMetrics(**metrics) for metrics in content["history"]]
