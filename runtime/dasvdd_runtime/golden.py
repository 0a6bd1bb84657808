"""What a model file holds for a device to score again before it trusts the file."""

from __future__ import annotations

import base64

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from .errors import ModelError


class GoldenWindows(BaseModel):
    """A few real windows with their scores, for the device to repeat before it trusts the model."""

    model_config = ConfigDict(frozen=True)

    shape: list[int] = Field(min_length=3, max_length=3)
    """Shape of the graph's input that the windows make: [batch, channels, samples] or [batch, samples, channels]."""
    windows_base64: str
    """The windows, little-endian float32 in that order, base64."""
    scores: list[float]
    """The score of each, as the exporter's onnxruntime computed it on its CPU provider."""
    relative_tolerance: float
    """Largest relative difference of a score that a device may show."""

    @property
    def windows_count(self) -> int:
        """Windows that are scored."""
        return len(self.scores)

    @classmethod
    def encode(
        cls, windows: NDArray[np.float32], scores: NDArray[np.float64], *, relative_tolerance: float
    ) -> GoldenWindows:
        """Pack `windows` (the graph's input, batch first) and their `scores` [batch]."""
        return cls(
            shape=list(windows.shape),
            windows_base64=_packed(windows),
            scores=[float(score) for score in scores],
            relative_tolerance=relative_tolerance,
        )

    def windows(self) -> NDArray[np.float32]:
        """The windows as the graph's input. Raises ModelError if the bytes do not fill the shape."""
        return _unpacked(self.windows_base64, self.shape, "windows")


class GoldenSequences(BaseModel):
    """Stretches of samples with their windows' scores, for the device to repeat before it trusts a stream form."""

    model_config = ConfigDict(frozen=True)

    shape: list[int] = Field(min_length=3, max_length=3)
    """[sequences, samples, channels]."""
    samples_base64: str
    """The samples, little-endian float32 in that order, base64."""
    scores: list[list[float]]
    """By sequence, of each whole window in it, as the exporter's onnxruntime computed it with the plain form."""
    relative_tolerance: float
    """Largest relative difference of a score that a device may show."""

    @property
    def windows_count(self) -> int:
        """Windows that are scored."""
        return sum(map(len, self.scores))

    @classmethod
    def encode(
        cls, samples: NDArray[np.float32], scores: NDArray[np.float64], *, relative_tolerance: float
    ) -> GoldenSequences:
        """Pack `samples` [sequences, samples, channels] and the `scores` [sequences, windows] of their windows."""
        return cls(
            shape=list(samples.shape),
            samples_base64=_packed(samples),
            scores=scores.tolist(),
            relative_tolerance=relative_tolerance,
        )

    def samples(self) -> NDArray[np.float32]:
        """The samples [sequences, samples, channels]. Raises ModelError if the bytes do not fill the shape."""
        return _unpacked(self.samples_base64, self.shape, "sequences")


def relative_differences(found: NDArray[np.float64], expected: NDArray[np.float64]) -> NDArray[np.float64]:
    """|found - expected| / |expected| per entry; infinite where one is not finite."""
    scale = np.maximum(np.abs(expected), np.finfo(np.float32).tiny)
    with np.errstate(invalid="ignore"):
        return np.nan_to_num(np.abs(found - expected) / scale, nan=np.inf, posinf=np.inf)


def relative_difference(found: NDArray[np.float64], expected: NDArray[np.float64]) -> float:
    """The largest of `relative_differences`; 0 of nothing."""
    return float(np.max(relative_differences(found, expected), initial=0.0))


def _packed(values: NDArray[np.float32]) -> str:
    return base64.b64encode(values.astype("<f4").tobytes()).decode("ascii")


def _unpacked(text: str, shape: list[int], what: str) -> NDArray[np.float32]:
    try:
        return np.frombuffer(base64.b64decode(text, validate=True), "<f4").reshape(shape).astype(np.float32)
    except ValueError as error:
        raise ModelError(
            f"the golden {what} in the model file are damaged ({error}). Export or copy the file again."
        ) from error
