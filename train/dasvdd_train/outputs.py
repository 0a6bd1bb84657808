"""What a run leaves behind: model.pt, holdout.npz, report.html, metrics.jsonl, config.toml."""

from __future__ import annotations

import dataclasses
import json
import platform
import tempfile
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import tomli_w
from dasvdd_runtime import __version__
from dasvdd_runtime.files import write_atomically

from .config import TrainConfig
from .diagnosis import Doubt
from .evaluation import Evaluation, ScoredStream
from .holdout import Holdout, save_holdout
from .inspection import Inspection
from .metrics import EpochMetrics
from .model_file import TrainedModel, save_model
from .report import ReportData, write_report

METRICS_NAME = "metrics.jsonl"
OUTPUT_NAMES = ("model.pt", "holdout.npz", "report.html", METRICS_NAME, "config.toml")


class MetricsLog:
    """A JSON line an epoch, there as soon as the epoch is over."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def start(self, history: Sequence[EpochMetrics]) -> None:
        """The lines of `history`, in place of what was there."""
        write_atomically(self._path, "".join(map(_line, history)).encode())

    def append(self, metrics: EpochMetrics) -> None:
        """One more line."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(_line(metrics))


def _line(metrics: EpochMetrics) -> str:
    return json.dumps(dataclasses.asdict(metrics)) + "\n"


def write_outputs(
    out: Path,
    trained: TrainedModel,
    *,
    history: Sequence[EpochMetrics],
    streams: Sequence[ScoredStream],
    residual_by_role: dict[str, list[float]],
    holdout: Holdout | None,
    evaluation: Evaluation | None,
    warnings: Sequence[Doubt],
    notes: Sequence[str],
    inspection: Inspection,
    held_out_seconds: float,
) -> list[Path]:
    """Write every file into `out`, in place of those of an earlier run, once all of them could be written.

    Until then those of the earlier run stay as they are: a folder never holds some files of each.
    """
    report = ReportData(
        name=trained.name,
        kind=trained.kind,
        warnings=list(warnings),
        notes=list(notes),
        inspection=inspection,
        held_out_seconds=held_out_seconds,
        sample_rate_hz=trained.sample_rate_hz,
        channel_names=trained.channel_names,
        units=trained.units,
        channel=str(trained.config.data.channel),
        with_audio=trained.config.report.audio,
        epochs=list(history),
        streams=list(streams),
        residual_names=trained.model.residual_names,
        residual_noun=trained.model.residual_noun,
        residual_by_role=residual_by_role,
        calibration=trained.calibration,
        decision=trained.decision,
        window_seconds=trained.window_samples / trained.sample_rate_hz,
        window_hop_seconds=trained.window_hop_seconds,
        center=trained.model.center.numpy(),
        evaluation=evaluation,
        settings=trained.config.flat(),
        training=trained.training,
        versions=_versions(),
    )
    with tempfile.TemporaryDirectory(prefix=".unfinished-", dir=out) as folder:
        new = Path(folder)
        MetricsLog(new / METRICS_NAME).start(history)
        write_atomically(new / "config.toml", tomli_w.dumps(_plain(trained.config)).encode())
        if holdout is not None:
            save_holdout(new / "holdout.npz", holdout)
        write_report(new / "report.html", report)
        save_model(new / "model.pt", trained)
        if holdout is None:
            (out / "holdout.npz").unlink(missing_ok=True)  # one of an earlier run would calibrate the wrong model
        written = [name for name in OUTPUT_NAMES if (new / name).exists()]
        for name in written:
            (new / name).replace(out / name)
    return [out / name for name in written]


def _versions() -> dict[str, str]:
    packages = ("torch", "numpy", "scikit-learn", "matplotlib", "soundfile", "soxr")
    return {
        "dasvdd": __version__,
        "Python": platform.python_version(),
        **{package: metadata.version(package) for package in packages},
        "system": f"{platform.system()} {platform.machine()}",
    }


def _plain(config: TrainConfig) -> dict[str, Any]:
    """The settings as TOML tables; TOML has no null, so what is automatic is left out."""
    return {
        section: {key: value for key, value in table.items() if value is not None}
        for section, table in config.model_dump(mode="json").items()
    }
