"""Power spectrum of frames as two small matrix products instead of one large one: the first step of an FFT.

A frame of rows * columns samples is laid out row by row. Bin k = r + rows * q then is (Cooley and Tukey, 1965)

    X_k = sum_c exp(-2 pi i c k / n_fft)  sum_j exp(-2 pi i j r / rows) x[j, c]

The inner sum is one product for all columns. The outer one is a product for every remainder r, of rows / 2 + 1: the
others belong to bins whose power stands among these, since X_(n_fft - k) is the conjugate of X_k.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from dasvdd_runtime.errors import ConfigError
from numpy.typing import NDArray
from torch import Tensor, nn

MOST_NUMBERS = 2**23
"""Of a model's tables; a length of many small factors takes few, a prime length its square."""


class TwoStepDft(nn.Module):
    """Frames [n, frames, n_fft] -> power [n, frames, columns] of their windowed DFT.

    `window` are the weights [n_fft] of a frame's samples, of any shape; each bin is multiplied in amplitude by its
    `scale` [n_fft // 2 + 1]. Bin k stands in column `column_of_bin[k]`; some bins stand in a second column too. A NaN
    in a sample makes all of its frame NaN; an infinite one leaves nothing finite.

    The sums are made in `dtype`, whose rounding of the strongest line is what the weakest bins can be told from.
    Raises ConfigError for a length of so few factors that the tables would be too large.
    """

    def __init__(
        self, window: NDArray[np.float64], *, scale: NDArray[np.float64], dtype: torch.dtype = torch.float32
    ) -> None:
        super().__init__()
        n_fft = len(window)
        self.rows = rows_of(n_fft)
        self.row_samples = n_fft // self.rows
        self.remainders = self.rows // 2 + 1
        self.dtype = dtype
        bins = np.arange(self.remainders)[:, None] + self.rows * np.arange(self.row_samples)
        bin_of_column = np.minimum(bins, n_fft - bins).ravel()
        self.column_of_bin: NDArray[np.int64] = np.unique(bin_of_column, return_index=True)[1]
        over_rows = _rotations(np.arange(self.remainders), np.arange(self.rows), of=self.rows)
        over_columns = np.stack([_rotations(np.arange(self.row_samples), k, of=n_fft) for k in bins])
        over_columns *= scale[bin_of_column].reshape(self.remainders, 1, self.row_samples)
        self._keep("window", window.reshape(self.rows, self.row_samples))
        self._keep("over_rows", np.stack([over_rows.real, over_rows.imag], axis=1).reshape(-1, self.rows))
        self._keep("over_columns", _on_real_and_imaginary(over_columns))

    def forward(self, frames: Tensor) -> Tensor:
        """Power [n, frames, columns] of `frames` [n, frames, n_fft]."""
        windowed = frames.to(self.dtype).reshape(-1, self.rows, self.row_samples) * self.get_buffer("window")
        inner = torch.matmul(self.get_buffer("over_rows"), windowed)
        by_remainder = inner.reshape(-1, self.remainders, 2 * self.row_samples).transpose(0, 1)
        spectrum = torch.matmul(by_remainder, self.get_buffer("over_columns"))
        squared = spectrum * spectrum
        power = squared[:, :, : self.row_samples] + squared[:, :, self.row_samples :]
        return power.transpose(0, 1).reshape(-1, frames.shape[1], self.remainders * self.row_samples)

    def by_column(self, by_bin: NDArray[Any]) -> NDArray[Any]:
        """Rows of a matrix `by_bin` [n_fft // 2 + 1, m] in their bin's column [columns, m], 0 in second columns."""
        rows = np.zeros((self.remainders * self.row_samples, by_bin.shape[1]), by_bin.dtype)
        rows[self.column_of_bin] = by_bin
        return rows

    def _keep(self, name: str, values: NDArray[np.float64]) -> None:
        # Constants of the settings: rebuilt when a model is loaded, so they are not stored with it.
        self.register_buffer(name, torch.from_numpy(values.copy()).to(self.dtype), persistent=False)


def rows_of(n_fft: int) -> int:
    """The number of rows that makes for the fewest multiplications. Raises ConfigError as TwoStepDft."""
    divisors = [rows for rows in range(1, n_fft + 1) if n_fft % rows == 0]
    rows = min(divisors, key=lambda rows: (rows // 2 + 1) * (2 * n_fft + 4 * (n_fft // rows) ** 2))
    numbers = (rows // 2 + 1) * (2 * rows + 4 * (n_fft // rows) ** 2)
    if numbers > MOST_NUMBERS:
        raise ConfigError(
            f"a Fourier transform of {n_fft} samples, which has few factors, takes tables of {numbers} numbers in the "
            f"model, and at most {MOST_NUMBERS} fit. Use a length of small factors, for instance a power of two."
        )
    return rows


def _rotations(n: NDArray[np.int64], k: NDArray[np.int64], *, of: int) -> NDArray[np.complex128]:
    """exp(-2 pi i n k / of) [n, k]; n k modulo `of` keeps the angle exact where n k is large."""
    result: NDArray[np.complex128] = np.exp(-2j * np.pi * (np.outer(n, k) % of) / of)
    return result


def _on_real_and_imaginary(matrices: NDArray[np.complex128]) -> NDArray[np.float64]:
    """`matrices` [n, in, out] as they act on real parts with the imaginary ones behind them: [n, 2 in, 2 out]."""
    from_real = np.concatenate([matrices.real, matrices.imag], axis=2)
    from_imaginary = np.concatenate([-matrices.imag, matrices.real], axis=2)
    return np.concatenate([from_real, from_imaginary], axis=1)
