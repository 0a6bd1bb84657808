"""A cell: one model of one method, trained and tested once. Its key says whether it is the same cell."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from .methods import METHODS
from .settings import CellSettings

PROTOCOL = 1
"""Raised when a split, a preprocessing or a score comes to mean something else, so that older results do not count."""


@dataclass(frozen=True)
class Cell:
    """What is run; the same cell may belong to several experiments."""

    dataset: str
    class_name: str
    """The normal class, or 'all'."""
    method: str
    """A key of METHODS."""
    seed: int
    settings: CellSettings
    observed: bool = False
    """True where every iteration is looked at (figs. 3 and 4)."""

    @property
    def used_settings(self) -> dict[str, Any]:
        """The settings that change this method's result."""
        used = METHODS[self.method].settings_used
        return {name: value for name, value in self.settings.model_dump(mode="json").items() if name in used}

    @property
    def key(self) -> str:
        """A hash of all that decides the result, 16 hexadecimal digits."""
        identity = {
            "protocol": PROTOCOL,
            "dataset": self.dataset,
            "class": self.class_name,
            "method": self.method,
            "seed": self.seed,
            "settings": self.used_settings,
            "observed": self.observed,
        }
        version = METHODS[self.method].version
        if version > 1:  # a first version keeps the keys of before there were any
            identity["version"] = version
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]

    def __str__(self) -> str:
        class_name = "" if self.class_name == "all" else f" class {self.class_name}"
        return f"{self.dataset}{class_name} {METHODS[self.method].title} seed {self.seed}"
