"""Figures and texts as people read them."""

from __future__ import annotations

import pytest
from dasvdd_runtime.words import duration, harmless


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.25, "0.25 s"), (59.4, "59.4 s"), (59.6, "1 min"), (200, "3 min 20 s"), (3599.6, "1 h"), (7500, "2 h 5 min")],
)
def test_duration(seconds: float, expected: str) -> None:
    """Two units at most, and none that rounds up to the next."""
    assert duration(seconds) == expected


def test_a_text_steers_no_terminal() -> None:
    """Escape sequences and other control characters are written out; letters of any language and line feeds stay."""
    assert harmless("\x1b[2J\x9b1m a\rb\n  Lüfter, 風\x00") == "\\x1b[2J\\x9b1m a\\x0db\n  Lüfter, 風\\x00"
