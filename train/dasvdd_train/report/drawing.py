"""Style, axes and SVG that all figures of the report share. The same input gives the same text."""

from __future__ import annotations

import io
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SVG = "http://www.w3.org/2000/svg"
XLINK = "http://www.w3.org/1999/xlink"
ROLE_LABELS = {"holdout": "held-out healthy", "test_normal": "test, healthy", "test_anomalous": "test, faulty"}
ROLE_COLORS = {"holdout": "#0072b2", "test_normal": "#00785a", "test_anomalous": "#c44e00"}
"""Darkened Okabe-Ito colours: told apart with any colour vision, at least 4.5:1 on white."""
NARROW, WIDE = (5.2, 3.5), (10.4, 3.5)
"""Figure sizes in inches. A narrow one shown at a phone's width has its text at about 10 pixels."""
LONGEST_LABEL = 14
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "dasvdd",
    "font.size": 11,
    "font.family": ["sans-serif"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "legend.frameon": False,
    # A band called "$x^$" is a name, not a formula.
    "text.parse_math": False,
}


@contextmanager
def canvas(inches: tuple[float, float]) -> Iterator[tuple[Figure, Axes]]:
    """A figure of that size and its axes, in the report's style."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=inches, layout="constrained")
        yield figure, figure.add_subplot()


def as_svg(figure: Figure, name: str, description: str) -> str:
    """The figure as an SVG element that scales with the page, its identifiers prefixed with `name`."""
    buffer = io.BytesIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(buffer, format="svg", metadata=nothing)
    root = ET.fromstring(buffer.getvalue())
    for metadata in root.findall(f"{{{SVG}}}metadata"):
        root.remove(metadata)
    for size in ("width", "height"):
        root.attrib.pop(size, None)
    for element in root.iter():
        for key, value in element.attrib.items():
            if key == "id":
                element.set(key, f"{name}-{value}")
            elif key in ("href", f"{{{XLINK}}}href"):
                element.set(key, value.replace("#", f"#{name}-"))
            elif "url(#" in value:
                element.set(key, value.replace("url(#", f"url(#{name}-"))
    root.set("role", "img")
    root.set("aria-label", description)
    ET.register_namespace("", SVG)
    ET.register_namespace("xlink", XLINK)
    return ET.tostring(root, encoding="unicode")


def legend(figure: Figure, *, columns: int) -> None:
    """The legend above the axes."""
    figure.legend(loc="outside upper left", ncols=columns, fontsize=10, handlelength=1.6, columnspacing=1.2)


def logarithmic(axes: Axes, which: Literal["x", "y"], *, nonpositive: Literal["mask", "clip"] = "mask") -> None:
    """A logarithmic axis with plain numbers. Bars, which start at 0, need 'clip'; lines break with 'mask'."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    (axes.set_xscale if which == "x" else axes.set_yscale)("log", nonpositive=nonpositive)
    plain = FuncFormatter(lambda value, _: f"{value:g}")
    axis.set_major_formatter(plain)
    low, high = sorted(axes.get_xlim() if which == "x" else axes.get_ylim())
    # Over two decades or fewer, powers of ten alone may leave one label or none.
    few = low > 0 and np.log10(high / low) < 2.2
    axis.set_minor_formatter(FuncFormatter(_leading_two_or_five) if few else NullFormatter())


def _leading_two_or_five(value: float, _: int) -> str:
    return f"{value:g}" if f"{value:e}"[0] in "25" else ""


def shortened(name: str) -> str:
    """`name`, cut in the middle to LONGEST_LABEL characters: channels often differ at their ends alone."""
    tail = LONGEST_LABEL // 2 - 1
    return name if len(name) <= LONGEST_LABEL else f"{name[: LONGEST_LABEL - 1 - tail]}…{name[-tail:]}"
