"""What figs. 3 and 4 show: loss terms of every iteration, center and biases of some."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..stacking import StackedLinear
from ..training_state import TrainingState

EVERY_ONE_UNTIL = 300
"""Center and biases are kept after each of the first iterations, in which the paper sees c converge."""
THEN_EVERY = 50


class History:
    """An observer of the training of a single model."""

    def __init__(self) -> None:
        self._terms: list[Tensor] = []
        self._snapshots: list[tuple[int, NDArray[np.float32], NDArray[np.float32]]] = []
        self._gamma = 0.0

    def __call__(self, state: TrainingState, error: Tensor, distance: Tensor) -> None:
        """Note one step of the only member: both terms, each [1], and what became of the networks in `state`."""
        number = len(self._terms)
        self._gamma = state.members[0].gamma
        self._terms.append(torch.cat([error, distance]))
        if number < EVERY_ONE_UNTIL or number % THEN_EVERY == 0:
            biases = [layer.bias.detach().flatten() for layer in state.encoder if isinstance(layer, StackedLinear)]
            # Copies: on the CPU, both would go on changing.
            center = state.center.detach().flatten()
            self._snapshots.append((number, center.cpu().numpy().copy(), torch.cat(biases).cpu().numpy().copy()))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The history as arrays.

        reconstruction_loss and svdd_loss, the latter times gamma, [iterations]; snapshot_iteration [s], center
        [s, latent] and encoder_biases [s, biases].
        """
        terms = torch.stack(self._terms).double().cpu().numpy()
        numbers, centers, biases = zip(*self._snapshots, strict=True)
        return {
            "reconstruction_loss": terms[:, 0],
            "svdd_loss": self._gamma * terms[:, 1],
            "snapshot_iteration": np.array(numbers),
            "center": np.stack(centers),
            "encoder_biases": np.stack(biases),
        }
