"""Figures as people read them: durations, counts, rates; and text that no terminal obeys."""

from __future__ import annotations

DAY_SECONDS = 86400.0


def duration(seconds: float) -> str:
    """A duration: '45 s', '3 min 20 s', '2 h 5 min'."""
    if seconds < 59.5:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def long_duration(seconds: float) -> str:
    """A duration that may be days: '12.3 s', '3 min 20 s', '2 h 5 min', '3.0 days'."""
    return duration(seconds) if seconds < 2 * DAY_SECONDS else f"{seconds / DAY_SECONDS:.1f} days"


def count(number: float, noun: str) -> str:
    """'1 recording', '3 recordings', '0.5 alarms', '2 stretches', '1234567 windows'."""
    plural = "es" if noun.endswith("ch") else "s"
    shown = f"{number:.0f}" if float(number).is_integer() else f"{number:g}"
    return f"{shown} {noun}{'' if number == 1 else plural}"


def rate(per_day: float) -> str:
    """A rate of events: 'one a day', 'one in 3.0 days', '4 a day', 'one every 4.1 s'."""
    if per_day <= 0:
        return "none"
    if per_day == 1:
        return "one a day"
    if per_day < 1:
        days = 1 / per_day
        return f"one in {days:.1f} days" if days < 100 else f"one in {days / 365.25:.1f} years"
    return f"{per_day:.2g} a day" if per_day <= 24 else f"one every {duration(DAY_SECONDS / per_day)}"


def harmless(text: str) -> str:
    """`text` with its control characters written out, but for line feeds: what a device sent must steer no terminal."""
    return "".join(c if c.isprintable() or c == "\n" else f"\\x{ord(c):02x}" for c in text)
