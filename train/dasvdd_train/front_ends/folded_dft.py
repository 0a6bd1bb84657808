"""Power spectrum of overlapping frames as four small matrix products instead of a large one.

Up to its sign, the cosine of bin k at sample n is also that at n_fft - n and at n_fft / 2 +- n, and so is the sine.
Samples that share a value are added or subtracted first; what is left is a product for the cosines and one for the
sines of the even bins, and two for the odd bins, each with a quarter of the rows and half of the columns of the whole.
"""

from __future__ import annotations

from math import gcd

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .base import overlapping_pieces


class FoldedDft(nn.Module):
    """Samples [n, samples] -> power [n, frames, bins] of their windowed frames, one every `hop_samples`.

    `window` are the weights [n_fft] of a frame's samples, of any shape. `hop_samples` divides n_fft and the number of
    samples. `bins` [bins] are those wanted, each multiplied in amplitude by its `scale` [bins]; the result has them in
    the order of the attribute `bins`: for an even n_fft the odd ones first. A NaN in a sample makes every bin of its
    frames NaN; an infinite one leaves none finite.

    The sums are made in `dtype`, whose rounding of the strongest line is what the weakest bins can be told from.
    """

    def __init__(
        self,
        window: NDArray[np.float64],
        *,
        hop_samples: int,
        bins: NDArray[np.int64],
        scale: NDArray[np.float64],
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        n_fft = len(window)
        self.dtype = dtype
        self.n_fft, self.hop_samples = n_fft, hop_samples
        # Two halves of a frame are folded onto each other, then what is left about its middle; an odd one only so.
        self.parts = 1 if n_fft % 2 else 2
        self.part_samples = n_fft // self.parts
        self.pairs = self.part_samples // 2
        weights = window.reshape(self.parts, self.part_samples)
        self._keep("first_weights", weights[:, :1])
        self._keep("near_weights", weights[:, 1 : self.pairs + 1])
        self._keep("far_weights", weights[:, self.part_samples - self.pairs :][:, ::-1])
        groups = {"odd": bins % 2 == 1, "even": bins % 2 == 0} if self.parts == 2 else {"all": bins >= 0}
        for name, group in groups.items():
            cosines, sines = self._basis(bins[group], scale[group])
            self._keep(f"{name}_cosines", cosines)
            self._keep(f"{name}_sines", sines)
        self.bins: NDArray[np.int64] = np.concatenate([bins[group] for group in groups.values()])

    def forward(self, samples: Tensor) -> Tensor:
        """Power [n, frames, bins] of `samples` [n, samples]."""
        pieces = overlapping_pieces(samples.to(self.dtype), self.part_samples, gcd(self.part_samples, self.hop_samples))
        first = self._weighted(pieces[:, :, :1], "first_weights")
        near = self._weighted(pieces[:, :, 1 : self.pairs + 1], "near_weights")
        far = self._weighted(pieces[:, :, self.part_samples - self.pairs :].flip(2), "far_weights")
        if self.parts == 1:
            return self._power("all", first[0], near[0], far[0])
        # Odd bins change their sign half a frame on, and their cosines once more where a half is seen from its far end.
        odd = self._power("odd", first[0] - first[1], near[0] - near[1], far[1] - far[0])
        even = self._power("even", first[0] + first[1], near[0] + near[1], far[0] + far[1])
        return torch.cat([odd, even], dim=2)

    def _keep(self, name: str, values: NDArray[np.float64]) -> None:
        # Constants of the settings: rebuilt when a model is loaded, so they are not stored with it.
        self.register_buffer(name, torch.from_numpy(values.copy()).to(self.dtype), persistent=False)

    def _basis(self, bins: NDArray[np.int64], scale: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
        """Cosines [1 + pairs, bins] and sines [pairs, bins] at the first sample and at the near one of each pair."""
        n = np.arange(self.pairs + 1)
        angle = 2 * np.pi * (np.outer(n, bins) % self.n_fft) / self.n_fft  # the modulo keeps large angles exact
        middle_is_its_own_pair = (2 * n == self.part_samples)[:, None]
        weight = np.where(middle_is_its_own_pair, 0.5, 1.0) * scale
        return np.cos(angle) * weight, (np.sin(angle) * weight)[1:]

    def _weighted(self, pieces: Tensor, name: str) -> list[Tensor]:
        """For each part of a frame: `pieces` of that part in all frames [n, frames, columns], times their weights."""
        step = gcd(self.part_samples, self.hop_samples)
        stride, apart = self.hop_samples // step, self.part_samples // step
        last = pieces.shape[1] - (self.parts - 1) * apart
        weights = self.get_buffer(name)
        return [pieces[:, part * apart : part * apart + last : stride] * weights[part] for part in range(self.parts)]

    def _power(self, group: str, first: Tensor, near: Tensor, far: Tensor) -> Tensor:
        cosines, sines = self.get_buffer(f"{group}_cosines"), self.get_buffer(f"{group}_sines")
        real = torch.matmul(torch.cat([first, near + far], dim=2), cosines)
        imaginary = torch.matmul(near - far, sines)
        return real * real + imaginary * imaginary
