"""The stream form of a checked model, as a file: compared with the plain form through the code that a device runs."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from dasvdd_runtime.contract import GoldenSequences, GoldenWindows, ModelMetadata, StreamInfo, encode
from dasvdd_runtime.golden import relative_differences
from dasvdd_runtime.scorer import BATCH_WINDOWS, Scores
from dasvdd_runtime.stream_scorer import StreamScorer
from dasvdd_runtime.windows import StreamMemory, Waiting, Window, cut_windows
from dasvdd_train.features import as_input
from dasvdd_train.spacing import evenly_spaced
from numpy.typing import NDArray

from . import parity
from .checked import Checked
from .fused import export_stream_form
from .metadata import GOLDEN_BYTES, GOLDEN_TOLERANCE, GOLDEN_WINDOWS
from .ort_format import to_ort
from .parity import ParityError
from .stream_form import StreamForm

GOLDEN_HOPS = 4
"""After the first window of a golden sequence."""
MOST_HOPS = 255
"""After the first window of a sequence that is compared: the state turns over where a window has no more."""
MOST_WINDOWS = 2048
"""Of one kind of input that are compared."""
TINY = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True)
class StreamFile:
    """A stream form that scores as the plain form does, not written yet."""

    content: bytes
    """The file, in the format asked for."""
    metadata: ModelMetadata
    findings: list[parity.Finding]
    plain_milliseconds: float
    stream_milliseconds: float
    """To score one more window of a stream, by each form, on one thread."""


def make_stream_file(checked: Checked, plain: ModelMetadata) -> StreamFile:
    """The stream form of `checked`, whose plain form has the metadata `plain`.

    Raises DasvddError where the windows do not allow one, and ParityError where it scores otherwise.
    """
    trained = checked.trained
    form = StreamForm(
        trained.model, window_samples=trained.window_samples, window_hop_samples=trained.window_hop_samples
    )
    hop_shape = as_input(np.zeros((1, trained.window_hop_samples, trained.channels), np.float32), trained.kind).shape[
        1:
    ]
    graph = export_stream_form(form, (hop_shape[0], hop_shape[1]))
    metadata = _metadata(checked, plain, form.state_size)
    onnx.helper.set_model_props(graph, encode(metadata))
    content = graph.SerializeToString()
    if checked.file_format == "ort":
        content = to_ort(content, whole_numbers=False)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.stream.onnx"
        path.write_bytes(content)
        scorer = StreamScorer(path, provider="cpu")
    scorer.verify_golden()
    cases = parity.cases(trained, checked.holdout.windows)
    findings = [_compared(checked, scorer, *case) for case in cases]
    faults = [finding.fault for finding in findings if not finding.agrees]
    faults += list(_nan_faults(checked, scorer))
    if faults:
        raise ParityError(
            "the stream form and the plain form disagree, so nothing was written:\n  " + "\n  ".join(faults) + "\n"
            "If torch, onnx and onnxruntime are the versions of constraints.txt, please report this with the model; "
            "without --stream the plain form is written."
        )
    return StreamFile(content, metadata, findings, *_milliseconds(checked, scorer))


def _metadata(checked: Checked, plain: ModelMetadata, state_size: int) -> ModelMetadata:
    """That of the plain form, with golden sequences in the place of golden windows."""
    trained = checked.trained
    samples = trained.window_samples + GOLDEN_HOPS * trained.window_hop_samples
    windows = checked.holdout.windows
    chosen = evenly_spaced(len(windows), GOLDEN_WINDOWS, GOLDEN_BYTES // (4 * samples * trained.channels))
    golden = _end_to_end(windows, chosen, samples)
    info = StreamInfo(
        state_size=state_size,
        golden=GoldenSequences.encode(
            golden, _by_plain_form(checked, golden).score.reshape(len(golden), -1), relative_tolerance=GOLDEN_TOLERANCE
        ),
    )
    no_windows = GoldenWindows.encode(
        plain.golden.windows()[:0], np.empty(0), relative_tolerance=plain.golden.relative_tolerance
    )
    return plain.model_copy(update={"requires": ["stream"], "stream": info, "golden": no_windows})


def _end_to_end(windows: NDArray[np.float32], chosen: NDArray[np.int64], samples: int) -> NDArray[np.float32]:
    """Stretches [chosen, samples, channels] of `windows` laid end to end, each from a `chosen` one on."""
    count = -(-samples // windows.shape[1])
    following = (chosen[:, None] + np.arange(count)) % len(windows)
    return windows[following].reshape(len(chosen), -1, windows.shape[2])[:, :samples]


def _by_plain_form(checked: Checked, sequences: NDArray[np.float32]) -> Scores:
    """Scores of all windows of `sequences`, one sequence after the other, by the plain form's graph."""
    trained = checked.trained
    windows = np.concatenate(
        [
            cut_windows(samples, window_samples=trained.window_samples, hop_samples=trained.window_hop_samples)
            for samples in sequences
        ]
    )
    parts = [
        checked.run(as_input(windows[start : start + BATCH_WINDOWS], trained.kind).numpy())
        for start in range(0, len(windows), BATCH_WINDOWS)
    ]
    return Scores(**{name: np.concatenate([part[name] for part in parts]) for name in parts[0]})


def _compared(
    checked: Checked, scorer: StreamScorer, name: str, windows: NDArray[np.float32], usual_limit: float
) -> parity.Finding:
    """Both forms on `windows` [windows, samples, channels] laid end to end: score, and residuals as parts of it.

    The limit is 1e-5, or what the plain form was allowed against torch beyond the `usual_limit`, where fp32 knows less.
    """
    trained = checked.trained
    hops = min(MOST_HOPS, -(-trained.window_samples // trained.window_hop_samples))
    chosen = evenly_spaced(len(windows), MOST_WINDOWS // (hops + 1))
    sequences = _end_to_end(windows, chosen, trained.window_samples + hops * trained.window_hop_samples)
    expected, found = _by_plain_form(checked, sequences), scorer.score_sequences(sequences)
    residuals = np.abs(found.residual - expected.residual).max(axis=1) / np.maximum(expected.score, TINY)
    differences = np.maximum(relative_differences(found.score, expected.score), residuals)
    of_plain_form = next(finding.limit for finding in checked.findings if finding.name == name)
    features = trained.model.bands * trained.model.stacked_frames
    limit = of_plain_form if of_plain_form > usual_limit else parity.STRICT
    limits = np.maximum(limit, parity.rounding_limit(expected.score, features))
    worst = int(np.argmax(differences / limits))
    return parity.Finding(name, len(differences), float(differences[worst]), float(limits[worst]))


def _nan_faults(checked: Checked, scorer: StreamScorer) -> Iterator[str]:
    """A NaN that a window lost, or that another window remembers."""
    trained = checked.trained
    window, hop = trained.window_samples, trained.window_hop_samples
    hops = min(MOST_HOPS, 2 * -(-window // hop))
    clean = _end_to_end(checked.holdout.windows, np.array([0]), window + hops * hop)
    first_samples = np.arange(hops + 1) * hop
    places = sorted({0, window // 2, window - 1, window, window + hop - 1})
    for channel in range(trained.channels):
        sequences = clean.repeat(len(places), axis=0)
        for row, place in enumerate(places):
            sequences[row, place, channel] = np.nan
        lost = np.isnan(scorer.score_sequences(sequences).score.reshape(len(places), -1))
        for row, place in enumerate(places):
            if (lost[row] != ((first_samples <= place) & (place < first_samples + window))).any():
                yield f"a NaN in sample {place} of channel {channel} is not in the scores of just the windows with it"


def _milliseconds(checked: Checked, scorer: StreamScorer) -> tuple[float, float]:
    """Median time of one more window by the plain and by the stream form, in turns."""
    trained, memory = checked.trained, StreamMemory()
    window = np.zeros((trained.window_samples, trained.channels), np.float32)
    whole = as_input(window[None], trained.kind).numpy()
    times: list[tuple[float, float]] = []
    for turn in range(1 + parity.LATENCY_TURNS):
        waiting = [Waiting(Window(turn * trained.window_hop_samples, window), memory)]
        begin = time.perf_counter()
        checked.run(whole)
        between = time.perf_counter()
        scorer.score(waiting)
        times.append((between - begin, time.perf_counter() - between))
    plain, stream = np.median(times[1:], axis=0)  # the first goes through the whole window
    return 1000 * float(plain), 1000 * float(stream)
