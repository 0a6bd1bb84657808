"""What a pipeline tells of its stream. This one keeps nothing; `clips` has the one that does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..running.snapshot import Keeps

if TYPE_CHECKING:
    from ..alarms.decision_rule import DecisionRule
    from ..contract import ModelMetadata
    from ..detector import Decision, Episode
    from ..windows import Window


class Clips:
    """Told of samples as they arrive and of decisions as they fall. Each says what its event is to say of evidence."""

    keeps: Keeps = "nothing"

    def use_model(self, metadata: ModelMetadata) -> None:
        """Another model judges from the next sample on."""

    def use_rule(self, rule: DecisionRule) -> None:
        """Another rule decides from the next score on."""

    def add(self, first_sample: int, samples: NDArray[np.float32]) -> None:
        """`samples` [samples, channels] of the source, the first of which has this index in the stream."""

    def scored(self, decision: Decision, lasting: Episode | None) -> None:
        """A window was judged; the alarm that lasts now, if one does, as far as it is known."""

    def raised(self, window: Window, episode: Episode) -> dict[str, Any]:
        """It raised an alarm."""
        return {}

    def cleared(self, episode: Episode) -> dict[str, Any]:
        """The alarm is over."""
        return {}

    def left_open(self, episode: Episode) -> dict[str, Any]:
        """Nothing more will be known of the alarm that lasts."""
        return {}

    def settle(self, next_sample: int) -> None:
        """Every window of the stream before `next_sample` is judged."""

    def interrupted(self) -> None:
        """No samples will come for a while: the clips end here, once what has arrived is judged."""

    def ended(self) -> None:
        """What has arrived is judged, and there will be no more of this stream, or with this model."""
