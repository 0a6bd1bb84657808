"""One export from end to end: nothing is written unless torch and onnxruntime agree."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from dasvdd_runtime.calibration import Calibration, calibrate
from dasvdd_runtime.contract import ModelMetadata, encode
from dasvdd_runtime.errors import DasvddError, DataError
from dasvdd_runtime.files import require_writable, write_atomically
from dasvdd_runtime.manifest import find_segments
from dasvdd_runtime.onnxruntime_session import import_onnxruntime, open_session
from dasvdd_runtime.scorer import Scorer
from dasvdd_train.corpus import load_corpus
from dasvdd_train.features import Geometry, as_input
from dasvdd_train.holdout import MAX_BYTES, MAX_WINDOWS, Holdout, load_holdout
from dasvdd_train.model_file import TrainedModel, load_model
from dasvdd_train.scoring import sample_windows, score_stretch, score_windows
from numpy.typing import NDArray

from . import parity
from .fused import export_graph
from .metadata import build_metadata, choose_golden

SAME_MODEL = 1e-3
"""Held-out scores of one model differ less than this between machines, which sum in other orders in fp32."""


class ParityError(DasvddError):
    """The graph does not say what the model says; nothing was written."""


@dataclass(frozen=True)
class Outcome:
    """What was measured and written."""

    path: Path
    bytes_written: int
    findings: list[parity.Finding]
    torch_milliseconds: float
    onnxruntime_milliseconds: float
    metadata: ModelMetadata

    @property
    def calibration(self) -> Calibration:
        """The threshold that the file holds, and what it rests on."""
        return self.metadata.calibration


def export(
    model_path: Path, out: Path, *, calibration_data: Path | None, false_alarms_per_day: float | None
) -> Outcome:
    """Export `model_path` to `out`. Raises ParityError with the figures, or the errors of what it reads."""
    require_writable(out)
    trained = load_model(model_path)
    holdout, residual_baseline = _holdout(trained, model_path, calibration_data)
    calibration = _calibration(trained, holdout, recalibrate=calibration_data is not None, target=false_alarms_per_day)
    graph = export_graph(trained)
    with tempfile.TemporaryDirectory() as folder:
        bare = Path(folder) / "graph.onnx"
        bare.write_bytes(graph.SerializeToString())
        run = parity.session_runner(open_session(bare, provider="cpu", threads=1))
        findings = parity.compare(trained, run, holdout.windows)
        _gate(trained, run, holdout.windows, findings, calibration)
        golden = as_input(choose_golden(holdout.windows), trained.kind).numpy()
        metadata = build_metadata(
            trained,
            calibration,
            residual_baseline=residual_baseline,
            golden_windows=golden,
            golden_scores=run(golden)["score"],
            onnxruntime_version=import_onnxruntime().__version__,
            model_path=model_path,
        )
        onnx.helper.set_model_props(graph, encode(metadata))
        content = graph.SerializeToString()
        whole = Path(folder) / "model.onnx"
        whole.write_bytes(content)
        Scorer(whole, provider="cpu").verify_golden()
    torch_ms, onnxruntime_ms = parity.latency_milliseconds(trained, run)
    write_atomically(out, content)
    return Outcome(out, len(content), findings, torch_ms, onnxruntime_ms, metadata)


def _holdout(trained: TrainedModel, model_path: Path, calibration_data: Path | None) -> tuple[Holdout, Sequence[float]]:
    """Held-out windows and scores, and the mean residual per band over them."""
    if calibration_data is not None:
        return _score_recordings(trained, calibration_data)
    path = model_path.with_name("holdout.npz")
    if not path.exists():
        raise DataError(
            f"{path} is not there, so nothing shows that the exported graph scores real windows right, and nothing "
            "calibrates its threshold. Give normal recordings that were not trained on: --calibration DATA"
        )
    holdout = load_holdout(path)
    expected = (trained.window_samples, trained.channels)
    if len(holdout.windows) == 0 or holdout.windows.shape[1:] != expected:
        raise DataError(
            f"{path} holds windows of shape {holdout.windows.shape} where the model takes [windows, {expected[0]}, "
            f"{expected[1]}]: it belongs to another model. Train again, or give --calibration DATA."
        )
    scores, _ = score_windows(trained.model, holdout.windows)
    difference = parity.relative_difference(scores, holdout.window_scores)
    if not difference <= SAME_MODEL:
        raise DataError(
            f"{path}: its windows score otherwise with {model_path.name} than when it was trained (relative difference "
            f"{difference:.2g}, allowed {SAME_MODEL:.0e}): one of the two files is damaged or belongs to another run. "
            "Copy both again, or train again."
        )
    return holdout, trained.residual_baseline


def _score_recordings(trained: TrainedModel, data: Path) -> tuple[Holdout, Sequence[float]]:
    settings = trained.config.data.model_copy(update={"sample_rate_hz": trained.sample_rate_hz, "strict": True})
    segments = [dataclasses.replace(segment, role="holdout") for segment in find_segments(data)]
    corpus = load_corpus(segments, settings)
    same_channels = (
        len(corpus.channel_names) == trained.channels  # their names are numbers, which schema 1.0 counted from 1
        if trained.kind == "audio"
        else corpus.channel_names == trained.channel_names
    )
    if corpus.kind != trained.kind or not same_channels:
        raise DataError(
            f"{data}: {corpus.kind} with the channels {', '.join(corpus.channel_names)}; the model was trained on "
            f"{trained.kind} with {', '.join(trained.channel_names)}"
        )
    sizes = Geometry(trained.window_samples, trained.window_hop_samples, trained.window_samples)
    scored = [score_stretch(trained.model, stretch, sizes, trained.sample_rate_hz) for stretch in corpus.stretches]
    kept = sample_windows(corpus.stretches, sizes, MAX_WINDOWS, MAX_BYTES)
    if not len(kept):
        seconds = trained.window_samples / trained.sample_rate_hz
        raise DataError(f"{data}: every recording is shorter than one window of {seconds:g} s")
    residual = np.concatenate([residuals for _, residuals in scored]).mean(axis=0)
    holdout = Holdout(kept, score_windows(trained.model, kept)[0], [stream.scores for stream, _ in scored])
    return holdout, residual.tolist()


def _calibration(trained: TrainedModel, holdout: Holdout, *, recalibrate: bool, target: float | None) -> Calibration:
    if trained.calibration and not recalibrate and target in (None, trained.calibration.false_alarms_per_day):
        return trained.calibration
    return calibrate(
        holdout.streams,
        settings=trained.decision,
        window_hop_seconds=trained.window_hop_seconds,
        false_alarms_per_day=target or trained.config.alarm.false_alarms_per_day,
    )


def _gate(
    trained: TrainedModel,
    run: parity.Run,
    windows: NDArray[np.float32],
    findings: list[parity.Finding],
    calibration: Calibration,
) -> None:
    """Raise ParityError unless every comparison holds."""
    faults = [
        f"{finding.name}: relative difference {finding.difference:.2g}, allowed {finding.limit:.0e}"
        for finding in findings
        if not finding.agrees
    ]
    faults += parity.nan_findings(trained, run, windows)
    flips = parity.decision_flips(trained, run, windows, calibration.threshold)
    if flips:
        faults.append(f"{flips} of {len(windows)} held-out windows change sides of the threshold")
    inconsistent = parity.inconsistency(run, as_input(windows[:64], trained.kind).numpy(), float(trained.model.gamma))
    if not inconsistent <= parity.STRICT:
        faults.append(f"the outputs contradict each other by {inconsistent:.2g} relative")
    if faults:
        raise ParityError(
            "torch and onnxruntime disagree, so nothing was written:\n  " + "\n  ".join(faults) + "\n"
            "If torch, onnx and onnxruntime are the versions of constraints.txt, please report this with the model."
        )
