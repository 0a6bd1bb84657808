"""Figures as PNG, drawn without a display."""

from __future__ import annotations

import io
from pathlib import Path

from dasvdd_runtime.files import write_atomically
from matplotlib.axes import Axes
from matplotlib.figure import Figure

OURS = "#1f5fa8"
PAPER = "#d9822b"
GREY = "#777777"


def figure(*, width: float = 7.0, height: float = 4.0) -> Figure:
    """An empty figure of `width` x `height` inches."""
    return Figure(figsize=(width, height), layout="constrained")


def here_and_paper(axes: Axes, *, paper: str | None = "paper") -> None:
    """A legend beside `axes` for OURS and PAPER; None: no figure of the paper is shown."""
    axes.plot([], [], "o", color=OURS, label="here\n(± deviation)")
    if paper is not None:
        axes.plot([], [], "s", color=PAPER, label=paper)
    legend_beside(axes)


def legend_beside(axes: Axes) -> None:
    """A legend to the right, where it hides nothing."""
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))


def write_png(path: Path, drawing: Figure) -> Path:
    """`drawing` as a PNG at `path`, whole or not at all; the same drawing gives the same bytes."""
    buffer = io.BytesIO()
    drawing.savefig(buffer, format="png", dpi=120, metadata={"Software": None})
    write_atomically(path, buffer.getvalue())
    return path
