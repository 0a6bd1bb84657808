"""Is a recording among those of normal running far apart from the others? Pure.

Compared is the logarithm of each recording's 95th percentile of scores with the median of the others': a fault that
fills a twentieth of a recording shows, a door that slams does not. What healthy running varies by is measured on the
others, robustly, so that a second faulty one does not hide the first: within recordings by how far the 95th percentile
lies above the median, between them by the median absolute deviation, which counts for more where they are few.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..words import count

HIGH_QUANTILE = 0.95
SPREADS = 3.0
"""How many times what the others vary by a recording may lie above them; about five standard deviations."""
SPREAD_OF_DEVIATION = 1.4826 * 1.645
"""From a median absolute deviation to what lies between median and 95th percentile, of a normal distribution."""
FEW_RECORDINGS = 3.0
"""The deviation of m recordings counts 1 + FEW_RECORDINGS / m times."""
LEAST_RATIO, LEAST_RATIO_OF_ONE = 1.25, 3.25
"""Fewer times the others is never too much, with many others and with a single one."""


def refuse_apart(scores: Mapping[str, NDArray[np.float64]]) -> None:
    """Raise DataError, with both numbers, where a recording's scores lie far above the others'.

    `scores`: by the recording's name, [windows] each. Recordings without scores, and a lone one, are not compared.
    """
    judged = {name: series for name, series in scores.items() if len(series)}
    if len(judged) < 2:
        return
    names = list(judged)
    high, middle = (
        np.log([max(float(np.quantile(series, q)), 1e-300) for series in judged.values()]) for q in (HIGH_QUANTILE, 0.5)
    )
    found = []
    for index, name in enumerate(names):
        usual = float(np.median(np.delete(high, index)))
        most = usual + _allowed(np.delete(high, index), np.delete(high - middle, index))
        if high[index] > most:
            found.append(
                f"{name}: its scores lie far above those of the other {count(len(names) - 1, 'recording')}: their 95th "
                f"percentile is {np.exp(high[index]):.3g}, the others' {np.exp(usual):.3g}, and up to "
                f"{np.exp(most):.3g} is within what they vary by"
            )
    if found:
        raise DataError(
            "\n  ".join(found) + "\nLearned as normal, that would raise the threshold, and such a sound would be no "
            "alarm. Listen to it. If the machine was not healthy, leave the file out. If it was, it ran in a way that "
            "the others do not show: calibrate with more recordings of that, or listen on site, without --from. "
            "Nothing was changed."
        )


def _allowed(high: NDArray[np.float64], within: NDArray[np.float64]) -> float:
    """By how much, in logarithms, a recording may lie above the median of others. `high`, `within`: [others]."""
    others = len(high)
    deviation = SPREAD_OF_DEVIATION * float(np.median(np.abs(high - np.median(high))))
    least_ratio = LEAST_RATIO + (LEAST_RATIO_OF_ONE - LEAST_RATIO) / others
    return max(
        SPREADS * float(np.median(within)),
        SPREADS * (1 + FEW_RECORDINGS / others) * deviation,
        float(np.log(least_ratio)),
    )
