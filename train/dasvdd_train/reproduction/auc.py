"""Area under the ROC curve (section 4.3.1) and means over groups of rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def auc_percent(labels: NDArray[np.bool_], scores: NDArray[np.float64]) -> float:
    """AUC in percent of `scores` [n], higher meaning anomalous, against `labels` [n], True where anomalous."""
    from sklearn.metrics import roc_auc_score

    return 100 * float(roc_auc_score(labels, scores))


def mean_by_group(values: NDArray[np.float64], groups: NDArray[np.int64]) -> NDArray[np.float64]:
    """Mean of `values` [n] over each group, [groups]; `groups` [n] numbers them from 0 without gaps."""
    means: NDArray[np.float64] = np.bincount(groups, weights=values) / np.bincount(groups)
    return means
