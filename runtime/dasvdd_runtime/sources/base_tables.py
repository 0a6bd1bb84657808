"""What every table `[[source]]` of monitor.toml has."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field, model_validator

from ..configuration.strict_config import StrictModel
from ..evidence.tables import Mode


class RunningTable(StrictModel):
    """`[source.running]`: when the machine stands still, so that it is not judged."""

    stop_level: float | None = Field(default=None, allow_inf_nan=False)
    """Below it the machine stands still; dBFS, or the unit of `signal_channel`. Default: 10 dB below the quietest
    twentieth of the training recordings."""
    start_level: float | None = Field(default=None, allow_inf_nan=False)
    """Above it the machine runs. Default: 3 dB above `stop_level`; with a signal, `stop_level` itself."""
    signal_channel: Annotated[int, Field(ge=0)] | str | None = None
    """The source's channel that carries an external signal, counted from 0 or by its name in a table."""
    hold_seconds: float = Field(default=3.0, ge=0)
    settle_seconds: float = Field(default=5.0, ge=0)

    @model_validator(mode="after")
    def _levels_fit(self) -> RunningTable:
        if self.signal_channel is not None and self.stop_level is None:
            raise ValueError("a signal_channel needs a stop_level in the signal's unit: no training tells it")
        if self.stop_level is not None and self.start_level is not None and self.start_level < self.stop_level:
            raise ValueError(f"start_level {self.start_level:g} lies below stop_level {self.stop_level:g}: swap them")
        if self.start_level is not None and self.stop_level is None:
            raise ValueError("start_level needs stop_level beside it")
        return self


class BaseSourceTable(StrictModel):
    always_sound: ClassVar[bool] = False
    """No source of the kind gives rows of sensor values."""
    unread_stays: ClassVar[bool] = False
    """What has not been read waits where it is, as rows of a file do: nothing is dropped where scoring falls behind."""

    name: str = Field(min_length=1)
    """What the events call this source."""
    stall_seconds: float = Field(default=5.0, gt=0)
    """Without samples for this long, the source is STALLED."""
    silent_seconds: float = Field(default=10.0, gt=0)
    """Silent (sensors: no channel changes) for this long, and for at least three rows, the source is SILENT."""
    model: str = ""
    """The name of its model; needed only where there are several."""
    channels: list[Annotated[int, Field(ge=0)] | str] | None = Field(default=None, min_length=1)
    """The source's channels that are the model's, in the model's order: counted from 0, or names in a table."""
    running: RunningTable | None = None
    evidence: Mode | None = None
    """In the place of `[evidence] mode`."""

    @property
    def named_channels(self) -> list[str]:
        """The channels that the table itself names; none where it leaves that to the source."""
        return []

    def unit_of(self, channel: int | str) -> str:
        """The unit of a channel of the source; empty where the table does not say it."""
        return ""

    @property
    def gives_sound(self) -> bool:
        """Its samples can only be sound, so that no model of sensors can judge them."""
        return self.always_sound
