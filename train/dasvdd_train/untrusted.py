"""What a `model.pt` must be before anything is built from it: its sizes come from the file, so the file bounds them.

torch.load(weights_only=True) runs no code. It is not enough alone: an archive may unpack to far more than its size, a
tensor may claim more numbers than it stores, and settings may ask for networks and tables of any size.
"""

from __future__ import annotations

import zipfile
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import torch
from dasvdd_runtime.calibration import Calibration
from dasvdd_runtime.condition.levels import Baseline
from dasvdd_runtime.contract import Recentring, TrainingSummary
from dasvdd_runtime.errors import ModelError
from dasvdd_runtime.model_files.curves import LearningCurve
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .front_ends.dft import MOST_SAMPLES

Size = Annotated[int, Field(ge=1, le=2**31)]

LIMITS = {
    "n_fft": MOST_SAMPLES,
    "frame_samples": 2**22,
    "frame_hop_samples": 2**22,
    "mel_bands": 2**12,
    "spectrum_bands": 2**13,
    "channels": 2**12,
    "sample_rate_hz": 1e9,
    "envelope_low_hz": 1e9,
    "envelope_high_hz": 1e9,
    "envelope_max_hz": 1e9,
}
"""Largest value of each number among a front end's settings; lists are as long as the file is."""


class Content(BaseModel):
    """The plain data of a `model.pt`, of the types that the rest relies on."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    front_end: dict[str, Any]
    stacked_frames: Size
    widths: list[Size]
    latent: Size
    name: str
    sample_rate_hz: float = Field(gt=0)
    channel_names: list[str]
    units: list[str]
    window_samples: Size
    window_hop_samples: Size
    residual_baseline: list[float]
    calibration: Calibration | None
    baseline: Baseline
    training: TrainingSummary
    recentred: Recentring | None = None
    not_ready: tuple[str, ...] = ()
    learning: LearningCurve | None = None


def plain_content(raw: dict[str, Any]) -> Content:
    """The plain data in `raw`. Raises ModelError, naming the first value that is not of its type or out of range."""
    try:
        return Content.model_validate(raw)
    except ValidationError as error:
        fault = error.errors()[0]
        raise ModelError(f"{'.'.join(map(str, fault['loc']))[:100]}: {fault['msg']}") from error


def require_plain_archive(path: Path) -> None:
    """Raise ModelError unless `path` is an archive that stores its parts as they are, as torch writes it."""
    try:
        with zipfile.ZipFile(path) as archive:
            parts = archive.infolist()
    except (OSError, zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise ModelError(f"{path}: damaged, cut short, or not a model.pt of dasvdd-train ({error}).") from error
    unpacked = sum(part.file_size for part in parts)
    size = path.stat().st_size
    if unpacked > size or any(part.compress_type != zipfile.ZIP_STORED for part in parts):
        raise ModelError(
            f"{path} ({size} bytes) unpacks to {unpacked} bytes; dasvdd-train packs nothing. It is no model of it."
        )


def require_front_end_sizes(front_end: dict[str, Any]) -> None:
    """Raise ModelError where a front end's settings ask for tables beyond any use."""
    for name, largest in LIMITS.items():
        value = front_end.get(name, 1)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= largest:
            raise ModelError(f"front_end.{name} is {str(value)[:50]}, and it must lie between 0 and {largest:g}")


def require_network_sizes(content: Content, state: object) -> dict[str, torch.Tensor]:
    """The tensors of `state`, once they are those of the network that `content` describes. Raises ModelError if not."""
    if not isinstance(state, dict) or not all(isinstance(tensor, torch.Tensor) for tensor in state.values()):
        raise ModelError("its state holds something other than tensors")
    for name, tensor in state.items():
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise ModelError(f"the tensor '{name}' claims {tensor.numel()} numbers and stores fewer")
    bands = state["mean"].numel()
    sizes = [bands * content.stacked_frames, *content.widths, content.latent]
    found = [state[f"encoder.{2 * layer}.weight"].shape for layer in range(len(sizes) - 1)]
    expected = [(outputs, inputs) for inputs, outputs in pairwise(sizes)]
    if [tuple(shape) for shape in found] != expected:
        raise ModelError(f"its encoder has the shapes {[list(shape) for shape in found]}, and its settings {expected}")
    return state
