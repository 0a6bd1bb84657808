"""The codes in two dimensions: where healthy, held-out and faulty windows lie around the center."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from .drawing import NARROW, ROLE_COLORS, ROLE_LABELS, as_svg, canvas, legend

COLORS = {"train": "#8a8f94", **ROLE_COLORS}
LABELS = {"train": "training", **ROLE_LABELS}
TALL = (NARROW[0], 4.4)


def project(
    codes: Mapping[str, NDArray[np.float32]], center: NDArray[np.float32]
) -> tuple[dict[str, NDArray[np.float64]], NDArray[np.float64], float]:
    """Two principal components of all `codes` (role -> [codes, latent]) together, and of `center` [latent].

    Returns the points [codes, 2] by role, the center [2], and the share of the codes' variance that is shown. Of a
    latent size of 1 the second coordinate is 0.
    """
    joined = np.concatenate(list(codes.values())).astype(np.float64)
    mean = joined.mean(axis=0)
    _, singular, directions = np.linalg.svd(joined - mean, full_matrices=False)
    axes = np.zeros((2, joined.shape[1]))
    axes[: min(2, len(directions))] = directions[:2]
    # The sign of a component is arbitrary; this one makes the picture the same everywhere.
    axes *= np.where(np.take_along_axis(axes, np.abs(axes).argmax(axis=1)[:, None], axis=1) < 0, -1, 1)
    energy = float((singular**2).sum())
    share = float((singular[:2] ** 2).sum()) / energy if energy > 0 else 1.0
    return {role: (part - mean) @ axes.T for role, part in codes.items()}, (center - mean) @ axes.T, share


def latent_figure(codes: Mapping[str, NDArray[np.float32]], center: NDArray[np.float32]) -> tuple[str, float]:
    """The map as SVG, and the share of the codes' variance that it shows."""
    points, middle, share = project(codes, center)
    with canvas(TALL) as (figure, axes):
        for role, at in points.items():
            axes.plot(
                at[:, 0], at[:, 1], ".", color=COLORS[role], markersize=4, alpha=0.6, label=LABELS[role],
                rasterized=True,
            )  # fmt: skip
        axes.plot(*middle, "X", color="black", markeredgecolor="white", markersize=12, label="center c")
        axes.set_xlabel("first principal component")
        axes.set_ylabel("second principal component")
        legend(figure, columns=3)
        described = ", ".join(f"{len(at)} codes of {LABELS[role]}" for role, at in points.items())
        return as_svg(figure, "latent", f"Map of the codes in two dimensions around the center: {described}"), share
