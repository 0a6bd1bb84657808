"""Export in fewer bits: each variant with its own threshold and golden windows, and a table of what it costs."""

from __future__ import annotations

import dataclasses
import hashlib
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import onnx
from dasvdd_runtime.calibration import calibrate
from dasvdd_runtime.contract import Variant
from dasvdd_runtime.files import require_writable, write_atomically
from dasvdd_train.evaluation import Separation
from dasvdd_train.features import as_input

from .checked import Checked
from .export import Finished, ParityError, finish, finish_fp32, graph_faults, open_graph
from .held_out import streams_of_variant
from .variant_cost import Cost, Speed, WindowScores, cost, golden_tolerance, score_all, speeds
from .variants import VariantName, fp16_graph, int8_graph

LEAST_TOLERANCE = 2e-3
"""Of golden scores. A last bit moves an int8 feature by a step: 5e-4 of the score was seen. A GPU computes fp16 as it
is, onnxruntime on most CPUs as fp32."""
TOLERANCE_WINDOWS = 64


@dataclass(frozen=True)
class Row:
    """One variant, as the table shows it."""

    name: VariantName
    finished: Finished
    speed: Speed
    separation: Separation | None
    """None where the training kept no labelled windows."""
    cost: Cost | None
    """None for fp32, which the others are compared with."""
    path: Path | None
    """Where it was written; None if it was not."""
    refusal: str | None
    """Why it was not written although it was asked for."""
    failed: bool
    """It costs more than allowed."""


def export_variants(
    checked: Checked,
    outs: Mapping[VariantName, Path],
    *,
    max_drop: float,
    even_if_slower: bool,
    provider: Literal["cpu", "cuda"],
    threads: int = 1,
    instead: Path | None = None,
) -> list[Row]:
    """Measure fp32 and the variants of `outs`, and write each to its path unless it costs too much or gains nothing.

    A variant is not written where the share of windows that change sides, or 1 - rank correlation, is above
    `max_drop`; nor fp16 where it is no faster on `provider` with `threads`, unless `even_if_slower`. fp32 goes to
    `instead` where none of `outs` was written. Raises ParityError where a graph loses a NaN or contradicts itself.
    """
    for path in [*outs.values(), *([instead] if instead else [])]:
        require_writable(path)
    fp32 = score_all(checked.run, checked.holdout, checked.trained.kind)
    made: dict[VariantName, tuple[Finished, Cost | None, Separation | None]] = {
        "fp32": (finish_fp32(checked), None, fp32.separation())
    }
    for name in outs:
        if name != "fp32":
            made[name] = _make(checked, name, fp32)
    with tempfile.TemporaryDirectory() as folder:
        files = {name: Path(folder) / f"{name}.onnx" for name in made}
        for name, path in files.items():
            path.write_bytes(made[name][0].content)
        speed = speeds({str(name): path for name, path in files.items()}, provider=provider, threads=threads)
    rows = list[Row]()
    for name, (finished, price, separated) in made.items():
        beyond = price.excess(max_drop) if price else None
        slower = speed[name].p50_milliseconds >= speed["fp32"].p50_milliseconds
        refusal = beyond
        if name == "fp16" and slower and not even_if_slower and not beyond:
            refusal = (
                f"on {provider} it takes {speed[name].p50_milliseconds:.2f} ms a window and fp32 "
                f"{speed['fp32'].p50_milliseconds:.2f} ms, so nothing is gained (--even-if-slower writes it)"
            )
        target = outs.get(name) if refusal is None else None
        if target:
            write_atomically(target, finished.content)
        rows.append(Row(name, finished, speed[name], separated, price, target, refusal, beyond is not None))
    if instead and not any(row.path for row in rows):
        fp32_row = next(row for row in rows if row.name == "fp32")
        write_atomically(instead, fp32_row.finished.content)
        rows[rows.index(fp32_row)] = dataclasses.replace(fp32_row, path=instead)
    return rows


def _make(checked: Checked, name: VariantName, fp32: WindowScores) -> tuple[Finished, Cost, Separation | None]:
    trained, holdout = checked.trained, checked.holdout
    graph = _graph(checked, name)
    run = open_graph(graph)
    faults = graph_faults(trained, run, holdout.windows)
    if faults:
        raise ParityError(f"the {name} graph is wrong, so nothing was written:\n  " + "\n  ".join(faults))
    scores = score_all(run, holdout, trained.kind)
    streams = streams_of_variant(holdout, scores.held_out)
    calibration = calibrate(
        streams,
        settings=trained.decision,
        window_hop_seconds=trained.window_hop_seconds,
        false_alarms_per_day=checked.calibration.false_alarms_per_day,
    )
    price = cost(
        scores.joined,
        fp32.joined,
        threshold=calibration.threshold,
        fp32_threshold=checked.calibration.threshold,
    )
    separated, fp32_separated = scores.separation(), fp32.separation()
    variant = Variant(
        name="int8" if name == "int8" else "fp16",
        trained_fingerprint=hashlib.sha256(checked.model_path.read_bytes()).hexdigest(),
        windows=price.windows,
        score_shift_median=price.shift_median,
        score_shift_worst=price.shift_worst,
        rank_correlation=price.rank_correlation,
        flipped_share=price.flipped_share,
        recalibrated_on=len(holdout.windows),
        auc=separated.auc if separated else None,
        partial_auc=separated.partial_auc if separated else None,
        fp32_auc=fp32_separated.auc if fp32_separated else None,
        fp32_partial_auc=fp32_separated.partial_auc if fp32_separated else None,
    )
    tried = as_input(holdout.windows[:TOLERANCE_WINDOWS], trained.kind).numpy()
    finished = finish(
        checked,
        graph,
        calibration,
        held_out_scores=streams,
        variant=variant,
        golden_tolerance=golden_tolerance(run, tried, LEAST_TOLERANCE),
    )
    return finished, price, separated


def _graph(checked: Checked, name: VariantName) -> onnx.ModelProto:
    if name == "fp16":
        return fp16_graph(checked.graph)
    return int8_graph(checked.graph, as_input(checked.holdout.windows, checked.trained.kind).numpy())
