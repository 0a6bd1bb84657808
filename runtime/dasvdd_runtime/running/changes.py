"""Parts of a running monitor that change together: prepared one by one, then all done, or all dropped."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass


def _nothing() -> None:
    """Nothing was opened."""


@dataclass(frozen=True)
class Change:
    """One part that changes. Everything that can fail was done before it was made."""

    apply: Callable[[], object]
    """Do it. Does not raise, and takes far less than a source's queue holds."""
    abandon: Callable[[], object] = _nothing
    """Drop what was opened for it: another part cannot be changed."""


def prepared(parts: Iterable[Callable[[], Change | None]]) -> list[Change]:
    """The changes that `parts` prepare, in order. Where one raises, those before it are abandoned."""
    changes: list[Change] = []
    try:
        for prepare in parts:
            change = prepare()
            if change is not None:
                changes.append(change)
    except BaseException:
        for change in reversed(changes):
            change.abandon()
        raise
    return changes
