"""`model.pt`: tensors and plain data, always read with weights_only=True."""

from __future__ import annotations

import dataclasses
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from dasvdd_runtime.calibration import Calibration
from dasvdd_runtime.condition.levels import Baseline
from dasvdd_runtime.contract import Recentring, TrainingSummary
from dasvdd_runtime.detector import DecisionSettings
from dasvdd_runtime.errors import DasvddError, InputMissing, ModelError
from dasvdd_runtime.files import write_atomically
from dasvdd_runtime.model_files.curves import LearningCurve
from dasvdd_runtime.reading.recording_types import Kind

from .config import TrainConfig
from .front_ends import build_front_end
from .model import DasvddModel
from .untrusted import plain_content, require_front_end_sizes, require_network_sizes, require_plain_archive

FORMAT = "dasvdd model"
SCHEMA_MAJOR = 1
SCHEMA_MINOR = 0


@dataclass(frozen=True)
class TrainedModel:
    """A model and everything that its export writes beside the graph."""

    model: DasvddModel
    """In evaluation mode, on the CPU."""
    config: TrainConfig
    name: str
    sample_rate_hz: float
    channel_names: tuple[str, ...]
    units: tuple[str, ...]
    window_samples: int
    window_hop_samples: int
    residual_baseline: list[float]
    """Mean residual per band over held-out windows (over training windows if nothing was held out)."""
    calibration: Calibration | None
    """None without held-out data."""
    baseline: Baseline
    training: TrainingSummary
    recentred: Recentring | None = None
    """Set where standardisation, center and threshold are not those of the training."""
    not_ready: tuple[str, ...] = ()
    """The training's serious warnings: what to mend before the model is used."""
    learning: LearningCurve | None = None
    """For the model card; None in files that were written before it was kept."""

    @property
    def kind(self) -> Kind:
        """'audio' or 'sensor'."""
        return self.model.kind

    @property
    def channels(self) -> int:
        """Channels of a window."""
        return len(self.channel_names)

    @property
    def decision(self) -> DecisionSettings:
        """The decision chain that the threshold is calibrated with."""
        return self.config.decision

    @property
    def window_hop_seconds(self) -> float:
        """Seconds from one window's start to the next."""
        return self.window_hop_samples / self.sample_rate_hz


def save_model(path: Path, trained: TrainedModel) -> None:
    """Write `trained` to `path`, whole or not at all."""
    model = trained.model
    content = {
        "format": FORMAT,
        "schema_version": f"{SCHEMA_MAJOR}.{SCHEMA_MINOR}",
        "front_end": model.front_end.settings(),
        "stacked_frames": model.stacked_frames,
        "widths": list(model.widths),
        "latent": model.latent,
        "state": model.state_dict(),
        "config": trained.config.model_dump(mode="json"),
        "name": trained.name,
        "sample_rate_hz": trained.sample_rate_hz,
        "channel_names": list(trained.channel_names),
        "units": list(trained.units),
        "window_samples": trained.window_samples,
        "window_hop_samples": trained.window_hop_samples,
        "residual_baseline": trained.residual_baseline,
        "calibration": dataclasses.asdict(trained.calibration) if trained.calibration else None,
        "baseline": dataclasses.asdict(trained.baseline),
        "training": trained.training.model_dump(),
        "recentred": trained.recentred.model_dump() if trained.recentred else None,
        "not_ready": list(trained.not_ready),
        "learning": trained.learning.model_dump() if trained.learning else None,
    }
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_atomically(path, buffer.getvalue())


def load_model(path: Path) -> TrainedModel:
    """Read a model. Raises InputMissing, or ModelError for a file that is damaged or of another major version."""
    if path.is_dir():
        raise InputMissing(f"{path}: this is a folder. Name the model file in it: {path / 'model.pt'}")
    if not path.is_file():
        raise InputMissing(f"{path}: there is no such model file")
    require_plain_archive(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises a dozen kinds for a damaged file
        raise ModelError(
            f"{path} ({path.stat().st_size} bytes): damaged, cut short, or not a model.pt of dasvdd-train. Copy it "
            f"again, or train again. ({type(error).__name__})"
        ) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ModelError(f"{path}: a torch file, but not one that dasvdd-train wrote")
    version = str(content.get("schema_version"))
    if version.split(".")[0] != str(SCHEMA_MAJOR):
        raise ModelError(
            f"{path}: schema version {version}, this program reads {SCHEMA_MAJOR}.x. Install the version that wrote it."
        )
    try:
        return _restore(content)
    except (LookupError, TypeError, ValueError, RuntimeError, ArithmeticError, AttributeError, DasvddError) as error:
        raise ModelError(f"{path}: damaged content ({_first_line(error)}). Train or copy it again.") from error


def _restore(content: dict[str, Any]) -> TrainedModel:
    plain = plain_content(content)
    state = require_network_sizes(plain, content["state"])
    require_front_end_sizes(plain.front_end)
    front_end = build_front_end(plain.front_end)
    if front_end.bands != state["mean"].numel():
        raise ModelError(f"its front end has {front_end.bands} bands, and its state {state['mean'].numel()}")
    model = DasvddModel(front_end, stacked_frames=plain.stacked_frames, widths=tuple(plain.widths), latent=plain.latent)
    model.load_state_dict(state)
    return TrainedModel(
        model=model.eval().requires_grad_(False),
        config=TrainConfig.model_validate(content["config"]),
        name=plain.name,
        sample_rate_hz=plain.sample_rate_hz,
        channel_names=tuple(plain.channel_names),
        units=tuple(plain.units),
        window_samples=plain.window_samples,
        window_hop_samples=plain.window_hop_samples,
        residual_baseline=plain.residual_baseline,
        calibration=plain.calibration,
        baseline=plain.baseline,
        training=plain.training,
        recentred=plain.recentred,
        not_ready=plain.not_ready,
        learning=plain.learning,
    )


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:200]
