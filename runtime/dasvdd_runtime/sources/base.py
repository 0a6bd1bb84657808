"""What every source of samples offers to the capture thread that owns it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import DasvddError, DataError, Unavailable

WAIT_SECONDS = 0.2
"""Longest time that `Source.read` waits for samples, so that a stop is noticed."""


class SourceLost(Unavailable):
    """A live source that is not there, or went away; it is opened again later."""


def why_missing(fault: DasvddError) -> str:
    """Why a source gives nothing, for its state: it is not there, or it is there and gives what cannot be used."""
    return f"it is there, but what it gives cannot be used: {fault}" if isinstance(fault, DataError) else str(fault)


@dataclass(frozen=True)
class Block:
    """Samples that followed each other without a gap."""

    samples: NDArray[np.float32]
    """Shape [samples, channels]; audio with full scale 1.0, sensors in their units."""
    overflowed: bool = False
    """Samples are missing just before these: the device said so, or the source knows."""
    lost: int | None = None
    """How many are missing just before these, by the times of the rows, which hold over an outage too; None where the
    source has no times of its own: those of a live source are then counted against the clock, and there is a gap
    wherever it was opened again."""


class Source(Protocol):
    """One stream of samples at the model's rate. Only one thread calls it."""

    sample_rate_hz: float
    live: bool
    """True where samples come by the clock whether or not they are read: such a source is opened again for ever, its
    oldest samples are dropped if scoring falls behind, and lost time is counted. The others wait and end."""

    def open(self) -> None:
        """Make ready to read. Raises SourceLost (live), or a DasvddError that ends the source (others)."""

    def read(self) -> Block | None:
        """The next samples; None at the end. Waits WAIT_SECONDS at most: an empty block says that nothing arrived.

        Raises as `open` does.
        """

    def close(self) -> None:
        """Release the device. May be called twice, and after a failed `open`."""
