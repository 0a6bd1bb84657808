"""One export from end to end: nothing is written unless torch and onnxruntime agree."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from dasvdd_runtime.calibration import Calibration, calibrate
from dasvdd_runtime.contract import ModelMetadata, Variant, encode
from dasvdd_runtime.files import require_writable, write_atomically
from dasvdd_runtime.model_files.onnxruntime_session import import_onnxruntime
from dasvdd_runtime.model_files.opening import open_session
from dasvdd_runtime.scorer import Scorer
from dasvdd_runtime.stream_scorer import stream_path
from dasvdd_train.features import as_input
from dasvdd_train.holdout import Holdout
from dasvdd_train.model_file import TrainedModel, load_model
from numpy.typing import NDArray

from . import parity
from .checked import Checked, FileFormat
from .fused import export_graph
from .held_out import read_held_out
from .metadata import GOLDEN_TOLERANCE, build_metadata, choose_golden
from .ort_format import to_ort
from .parity import ParityError as ParityError
from .stream_export import StreamFile, make_stream_file


@dataclass(frozen=True)
class Finished:
    """A graph with its metadata, whose golden windows repeat."""

    content: bytes
    """The file, in the format asked for."""
    metadata: ModelMetadata


@dataclass(frozen=True)
class Outcome:
    """What was measured and written."""

    path: Path
    bytes_written: int
    findings: list[parity.Finding]
    torch_milliseconds: float
    onnxruntime_milliseconds: float
    metadata: ModelMetadata
    not_ready: tuple[str, ...]
    """Why dasvdd-train said that this model is not ready; empty where it did not."""
    stream: StreamFile | None
    """The second form, where one was asked for; it was written to `stream_path(path)`."""

    @property
    def calibration(self) -> Calibration:
        """The threshold that the file holds, and what it rests on."""
        return self.metadata.calibration


def export(
    model_path: Path,
    out: Path,
    *,
    calibration_data: Path | None,
    false_alarms_per_day: float | None,
    file_format: FileFormat = "onnx",
    stream: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> Outcome:
    """Export `model_path` to `out`, and with `stream` the stream form beside it; `say` is told of each step.

    Raises ParityError with the figures, DasvddError where there can be no stream form, or the errors of what it reads.
    """
    require_writable(out)
    checked = check(
        model_path,
        calibration_data=calibration_data,
        false_alarms_per_day=false_alarms_per_day,
        file_format=file_format,
        say=say,
    )
    say("writing the metadata, and scoring the golden windows as a device will")
    finished = finish_fp32(checked)
    if stream:
        say("making the stream form")
    second = make_stream_file(checked, finished.metadata) if stream else None
    say("measuring the time for one window")
    torch_ms, onnxruntime_ms = parity.latency_milliseconds(checked.trained, checked.run)
    write_atomically(out, finished.content)
    if second:
        write_atomically(stream_path(out), second.content)
    return Outcome(
        path=out,
        bytes_written=len(finished.content),
        findings=checked.findings,
        torch_milliseconds=torch_ms,
        onnxruntime_milliseconds=onnxruntime_ms,
        metadata=finished.metadata,
        not_ready=checked.trained.not_ready,
        stream=second,
    )


def check(
    model_path: Path,
    *,
    calibration_data: Path | None,
    false_alarms_per_day: float | None,
    file_format: FileFormat = "onnx",
    say: Callable[[str], None] = lambda _: None,
) -> Checked:
    """The fp32 graph of `model_path`, compared with torch; `say` is told of each step. Raises as `export`."""
    trained = load_model(model_path)
    if calibration_data is not None:
        say(f"scoring {calibration_data} for the threshold")
    holdout, residual_baseline = read_held_out(trained, model_path, calibration_data, say=say)
    calibration = _calibration(trained, holdout, recalibrate=calibration_data is not None, target=false_alarms_per_day)
    say("making the ONNX graph")
    graph = export_graph(trained)
    run = open_graph(graph)
    say(f"comparing torch with onnxruntime on {len(holdout.windows)} held-out windows, silence, noise and tones")
    findings = parity.compare(trained, run, holdout.windows)
    _gate(trained, run, holdout.windows, findings, calibration)
    return Checked(model_path, trained, graph, run, holdout, residual_baseline, calibration, findings, file_format)


def open_graph(graph: onnx.ModelProto) -> parity.Run:
    """`graph` in onnxruntime on one thread of the CPU."""
    with tempfile.TemporaryDirectory() as folder:
        bare = Path(folder) / "graph.onnx"
        bare.write_bytes(graph.SerializeToString())
        return parity.session_runner(open_session(bare, provider="cpu", threads=1).session)


def finish_fp32(checked: Checked) -> Finished:
    """The checked graph as it is. Raises as `finish`."""
    return finish(checked, checked.graph, checked.calibration, held_out_scores=checked.holdout.streams)


def finish(
    checked: Checked,
    graph: onnx.ModelProto,
    calibration: Calibration,
    *,
    held_out_scores: Sequence[NDArray[np.float64]],
    variant: Variant | None = None,
    golden_tolerance: float = GOLDEN_TOLERANCE,
) -> Finished:
    """`graph`, the checked one or a variant of it, with its metadata; opened and repeated as on a device.

    `held_out_scores`: what it scores of every held-out stretch, each [windows].

    Raises ModelError where the file does not repeat them.
    """
    golden = as_input(choose_golden(checked.holdout.windows), checked.trained.kind).numpy()
    metadata = build_metadata(
        checked.trained,
        calibration,
        residual_baseline=checked.residual_baseline,
        golden_windows=golden,
        golden_scores=open_graph(graph)(golden)["score"],
        golden_tolerance=golden_tolerance,
        onnxruntime_version=import_onnxruntime().__version__,
        model_path=checked.model_path,
        graph=graph,
        variant=variant,
        held_out_scores=held_out_scores,
    )
    onnx.helper.set_model_props(graph, encode(metadata))
    content = graph.SerializeToString()
    if checked.file_format == "ort":
        content = to_ort(content, whole_numbers=variant is not None and variant.name == "int8")
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "model.onnx"
        whole.write_bytes(content)
        Scorer(whole, provider="cpu").verify_golden()
    return Finished(content, metadata)


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
    faults = [finding.fault for finding in findings if not finding.agrees]
    held_out = findings[0]
    flips = parity.decision_flips(trained, run, windows, calibration.threshold, held_out.limit)
    if flips:
        faults.append(f"{flips} of {len(windows)} held-out windows change sides of the threshold")
    faults += graph_faults(trained, run, windows)
    if faults:
        raise ParityError(
            "torch and onnxruntime disagree, so nothing was written:\n  " + "\n  ".join(faults) + "\n"
            "If torch, onnx and onnxruntime are the versions of constraints.txt, please report this with the model."
        )


def graph_faults(trained: TrainedModel, run: parity.Run, windows: NDArray[np.float32]) -> list[str]:
    """What is wrong with a graph whatever its precision: a NaN that is lost, outputs that contradict each other."""
    faults = parity.nan_findings(trained, run, windows)
    inconsistent = parity.inconsistency(run, as_input(windows[:64], trained.kind).numpy(), float(trained.model.gamma))
    if not inconsistent <= parity.STRICT:
        faults.append(f"the outputs contradict each other by {inconsistent:.2g} relative")
    return faults
