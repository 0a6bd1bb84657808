"""Score windows of sound or sensor data with an exported DASVDD model. Needs numpy and onnxruntime, never torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .scorer import Scorer as Scorer
    from .scorer import Scores as Scores

__version__ = "0.1.0"
__all__ = ["Scorer", "Scores", "__version__"]


def __getattr__(name: str) -> Any:
    if name in ("Scorer", "Scores"):  # late: onnxruntime costs 50 MB and half the start time
        from . import scorer

        return getattr(scorer, name)
    raise AttributeError(f"module 'dasvdd_runtime' has no attribute '{name}'")
