"""The newest second of a stream, for those who look at it: the blocks that brought it, of which nothing is copied."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class NewestSecond:
    """Told of a stream's blocks. Memory: a second and one block."""

    def __init__(self, sample_rate_hz: float) -> None:
        self._second_samples = max(1, round(sample_rate_hz))
        self.blocks: tuple[NDArray[np.float32], ...] = ()
        """Blocks [samples, channels] that follow each other, oldest first: a second at least once there is one.

        Replaced, never changed, so that any thread may read it.
        """

    def add(self, samples: NDArray[np.float32]) -> None:
        """The next `samples` [samples, channels]."""
        blocks = [*self.blocks, samples]
        surplus = sum(map(len, blocks)) - self._second_samples
        while surplus >= len(blocks[0]):
            surplus -= len(blocks.pop(0))
        self.blocks = tuple(blocks)

    def restart(self) -> None:
        """Forget what came before a gap."""
        self.blocks = ()
