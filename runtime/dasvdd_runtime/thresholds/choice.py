"""Which threshold judges a source, and why: the configuration's, else that calibrated on site, else the model's own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..calibration import Calibration
from ..condition.spectrum import UsualSpectrum
from ..contract import ModelMetadata
from ..detector import DecisionSettings
from ..errors import DataError
from ..words import count, duration
from ..words import rate as rate_in_words
from .promises import REACH_RATIO, is_promised
from .site_threshold import SiteThreshold, read_site_file

FINGERPRINT_LETTERS = 12


@dataclass(frozen=True)
class ThresholdInForce:
    """The threshold of one source, and why it is that one."""

    value: float
    usual_score: float
    """What the score is in normal running, towards which an alarm clears."""
    origin: Literal["configuration", "site", "model"]
    why: str
    """In words: where it comes from and what it rests on."""
    false_alarms_per_day: float | None
    """What it was calibrated for; None where that does not hold for the decision chain in force."""
    level_dbfs: tuple[float, float, float] | None = None
    """5th, 50th and 95th percentile of the level that it was calibrated at; None: as in training."""
    spectrum: UsualSpectrum | None = None
    """What was usual when it was calibrated, on site or in training; None where that was not noted."""
    site_not_used: str | None = None
    """Why a calibration on site that is there is not used."""
    unpromised: str | None = None
    """Why `false_alarms_per_day` cannot be promised, and what to do."""


def threshold_in_force(
    directory: Path | None, source: str, metadata: ModelMetadata, settings: DecisionSettings, configured: float | None
) -> ThresholdInForce:
    """The threshold of `source`, with what the state directory has for it. Never raises for what is damaged there.

    `settings`: the decision chain in force; `configured`: the threshold of the configuration, if it sets one.
    """
    site, fault = None, None
    if directory is not None:
        try:
            noted = read_site_file(directory, source)
            site = None if noted is None else noted.current
        except DataError as error:
            fault = str(error)
    return choose_threshold(metadata, settings, configured=configured, site=site, fault=fault)


def choose_threshold(
    metadata: ModelMetadata,
    settings: DecisionSettings,
    *,
    configured: float | None,
    site: SiteThreshold | None,
    fault: str | None = None,
) -> ThresholdInForce:
    """The decision itself. Pure. `fault`: what keeps the site's file from being read."""
    own = metadata.calibration
    own_rate = own.false_alarms_per_day if settings == metadata.decision else None
    if configured is not None:
        beaten = None if site is None else "the configuration sets the threshold"
        why = f"the configuration sets it; the model's own is {own.threshold:.5g}"
        return ThresholdInForce(
            configured,
            own.usual_score,
            "configuration",
            why,
            None,
            spectrum=metadata.baseline.spectrum,
            site_not_used=fault or beaten,
        )
    if site is not None and site.model_fingerprint != metadata.model_fingerprint:
        fault = (
            f"it was made with the model {site.model_fingerprint[:FINGERPRINT_LETTERS]}, and now "
            f"{metadata.model_fingerprint[:FINGERPRINT_LETTERS]} judges. Calibrate again (dasvdd-monitor calibrate)"
        )
    if site is None or fault is not None:
        return ThresholdInForce(
            own.threshold,
            own.usual_score,
            "model",
            f"the model's own, {rests_on(own)}",
            own_rate,
            spectrum=metadata.baseline.spectrum,
            site_not_used=fault,
            unpromised=None if own_rate is None else unpromised(own),
        )
    same_chain = settings == site.decision
    why = f"calibrated on site on {site.calibrated_at[:10]}, {rests_on(site.calibration)}"
    if not same_chain:
        why += "; the decision chain has changed since, so that rate no longer holds"
    rate = site.calibration.false_alarms_per_day if same_chain else None
    return ThresholdInForce(
        site.calibration.threshold,
        site.calibration.usual_score,
        "site",
        why,
        rate,
        site.level_dbfs,
        site.spectrum,
        unpromised=None if rate is None else unpromised(site.calibration),
    )


def out_of_reach(threshold: float, calibration: Calibration) -> str:
    """What to say of a configured threshold that `is_out_of_reach`."""
    return (
        f"threshold = {threshold:g} is {threshold / calibration.threshold:.3g} times the model's own "
        f"({calibration.threshold:.5g}); above {REACH_RATIO:g} times hardly any fault alarms. Take it out of "
        "[decision], and where the model's own alarms too often, calibrate on site (dasvdd-monitor calibrate)."
    )


def rests_on(calibration: Calibration) -> str:
    """The rate that a threshold is for and the hours that it rests on, in words."""
    return (
        f"for {count(calibration.false_alarms_per_day, 'false alarm')} a day on "
        f"{duration(3600 * calibration.hours)} of normal running{' (extrapolated)' if calibration.extrapolates else ''}"
    )


def unpromised(calibration: Calibration) -> str | None:
    """Why its rate cannot be promised and what to do, in words; None where it can."""
    if is_promised(calibration):
        return None
    return (
        f"the rate cannot be promised: {rate_in_words(calibration.false_alarms_per_day)} was asked for, and "
        f"{duration(3600 * calibration.hours)} of normal running alone rule out no more than "
        f"{rate_in_words(calibration.episodes_per_day_upper)} ({calibration.confidence:.0%} confidence). Calibrate on "
        "site (dasvdd-monitor calibrate), which listens for as long as the rate needs."
    )
