"""Scores of a site's normal running -> its threshold, or why there can be none. Pure: `calibration` decides it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from ..calibration import calibrate
from ..condition.spectrum import UsualSpectrum
from ..contract import ModelMetadata
from ..detector import DecisionSettings
from ..errors import DataError
from ..words import count, long_duration, rate
from .promises import FAR_RATIO, UNPROVEN_RATIO, hours_to_bound, hours_to_promise, is_promised, promised_rate
from .site_threshold import SiteThreshold

CONFIDENCE = 0.95
QUANTILES = (0.05, 0.5, 0.95, 0.99, 1.0)
MOST_NAMED = 8


class CannotPromise(DataError):
    """Too few hours of running for the false-alarm rate that was asked for."""


def seconds_needed(false_alarms_per_day: float) -> float:
    """Seconds of running from which `false_alarms_per_day` can be promised, if no alarm falls into them."""
    return 3600 * hours_to_promise(false_alarms_per_day, confidence=CONFIDENCE)


def require_enough(seconds: float, false_alarms_per_day: float) -> None:
    """Raise CannotPromise if `seconds` of running would be too short even without any alarm in them."""
    if seconds < seconds_needed(false_alarms_per_day):
        best = hours_to_bound(1.0, confidence=CONFIDENCE) * 3600 / seconds / UNPROVEN_RATIO if seconds > 0 else None
        raise _refusal(seconds, false_alarms_per_day, best)


def calibrate_site(
    streams: Sequence[NDArray[np.float64]],
    *,
    seconds: float,
    level_dbfs: tuple[float, float, float] | None = None,
    spectrum: UsualSpectrum | None = None,
    source: str,
    metadata: ModelMetadata,
    settings: DecisionSettings,
    false_alarms_per_day: float,
    now: datetime,
) -> SiteThreshold:
    """The threshold of `source` from its scores, one array [windows] a stretch without a gap.

    `seconds`: of running in which an alarm could have risen; `level_dbfs`: 5th, 50th and 95th percentile of the level;
    `spectrum`: what was usual of it; `settings`: the decision chain in force. Raises CannotPromise where the scores are
    too few for the rate, and as `calibrate`.
    """
    require_enough(seconds, false_alarms_per_day)
    calibration = calibrate(
        streams,
        settings=settings,
        window_hop_seconds=metadata.window_hop_seconds,
        false_alarms_per_day=false_alarms_per_day,
        confidence=CONFIDENCE,
    )
    if not is_promised(calibration):
        raise _refusal(seconds, false_alarms_per_day, promised_rate(calibration))
    scores = np.concatenate(streams)
    return SiteThreshold(
        source=source,
        model_fingerprint=metadata.model_fingerprint,
        calibrated_at=now.astimezone(UTC).isoformat(timespec="seconds"),
        seconds=seconds,
        decision=settings,
        calibration=calibration,
        level_dbfs=level_dbfs,
        spectrum=spectrum,
        score_quantiles={f"{q:g}": float(np.quantile(scores, q)) for q in QUANTILES},
    )


def needs_a_word(site: SiteThreshold, metadata: ModelMetadata, *, alarms: int) -> bool:
    """Only a person can say whether that machine was healthy: it scored far above training, or it raised `alarms`.

    `alarms`: how many the threshold before raised meanwhile.
    """
    trained = metadata.calibration.usual_score
    return alarms > 0 or (trained > 0 and site.calibration.usual_score > FAR_RATIO * trained)


def doubts(
    site: SiteThreshold, metadata: ModelMetadata, *, alarms: int, alarmed_recordings: Sequence[str] = ()
) -> list[str]:
    """What a person should look at before the new threshold is trusted.

    `alarms`: how many the threshold before raised meanwhile; `alarmed_recordings`: in which recordings, where it heard
    recordings.
    """
    found = []
    usual, trained = site.calibration.usual_score, metadata.calibration.usual_score
    if trained > 0 and not 1 / FAR_RATIO <= usual / trained <= FAR_RATIO:
        found.append(
            f"the scores lie far from training: the usual one is {usual:.3g}, in training {trained:.3g} "
            f"({usual / trained:.2g} times). The threshold follows them, so small faults may be missed. Compare level "
            "and spectrum (dasvdd-monitor check); better, train with recordings of this site."
        )
    if alarms:
        found.append(
            f"the threshold before raised {count(alarms, 'alarm')} in this time"
            f"{f' ({_listed(alarmed_recordings)})' if alarmed_recordings else ''}. With the new one in force what "
            "alarmed there is normal, and such a sound raises no alarm any more. Listen to it first."
        )
    return found


def _listed(names: Sequence[str]) -> str:
    rest = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {count(rest, 'other recording')}" if rest > 0 else "")


def _refusal(seconds: float, false_alarms_per_day: float, promised: float | None) -> CannotPromise:
    needed = seconds_needed(false_alarms_per_day)
    best = "no rate" if promised is None else f"{rate(promised)} (--alarms-per-day {_round_up(promised)})"
    return CannotPromise(
        f"{seconds:.0f} s of running cannot promise {rate(false_alarms_per_day)}: that takes at least {needed:.0f} s "
        f"({long_duration(needed)}) without an alarm, and these promise {best} at best. Run for longer, or ask for "
        "more alarms a day. Nothing was changed."
    )


def _round_up(value: float) -> str:
    """`value` to two digits, and never below it."""
    rounded = float(f"{value:.2g}")
    return f"{rounded if rounded >= value else rounded * 1.1:.2g}"
