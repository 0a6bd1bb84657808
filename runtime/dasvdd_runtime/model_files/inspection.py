"""What a model file is: its metadata, graph, fingerprints and golden windows, for `dasvdd-monitor inspect`."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..contract import ModelMetadata
from ..errors import DasvddError, ModelError
from ..stream_scorer import open_scorer
from ..thresholds.choice import rests_on
from ..words import count, duration
from .graph_summary import summarise_graph
from .onnx_graph import GraphSummary

SCHEMA_VERSION = "1.0"
"""Of the JSON; a new field raises the minor number, a changed one the major number."""


@dataclass(frozen=True)
class Inspection:
    """Everything that is known of one model file."""

    path: Path
    bytes: int
    file_sha256: str
    metadata: ModelMetadata
    unknown_fields: list[str]
    graph: GraphSummary
    inputs: dict[str, str]
    """Type and shape by name."""
    outputs: dict[str, str]
    golden_difference: float | None
    """Largest relative difference from the stored scores; None where they do not repeat."""
    golden_fault: str | None

    def as_json(self) -> dict[str, Any]:
        """For programs. The golden windows themselves are left out."""
        metadata = self.metadata.model_dump(mode="json")
        golden = self.metadata.golden_of_form
        metadata.pop("golden")
        if metadata["stream"] is not None:
            metadata["stream"].pop("golden")
        return {
            "schema": SCHEMA_VERSION,
            "path": str(self.path),
            "bytes": self.bytes,
            "fingerprints": {
                "file_sha256": self.file_sha256,
                "model": self.metadata.model_fingerprint,
                "data": self.metadata.training.data_fingerprint,
            },
            "graph": asdict(self.graph) | {"inputs": self.inputs, "outputs": self.outputs},
            "golden": {
                "windows": golden.windows_count,
                "repeats": self.golden_fault is None,
                "relative_difference": self.golden_difference,
                "relative_tolerance": golden.relative_tolerance,
                "fault": self.golden_fault,
            },
            "threshold": {"value": self.metadata.calibration.threshold, "why": why_this_threshold(self.metadata)},
            "metadata": metadata,
            "unknown_fields": self.unknown_fields,
        }


def inspect_model(path: Path) -> Inspection:
    """Read the file at `path` and score its golden windows on the CPU.

    Raises InputMissing if there is no file, and ModelError if it is damaged or breaks the contract. Golden windows
    that do not repeat are a finding, not an error.
    """
    scorer = open_scorer(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from error
    difference, fault = None, None
    try:
        difference = scorer.verify_golden()
    except DasvddError as error:
        fault = str(error)
    inputs, outputs = scorer.tensors()
    return Inspection(
        path=path,
        bytes=len(content),
        file_sha256=hashlib.sha256(content).hexdigest(),
        metadata=scorer.metadata,
        unknown_fields=scorer.unknown_fields,
        graph=summarise_graph(content),
        inputs=inputs,
        outputs=outputs,
        golden_difference=difference,
        golden_fault=fault,
    )


def why_this_threshold(metadata: ModelMetadata) -> str:
    """How the threshold came about, in a sentence or two."""
    calibration = metadata.calibration
    if calibration.extrapolates:
        how = "Its hours are too few to see that rate, so a fitted tail says where it should lie."
    else:
        how = (
            f"It was counted: with {100 * calibration.confidence:g} % confidence at most "
            f"{calibration.episodes_per_day_upper:.2g} a day."
        )
    return f"{calibration.threshold:.6g} on the smoothed score, {rests_on(calibration)}. {how}"


def _recentred(metadata: ModelMetadata) -> list[tuple[str, str]]:
    """What standardisation, center and threshold rest on where that is not the training data."""
    later = metadata.recentred
    if later is None:
        return []
    rests = f"on {count(later.recordings, 'recording')}, {duration(later.seconds)}"
    return [("recentred", f"{rests}; networks of {later.original_fingerprint}")]


def _form(metadata: ModelMetadata) -> str:
    """Whether it scores windows or follows a stream."""
    if metadata.stream is None:
        return "plain: scores whole windows"
    return (
        f"stream: follows a stream by {metadata.window_hop_seconds:g} s at a time and remembers "
        f"{count(metadata.stream.state_size, 'number')} of it; belongs beside the plain form of the same model.pt"
    )


def _networks(metadata: ModelMetadata) -> str:
    """The networks' precision, and what it cost."""
    cost = metadata.variant
    if cost is None:
        return "fp32, as trained"
    return (
        f"{cost.name}: scores shifted {cost.score_shift_median:+.2%} (median), {cost.score_shift_worst:+.2%} (worst), "
        f"rank correlation {cost.rank_correlation:.4f}; {cost.flipped_share:.2%} of {count(cost.windows, 'window')} on "
        "the other side of the threshold"
    )


def golden_in_words(found: Inspection) -> str:
    """The golden windows' result."""
    golden = found.metadata.golden_of_form
    if found.golden_fault is not None:
        return f"FAIL: {found.golden_fault}"
    sequences = f" in {count(golden.shape[0], 'sequence')}" if found.metadata.stream else ""
    return (
        f"{count(golden.windows_count, 'window')}{sequences} score as at the export, to {found.golden_difference:.1g} "
        f"relative (allowed {golden.relative_tolerance:.1g}), on the CPU"
    )


def facts(found: Inspection) -> dict[str, list[tuple[str, str]]]:
    """What is shown to people: under each heading, names and values."""
    m, graph = found.metadata, found.graph
    decision = m.decision
    return {
        "Model": [
            ("name", m.name),
            ("kind", m.kind),
            ("form", _form(m)),
            ("exported", m.created),
            ("networks", _networks(m)),
            ("made with", ", ".join(f"{name} {version}" for name, version in m.versions.items())),
            ("schema", m.schema_version),
            *([("unknown fields", ", ".join(found.unknown_fields))] if found.unknown_fields else []),
        ],
        "Input": [
            ("sample rate", f"{m.sample_rate_hz:g} Hz"),
            ("channels", ", ".join(f"{n} ({u})" for n, u in zip(m.channel_names, m.units, strict=True))),
            ("window", f"{m.window_seconds:g} s every {m.window_hop_seconds:g} s"),
            ("front end", ", ".join(f"{name} = {value}" for name, value in m.front_end.items())),
        ],
        "Decision": [
            ("threshold", why_this_threshold(m)),
            ("usual score", f"{m.calibration.usual_score:.6g}"),
            ("smoothing", f"{decision.smoothing_seconds:g} s"),
            ("alarm", f"{decision.k} of {decision.n} smoothed scores above the threshold"),
            ("gamma", f"{m.gamma:.6g}"),
        ],
        "Training data": [
            ("recordings", f"{m.training.recordings}, {duration(m.training.seconds)} of healthy running"),
            ("fingerprint", m.training.data_fingerprint),
            *_recentred(m),
        ],
        "Graph": [
            ("opset", ", ".join(f"{d or 'ONNX'} {v}" for d, v in graph.opsets.items()) + f", IR {graph.ir_version}"),
            ("nodes", f"{sum(graph.nodes.values())}: " + ", ".join(f"{n} {op}" for op, n in graph.nodes.items())),
            ("fp32 numbers", f"{graph.float_values:,} stored (weights and the front end's tables)"),
            ("inputs", ", ".join(f"{name} {kind}" for name, kind in found.inputs.items())),
            ("outputs", ", ".join(f"{name} {kind}" for name, kind in found.outputs.items())),
        ],
        "File": [
            ("size", f"{found.bytes:,} bytes"),
            ("SHA-256", found.file_sha256),
            ("of its model.pt", m.trained_fingerprint),
            *([("of this variant", m.model_fingerprint)] if m.variant else []),
            ("golden windows", golden_in_words(found)),
        ],
    }
