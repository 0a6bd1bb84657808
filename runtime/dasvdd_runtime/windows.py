"""Cut a stream of samples into overlapping windows, whatever the sizes of the blocks that it arrives in."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Window:
    """One window, cut from a stream."""

    first_sample: int
    """Index, in the stream, of the window's first sample."""
    samples: NDArray[np.float32]
    """Shape [window_samples, channels]; a view that overlapping windows share, not to be written to."""


@dataclass(eq=False)
class StreamMemory:
    """What a scorer remembers of one stream from one window to the next. The stream's pipeline keeps it."""

    next_first_sample: int | None = None
    """Index of the first sample of the window that `state` leads up to; None before the first."""
    state: NDArray[np.float32] = field(default_factory=lambda: np.empty(0, np.float32))
    """Shape [state_size], as the stream form of a model made it."""


@dataclass(frozen=True)
class Waiting:
    """A window that waits for its score, and the memory of its stream."""

    window: Window
    memory: StreamMemory


class Windower:
    """Windows of `window_samples` every `hop_samples`, the first one starting at the stream's first sample.

    Memory is bounded by one window and the largest block. A tail shorter than a window yields nothing.
    """

    def __init__(self, *, window_samples: int, hop_samples: int, channels: int) -> None:
        if window_samples < 1 or hop_samples < 1 or channels < 1:
            raise ValueError(
                f"window of {window_samples} samples every {hop_samples} with {channels} channels: "
                "each must be at least 1"
            )
        self._window_samples = window_samples
        self._hop_samples = hop_samples
        self._channels = channels
        self._next_first_sample = 0
        self._skip = 0
        self._pending = np.empty((0, channels), np.float32)

    def push(self, block: NDArray[np.float32]) -> list[Window]:
        """Add `block`, shape [samples, channels], and return the windows that it completes, in order.

        Raises ValueError if the block has another number of channels.
        """
        if block.ndim != 2 or block.shape[1] != self._channels:
            raise ValueError(f"a block of shape {block.shape} for a stream of {self._channels} channels")
        samples = np.concatenate([self._pending, block[self._skip :]]) if len(block) > self._skip else self._pending
        self._skip = max(0, self._skip - len(block))
        windows = []
        start = 0
        while start + self._window_samples <= len(samples):
            windows.append(Window(self._next_first_sample, samples[start : start + self._window_samples]))
            self._next_first_sample += self._hop_samples
            start += self._hop_samples
        self._skip += max(0, start - len(samples))
        self._pending = samples[start:].copy()
        return windows

    @property
    def needed_samples(self) -> int:
        """Samples still to be pushed, counted from the next one on, until the next window is complete.

        For windows of 10 every 5: 10 at the start, 4 after 6 samples, and 5 once a window is complete. Samples that a
        hop longer than the window passes over count too.
        """
        return self._skip + self._window_samples - len(self._pending)

    def restart(self, first_sample: int) -> None:
        """Forget what is pending: the next pushed sample has index `first_sample` and starts a window (after a gap)."""
        self._pending = np.empty((0, self._channels), np.float32)
        self._next_first_sample = first_sample
        self._skip = 0


def cut_windows(samples: NDArray[np.float32], *, window_samples: int, hop_samples: int) -> NDArray[np.float32]:
    """All whole windows of `samples` [samples, channels] as a view [windows, window_samples, channels]."""
    if len(samples) < window_samples:
        return np.empty((0, window_samples, samples.shape[1]), np.float32)
    every = np.lib.stride_tricks.sliding_window_view(samples, window_samples, axis=0)
    return every[::hop_samples].swapaxes(1, 2)
