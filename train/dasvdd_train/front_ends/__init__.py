"""Window of samples -> frames: one file a front end. docs/training.md says which to choose."""

from __future__ import annotations

from typing import Any, cast

from dasvdd_runtime.errors import ConfigError
from torch import nn

from ..config import FrontEndType
from .base import POWER_FLOOR, FrontEnd, channel_mix, selected_names
from .dft import hann_dft_basis
from .envelope import EnvelopeSpectrum
from .log_mel import LogMel
from .log_spectrum import LogSpectrum
from .mel import mel_filters
from .raw_window import RawWindow
from .rows import Rows

__all__ = [
    "FRONT_ENDS",
    "POWER_FLOOR",
    "EnvelopeSpectrum",
    "FrontEnd",
    "LogMel",
    "LogSpectrum",
    "RawWindow",
    "Rows",
    "build_front_end",
    "channel_mix",
    "hann_dft_basis",
    "mel_filters",
    "selected_names",
]

FRONT_ENDS: dict[FrontEndType, type[nn.Module]] = {
    "log_mel": LogMel,
    "log_spectrum": LogSpectrum,
    "envelope": EnvelopeSpectrum,
    "raw": RawWindow,
    "rows": Rows,
}


def build_front_end(settings: dict[str, Any]) -> FrontEnd:
    """The front end that `settings()` describes. Raises ConfigError for an unknown type."""
    arguments = dict(settings)
    name = arguments.pop("type", None)
    if name not in FRONT_ENDS:
        raise ConfigError(f"unknown front end {name!r}; this version has {', '.join(FRONT_ENDS)}")
    return cast(FrontEnd, FRONT_ENDS[name](**arguments))
