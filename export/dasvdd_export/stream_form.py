"""The model over a stream: a window hop of samples and what is remembered -> the score of the window that is complete.

The score is a mean over the window's feature vectors, and overlapping windows share most of those. So each frame is
computed once, each vector scored once, and only sums are remembered.
"""

from __future__ import annotations

from math import prod

import torch
from dasvdd_runtime.contract import MOST_STATE
from dasvdd_runtime.errors import DasvddError
from dasvdd_train.model import DasvddModel
from torch import Tensor, nn


class StreamForm(nn.Module):
    """(samples, state) -> (score, reconstruction_error, center_distance, residual, state_next).

    `samples` are `window_hop_samples` long, laid out as the model's window; `state` [batch, state_size] is what the
    call before gave as `state_next`, or zeros. The outputs are the model's for the window of `window_samples` that ends
    with `samples`, once that lies wholly in what was given since the zeros.

    Remembered is what later windows need: samples of frames that are not complete, frames of vectors that are not
    complete, and of each window that has begun the sums over its vectors so far, the next to be complete first. A
    window begins with the last vectors of one hop, often fewer than all, and goes on with whole hops.

    Raises DasvddError where the hop is no whole number of frame hops, or windows do not overlap.
    """

    def __init__(self, model: DasvddModel, *, window_samples: int, window_hop_samples: int) -> None:
        super().__init__()
        self.model = model
        front_end = model.front_end
        _require_overlap(window_samples, window_hop_samples, front_end.frame_hop_samples)
        self.time_axis = 2 if model.kind == "audio" else 1
        self.window_hop_samples = window_hop_samples
        overlap = front_end.frame_samples - front_end.frame_hop_samples
        self.vectors = (window_samples - overlap) // front_end.frame_hop_samples - model.stacked_frames + 1
        self.hop_vectors = window_hop_samples // front_end.frame_hop_samples
        whole_hops, part = divmod(self.vectors, self.hop_vectors)
        self.first_vectors = part or self.hop_vectors
        channels = int(front_end.settings()["channels"])
        self.remembered = {
            "samples": (channels, overlap) if model.kind == "audio" else (overlap, channels),
            "frames": (model.stacked_frames - 1, model.bands),
            "sums": (whole_hops if part else whole_hops - 1, model.bands + 1),
        }
        self.state_size = sum(map(prod, self.remembered.values()))
        if self.state_size > MOST_STATE:
            raise DasvddError(
                f"a stream form would remember {self.state_size} numbers of each source, and at most {MOST_STATE} are "
                "allowed. Use a longer window hop, or export without --stream."
            )

    def forward(self, samples: Tensor, state: Tensor) -> tuple[Tensor, ...]:
        """Score, reconstruction_error, center_distance [batch], residual [batch, bands], state_next."""
        memory = _Memory(self.remembered, state)
        frames = self.model.frames(memory.joined("samples", samples, axis=self.time_axis))
        residuals, distances = self.model.of_vectors(memory.joined("frames", frames))
        by_vector = torch.cat([residuals, distances.unsqueeze(2)], dim=2)
        means = self._total(by_vector, memory) / self.vectors
        residual, distance = means[:, : self.model.bands], means[:, self.model.bands]
        error = residual.sum(dim=1)
        return error + self.model.gamma * distance, error, distance, residual, memory.following()

    def _total(self, by_vector: Tensor, memory: _Memory) -> Tensor:
        """Sums [batch, sums] of the window whose newest vectors are `by_vector` [batch, hop_vectors, sums]."""
        begins = by_vector[:, self.hop_vectors - self.first_vectors :].sum(dim=1, keepdim=True)
        if not self.remembered["sums"][0]:
            return begins[:, 0]
        begun = memory.before("sums") + by_vector.sum(dim=1, keepdim=True)
        memory.keep("sums", torch.cat([begun[:, 1:], begins], dim=1))
        return begun[:, 0]


class _Memory:
    """The parts of a state, each the newest rows of something; parts without rows are left out of the graph."""

    def __init__(self, shapes: dict[str, tuple[int, int]], state: Tensor) -> None:
        self._shapes = {name: shape for name, shape in shapes.items() if prod(shape)}
        parts = torch.split(state, [prod(shape) for shape in self._shapes.values()], dim=1)
        self._before = dict(zip(self._shapes, parts, strict=True))
        self._after: dict[str, Tensor] = {}

    def before(self, name: str) -> Tensor:
        """What is remembered as `name`."""
        return self._before[name].reshape(-1, *self._shapes[name])

    def keep(self, name: str, new: Tensor) -> None:
        """Remember `new` [batch, *shape] as `name`."""
        self._after[name] = new

    def joined(self, name: str, new: Tensor, *, axis: int = 1) -> Tensor:
        """What is remembered as `name` with `new` behind it, along `axis`; the newest of it is remembered."""
        if name not in self._shapes:
            return new
        shape = self._shapes[name]
        both = torch.cat([self.before(name), new], dim=axis)
        kept = shape[axis - 1]
        self.keep(name, both.narrow(axis, both.shape[axis] - kept, kept))
        return both

    def following(self) -> Tensor:
        """The state after this call."""
        return torch.cat([self._after[name].flatten(1) for name in self._shapes], dim=1)


def _require_overlap(window_samples: int, window_hop_samples: int, frame_hop_samples: int) -> None:
    """Raise DasvddError where no window shares frames with the next."""
    if window_hop_samples % frame_hop_samples:
        nearest = max(1, round(window_hop_samples / frame_hop_samples)) * frame_hop_samples
        raise DasvddError(
            f"the window hop of {window_hop_samples} samples is no whole number of frame hops of {frame_hop_samples}, "
            f"so windows share no frames and a stream form cannot be made. Train with a window hop of {nearest} "
            "samples, or export without --stream."
        )
    if window_hop_samples >= window_samples:
        raise DasvddError(
            f"windows of {window_samples} samples every {window_hop_samples} do not overlap, so a stream form would "
            "compute what the plain form does. Train with a shorter window_hop_seconds, or export without --stream."
        )
