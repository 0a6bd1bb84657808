"""A table in the format of ODDS that trains in a moment: as PIMA, 768 rows of 8 features, 268 of them outliers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import scipy.io


def write_pima(folder: Path, *, seed: int = 0) -> None:
    """`folder`/odds/pima.mat as scipy writes it; the outliers lie three deviations away in every feature."""
    labels = np.repeat([0, 1], [500, 268])
    rows = np.random.default_rng(seed).normal(3 * labels[:, None], 1, (768, 8))
    (folder / "odds").mkdir(exist_ok=True, parents=True)
    scipy.io.savemat(folder / "odds" / "pima.mat", {"X": rows, "y": labels[:, None]})
