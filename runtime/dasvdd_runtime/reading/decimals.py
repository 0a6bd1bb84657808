"""Numbers with a decimal comma, where a tab or a semicolon separates columns. Pure."""

from __future__ import annotations

import math
import re

DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+(?:[eE][+-]?\d+)?")


def with_point(cell: str) -> str:
    """`cell` with a point where it is a number with a decimal comma, else as it is."""
    return cell.replace(",", ".") if DECIMAL_COMMA.fullmatch(cell) else cell


class DecimalMark:
    """Which of point and comma stands before decimals: the first one that comes. Then the other one makes no number.

    A cell '1.452' among others with commas is one thousand and more; read with a point it would be wrong unseen.
    """

    def __init__(self, delimiter: str) -> None:
        """Where columns are separated by a comma, it can only be a point."""
        self.mark = "." if delimiter == "," else ""

    def number(self, cell: str) -> float:
        """The number in `cell`, or NaN."""
        try:
            value = float(with_point(cell))
        except ValueError:
            return math.nan
        mark = next((mark for mark in ".," if mark in cell), "")
        if "_" in cell or (mark and self.mark and mark != self.mark):
            return math.nan
        self.mark = self.mark or mark
        return value
