"""Figures as people read them."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """A duration: '45 s', '3 min 20 s', '2 h 5 min'."""
    if seconds < 59.5:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"
