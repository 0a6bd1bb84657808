"""What a training would read and cost, without training: `dasvdd-train --dry-run`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from dasvdd_runtime.reading.manifest import Role, Segment
from rich.table import Table

from .config import TrainConfig
from .corpus import Stretch, seconds_by_recording
from .data_diagnosis import amount_doubts, share_doubts
from .diagnosis import Doubt
from .features import FeatureVectors, frame_table
from .front_ends import FrontEnd
from .model import DasvddModel
from .prepare import Listener, Prepared, prepare
from .steps import train_to_epoch_end
from .trainer import choose_device, member_for, recipe_for, require_a_batch
from .training_state import initial_state

ROLES: tuple[Role, ...] = ("train", "holdout", "test_normal", "test_anomalous")
TIMED_STEPS = 5
IMPORTS_BYTES = 450 * 2**20
"""What torch and the other libraries take before any data."""
WORKING_BYTES = 150 * 2**20
"""Blocks of samples, batches and activations."""


@dataclass(frozen=True)
class RolePlan:
    """What one role of a machine in a condition would contribute."""

    machine: str
    condition: str
    role: Role
    recordings: int
    seconds: float
    windows: int


@dataclass(frozen=True)
class Plan:
    """What a training would do."""

    roles: list[RolePlan]
    vectors: int
    """Feature vectors to train on."""
    steps: int
    """Steps of gradient descent."""
    training_seconds: float
    """Estimated, on this machine as busy as it is now."""
    memory_bytes: int
    """Estimated peak of resident memory."""
    disk_bytes: int
    """Temporary file with the samples."""
    warnings: list[Doubt]


def plan(segments: Sequence[Segment], config: TrainConfig, *, listener: Listener) -> Plan:
    """Read and judge `segments` as a training would, then estimate the rest. Raises as a training would."""
    choose_device(config.training.device)
    prepared = prepare(segments, config, folder=None, listener=listener)
    front_end = prepared.model.front_end
    frames = [
        max(0, (len(s.samples) - front_end.frame_samples) // front_end.frame_hop_samples + 1)
        for s in prepared.training + prepared.corpus.with_role("holdout")
    ]
    trained = frames[: len(prepared.training)]
    vectors = sum(max(0, count - prepared.model.stacked_frames + 1) for count in trained)
    batch_rows = prepared.config.training.batch_rows
    require_a_batch(vectors, batch_rows)
    steps = prepared.config.training.epochs * (vectors // batch_rows)
    warnings = [*prepared.warnings, *_warnings(prepared, vectors)]
    return Plan(
        roles=_roles(prepared),
        vectors=vectors,
        steps=steps,
        training_seconds=_front_end_seconds(front_end, prepared, sum(frames)) + steps * _step_seconds(prepared),
        memory_bytes=IMPORTS_BYTES + WORKING_BYTES + 4 * sum(frames) * front_end.bands + _network_bytes(prepared.model),
        disk_bytes=4 * sum(len(s.samples) * s.samples.shape[1] for s in prepared.corpus.stretches),
        warnings=warnings,
    )


def role_table(found: Plan) -> Table:
    """The roles of `found`, a row each."""
    table = Table("machine", "condition", "role", "recordings", "seconds", "windows")
    for row in found.roles:
        numbers = (str(row.recordings), f"{row.seconds:.1f}", str(row.windows))
        table.add_row(row.machine or "-", row.condition or "-", row.role.replace("_", " "), *numbers)
    return table


def _roles(prepared: Prepared) -> list[RolePlan]:
    groups: dict[tuple[str, str, Role], list[Stretch]] = {}
    for role in ROLES:
        for stretch in prepared.corpus.with_role(role):
            groups.setdefault((stretch.machine, stretch.condition, role), []).append(stretch)
    return [
        RolePlan(
            machine,
            condition,
            role,
            recordings=len({stretch.name for stretch in stretches}),
            seconds=prepared.corpus.seconds_of(stretches),
            windows=sum(prepared.sizes.windows_in(len(stretch.samples)) for stretch in stretches),
        )
        for (machine, condition, role), stretches in sorted(groups.items())
    ]


def _warnings(prepared: Prepared, vectors: int) -> list[Doubt]:
    seconds = seconds_by_recording(prepared.training, prepared.corpus.sample_rate_hz)
    batch_rows = prepared.config.training.batch_rows
    return share_doubts(seconds) + amount_doubts(
        vectors=vectors, batch_rows=batch_rows, training_seconds=sum(seconds.values())
    )


def _front_end_seconds(front_end: FrontEnd, prepared: Prepared, frames: int) -> float:
    """Time for the features of all `frames`, from that of the longest stretch's beginning."""
    longest = max(prepared.training, key=lambda stretch: len(stretch.samples)).samples
    part = longest.part(0, min(len(longest), front_end.frame_samples + 500 * front_end.frame_hop_samples))
    start = time.perf_counter()
    made = len(frame_table(front_end, [part]).frames)
    return (time.perf_counter() - start) * frames / max(1, made)


def _step_seconds(prepared: Prepared) -> float:
    """Time of one step of Algorithm 1 on random data, the best of a few."""
    model, settings = prepared.model, prepared.config.training
    rows = settings.batch_rows
    frames = torch.randn(rows + model.stacked_frames - 1, model.bands)
    vectors = FeatureVectors(frames, torch.arange(rows), model.stacked_frames)
    member = member_for(vectors, settings.model_copy(update={"gamma": 1.0}))
    recipe = recipe_for(model, settings)
    state = initial_state([member], recipe, choose_device(settings.device))
    best = float("inf")
    for _ in range(TIMED_STEPS):
        start = time.perf_counter()
        train_to_epoch_end(state, recipe)
        best = min(best, time.perf_counter() - start)
    return best


def _network_bytes(model: DasvddModel) -> int:
    """Parameters, their gradients and Adam's two moments, and a copy for the file."""
    return 5 * 4 * sum(parameter.numel() for parameter in model.parameters())
