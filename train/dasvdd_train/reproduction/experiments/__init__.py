"""The experiments of section 4, one file each: which cells they need, and what they make of the results."""

from __future__ import annotations

from .common import Context, Experiment, Plan
from .convergence import CONVERGENCE
from .extremes import EXTREMES
from .sweeps import GAMMA, KAPPA, LATENT, TRIALS
from .table2 import TABLE_2
from .table3 import TABLE_3

__all__ = ["EXPERIMENTS", "Context", "Experiment", "Plan"]

EXPERIMENTS: dict[str, Experiment] = {
    experiment.name: experiment
    for experiment in (TABLE_2, TABLE_3, GAMMA, TRIALS, KAPPA, LATENT, CONVERGENCE, EXTREMES)
}
"""Name of the command -> experiment."""
