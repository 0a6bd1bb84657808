"""What decides, from the scores of a source, whether there is an alarm."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..condition.spectrum import UsualSpectrum
from ..detector import DecisionSettings


@dataclass(frozen=True)
class DecisionRule:
    """The decision chain in force: the model's, or what the configuration or a calibration put in its place.

    DecisionSettings with a threshold for one source, and with all else that is compared when its scores are judged.
    """

    threshold: float
    settings: DecisionSettings
    usual_score: float
    """The usual score, towards which an alarm clears."""
    cooldown_seconds: float = 0.0
    """After an alarm has cleared, none rises for this long."""
    level_dbfs: tuple[float, float, float] | None = None
    """5th, 50th and 95th percentile of the level when the threshold was calibrated; None: as in training."""
    spectrum: UsualSpectrum | None = None
    """What was usual when the threshold was calibrated; None where that is not known, so that none is compared."""
    origin: str = field(default="model", compare=False)
    """Where the threshold comes from: configuration, site or model."""
    why: str = field(default="", compare=False)
    """The same in words."""
