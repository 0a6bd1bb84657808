"""The stream form: the plain form's scores, whatever the front end, hop by hop; refused where it cannot be had."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from click.testing import CliRunner
from dasvdd_export import stream_export
from dasvdd_export.cli import main
from dasvdd_export.export import ParityError, export
from dasvdd_export.fused import export_stream_form
from dasvdd_export.stream_form import StreamForm
from dasvdd_runtime.contract import decode
from dasvdd_runtime.errors import DasvddError
from dasvdd_runtime.model_files.opening import open_session
from dasvdd_runtime.stream_scorer import StreamScorer
from dasvdd_train.features import as_input
from untrained_models import FRONT_ENDS, untrained


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tiny_run: Callable[..., Path]) -> Path:
    """A tiny audio model with both forms."""
    folder = tiny_run("audio", tmp_path_factory.mktemp("streamed"))
    export(folder / "model.pt", folder / "model.onnx", calibration_data=None, false_alarms_per_day=None, stream=True)
    return folder


@pytest.mark.parametrize("name", FRONT_ENDS)
@pytest.mark.parametrize("hop_frames", [1, 4, 7, 29])
def test_every_front_end_scores_hop_by_hop_what_torch_scores_of_whole_windows(name: str, hop_frames: int) -> None:
    """Whatever the share of the overlap, each window's score in torch, from its own samples alone, is met to 1e-5."""
    trained = untrained(*FRONT_ENDS[name])
    window = trained.window_samples
    hop = hop_frames * window // 30
    form = StreamForm(trained.model, window_samples=window, window_hop_samples=hop)
    steps = -(-window // hop) + 6
    samples = 0.05 * np.random.default_rng(1).standard_normal((2, steps * hop, trained.channels)).astype(np.float32)
    state, found = torch.zeros(2, form.state_size), []
    for number in range(steps):
        piece = as_input(samples[:, number * hop : (number + 1) * hop], trained.kind)
        score, error, distance, residual, state = form(piece, state)
        found.append((score, error, distance, residual))
    for number in range(steps - 6, steps):
        end = (number + 1) * hop
        expected = trained.model(as_input(samples[:, end - window : end], trained.kind))
        for ours, plain in zip(found[number], expected, strict=True):
            np.testing.assert_allclose(ours, plain, rtol=1e-5, atol=1e-5 * float(expected[0].max()))


@pytest.mark.parametrize("name", ["hop 1/4", "stacked rows", "log spectrum"])
def test_graph_is_what_devices_run(name: str, tmp_path: Path) -> None:
    """The exported graph repeats torch on two rows at once, with the shapes that the contract names."""
    trained = untrained(*FRONT_ENDS[name])
    hop = trained.window_samples // 5
    form = StreamForm(trained.model, window_samples=trained.window_samples, window_hop_samples=hop)
    shape = (trained.channels, hop) if trained.kind == "audio" else (hop, trained.channels)
    graph = export_stream_form(form, shape)
    assert {node.op_type for node in graph.graph.node} & {"STFT", "DFT", "Pad", "Loop", "If", "ReduceMax"} == set()
    (tmp_path / "g.onnx").write_bytes(graph.SerializeToString())
    session = open_session(tmp_path / "g.onnx", provider="cpu", threads=1).session
    samples, state = torch.randn(2, *shape) * 0.05, torch.rand(2, form.state_size)
    found = session.run(None, {"samples": samples.numpy(), "state": state.numpy()})
    for ours, expected in zip(found, form(samples, state), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-4)


def test_nan_is_in_the_windows_that_hold_it_and_forgotten_after(run: Path) -> None:
    """A NaN or an infinite sample makes exactly its windows not finite, and leaves no trace in later scores."""
    scorer = StreamScorer(run / "model.stream.onnx", provider="cpu")
    m = scorer.metadata
    window, hop = m.window_samples, m.window_hop_samples
    clean = np.tile(m.stream.golden.samples()[:1], (1, 3, 1)) if m.stream else np.empty(0)
    expected = scorer.score_sequences(clean).score
    starts = np.arange(len(expected)) * hop
    for bad in (np.nan, np.inf):
        for place in (0, window - 1, window, window + hop // 2):
            broken = clean.copy()
            broken[0, place] = bad
            found = scorer.score_sequences(broken).score
            holds = (starts <= place) & (place < starts + window)
            assert (np.isfinite(found) == ~holds).all()
            np.testing.assert_array_equal(found[~holds], expected[~holds])


def test_file_says_what_it_is(run: Path) -> None:
    """Fingerprint and threshold of the plain form; golden sequences in the place of windows; older readers refuse."""
    plain, stream = (
        decode({p.key: p.value for p in onnx.load(run / name).metadata_props})[0]
        for name in ("model.onnx", "model.stream.onnx")
    )
    assert plain.stream is None and plain.requires == []
    assert stream.stream is not None and stream.requires == ["stream"]
    assert (stream.model_fingerprint, stream.calibration) == (plain.model_fingerprint, plain.calibration)
    assert stream.golden.scores == []
    assert all(len(scores) == 5 for scores in stream.stream.golden.scores)


def test_disagreement_writes_neither_form(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream form that counts one feature vector too few is found out, and no file appears."""

    class OneTooFew(StreamForm):
        def __init__(self, *arguments: Any, **sizes: Any) -> None:
            super().__init__(*arguments, **sizes)
            self.vectors -= 1

    monkeypatch.setattr(stream_export, "StreamForm", OneTooFew)
    with pytest.raises(DasvddError, match=r"golden|disagree"):
        export(run / "model.pt", tmp_path / "m.onnx", calibration_data=None, false_alarms_per_day=None, stream=True)
    assert list(tmp_path.iterdir()) == []


def test_scores_off_by_more_than_1e5_are_found(run: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """2e-5 off is within the golden tolerance of a device, and still no export."""
    whole = StreamForm.forward

    def off(self: StreamForm, samples: torch.Tensor, state: torch.Tensor) -> tuple[torch.Tensor, ...]:
        score, *rest = whole(self, samples, state)
        return score * (1 + 2e-5), *rest

    monkeypatch.setattr(StreamForm, "forward", off)
    with pytest.raises(ParityError, match=r"stream form and the plain form disagree.*\n  held-out windows"):
        export(run / "model.pt", tmp_path / "m.onnx", calibration_data=None, false_alarms_per_day=None, stream=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("window_frames", "hop_samples", "said"),
    [(30, 500, "hop of 500 samples is no whole number of frame hops of 512"), (30, 30 * 512, "do not overlap")],
)
def test_windows_that_share_no_frames_are_refused(window_frames: int, hop_samples: int, said: str) -> None:
    """With both numbers, and what to do."""
    model = untrained(*FRONT_ENDS["mono"]).model
    with pytest.raises(DasvddError, match=said):
        StreamForm(model, window_samples=window_frames * 512, window_hop_samples=hop_samples)


@pytest.mark.parametrize("option", [["--variant", "int8"], ["--all"], ["--for", "raspberry-pi-5"]])
def test_variants_have_no_stream_form(option: list[str], run: Path) -> None:
    """The command says so before it begins."""
    result = CliRunner().invoke(main, [str(run / "model.pt"), "--stream", *option])
    assert result.exit_code == 2
    assert "fp32 form alone" in result.output


def test_ort_format_streams_too(run: Path, tmp_path: Path) -> None:
    """model.stream.ort scores its golden sequences."""
    export(
        run / "model.pt", tmp_path / "m.ort", calibration_data=None, false_alarms_per_day=None,
        file_format="ort", stream=True,
    )  # fmt: skip
    assert StreamScorer(tmp_path / "m.stream.ort", provider="cpu").verify_golden() < 1e-5
