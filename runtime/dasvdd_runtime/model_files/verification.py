"""Does a model run on a provider, and do its scores hold there?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..errors import DasvddError
from ..stream_scorer import open_scorer, scorer_over
from .execution_providers import provider_named, require_built_in
from .onnxruntime_session import import_onnxruntime
from .placement import Placement, open_profiled


@dataclass(frozen=True)
class Verification:
    """What a run of the golden windows on a provider showed."""

    placement: Placement
    relative_tolerance: float
    golden_difference: float | None
    """Largest relative difference from the stored scores; None where they do not repeat."""
    golden_fault: str | None

    def faults(self, *, allow_cpu: bool) -> list[str]:
        """Why the provider does not hold; empty where it does. `allow_cpu`: some nodes may run on the CPU."""
        return [fault for fault in (self.placement.fault(allow_cpu=allow_cpu), self.golden_fault) if fault is not None]


def verify_provider(path: Path, name: str) -> Verification:
    """Score the golden windows of the model at `path` on the provider `name`, and see where each node ran.

    Raises ConfigError for a name that is not known, Unavailable where this onnxruntime or this machine does not have
    the provider, InputMissing and ModelError as Scorer does.
    """
    provider = provider_named(name)
    open_scorer(path)  # a file that the CPU cannot open either is at fault itself, and not the provider
    onnxruntime = import_onnxruntime()
    require_built_in(onnxruntime, provider)
    session, placement = open_profiled(onnxruntime, path, provider, threads=1)
    scorer = scorer_over(session, path, provider)
    difference, fault = None, None
    try:
        difference = scorer.verify_golden()
    except DasvddError as error:
        fault = str(error)
    return Verification(placement, scorer.golden_tolerance, difference, fault)
