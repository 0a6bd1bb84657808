"""`[evidence]` of monitor.toml: what is kept of an alarm, and for how long."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from ..configuration.strict_config import StrictModel

Mode = Literal["audio", "spectrogram", "none"]


class EvidenceTable(StrictModel):
    """`[evidence]`: kept wherever there is a directory for it."""

    mode: Mode = "spectrogram"
    """`audio`: the samples. `spectrogram`: band levels from which no speech can be rebuilt. `none`: nothing."""
    pre_seconds: float = Field(default=10.0, ge=0, le=600)
    """What is kept before the window that raised the alarm."""
    post_seconds: float = Field(default=10.0, ge=0, le=600)
    """What is kept after the alarm has cleared."""
    max_seconds: float = Field(default=60.0, gt=0, le=3600)
    """A clip is cut to this length, see `longest_seconds`; its sidecar tells how much longer the alarm lasted."""
    directory: Path | None = None
    """Relative to the TOML file. Default: `evidence` in the state directory."""
    max_bytes: int = Field(default=200_000_000, ge=1_000_000)
    """All clips together; the oldest are removed."""
    max_days: float = Field(default=30.0, gt=0, allow_inf_nan=False)
    """Older clips are removed."""
    min_free_bytes: int = Field(default=100_000_000, ge=0)
    """With less room on the disk, the oldest clips are removed, and if that is not enough, none is written."""

    def longest_seconds(self, window_seconds: float) -> float:
        """Length of the longest clip: the window that raised the alarm is in it whole, however long it is."""
        return max(self.max_seconds, self.pre_seconds + window_seconds)

    @model_validator(mode="after")
    def _the_alarm_fits(self) -> EvidenceTable:
        if self.max_seconds <= self.pre_seconds:
            raise ValueError(
                f"max_seconds {self.max_seconds:g} is not above pre_seconds {self.pre_seconds:g}: a clip would end "
                "before its alarm begins"
            )
        return self
