"""Section 4.3 in one place: how each data set is prepared and trained.

Where the paper's text and its figures disagree, what reproduces the figures stands here; docs/reproduction.md says what
was tried.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from dasvdd_runtime.configuration.strict_config import StrictModel, validate
from pydantic import Field

from ..network import Activation
from .paper import GAMMA

Preprocessing = Literal["none", "pixels", "global_contrast", "min_max", "standardise"]


class CellSettings(StrictModel):
    """How one model is trained; the defaults are what section 4.3 says of all data sets."""

    widths: tuple[int, ...]
    """Hidden layers of the encoder; the decoder mirrors them. Leaky ReLU follows each."""
    latent: int = Field(256, ge=1)
    code: Activation = "linear"
    """Activation of the latent code."""
    output: Activation = "linear"
    """Activation of the decoder's output."""
    preprocessing: Preprocessing = "none"
    epochs: int = Field(300, ge=1)
    batch_rows: int = Field(200, ge=2)
    learning_rate: float = Field(1e-3, gt=0)
    weight_decay: float = Field(1e-7, ge=0)
    kappa: float = Field(0.9, gt=0, le=1)
    """Share of a batch that trains the networks; 1 leaves the center at its initial value."""
    gamma: float | None = Field(None, ge=0)
    """None: by eq. 6; 0: reconstruction alone."""
    gamma_initialisations: int = Field(10, ge=1)
    """T of eq. 6."""
    center: Literal["trainable", "fixed"] = "trainable"
    """Fixed: the mean code of the untrained encoder (section 4.5)."""


@dataclass(frozen=True)
class Entry:
    """One data set of the paper."""

    title: str
    """As the paper writes it."""
    settings: CellSettings
    paper_gamma: float
    """gamma that the paper reports."""


IMAGES = CellSettings(widths=(1024, 256), preprocessing="pixels")
"""The text has one hidden layer of 1024; the second one is what reproduces."""
DEEP = CellSettings(widths=(1024, 512))
"""CIFAR-10 and Speech in the text, which is silent on AWID 3 and MIMII."""

ENTRIES = {
    "mnist": Entry("MNIST", IMAGES, GAMMA["mnist"]),
    "cifar10": Entry("CIFAR10", DEEP.model_copy(update={"preprocessing": "global_contrast"}), GAMMA["cifar10"]),
    "fmnist": Entry("FMNIST", IMAGES, GAMMA["fmnist"]),
    "speech": Entry("Speech", DEEP, GAMMA["speech"]),
    # The reported gamma of 713.64 is that of raw rows: glucose and insulin are hundreds.
    "pima": Entry("PIMA", CellSettings(widths=(10, 10), latent=4), GAMMA["pima"]),
    "awid3": Entry("AWID 3", DEEP.model_copy(update={"preprocessing": "min_max"}), GAMMA["awid3"]),
    "mimii": Entry("MIMII", DEEP.model_copy(update={"preprocessing": "standardise"}), GAMMA["mimii"]),
}
"""Name -> entry, in the order of table 2."""


def settings_for(dataset: str, changes: dict[str, Any]) -> CellSettings:
    """The settings of `dataset` with `changes` over them. Raises ConfigError for an unknown or impossible one."""
    return validate(CellSettings, ENTRIES[dataset].settings.model_dump() | changes, origin=f"settings of {dataset}")
