"""Scorer: what a model file says of windows, and what it refuses."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from dasvdd_runtime import Scorer, contract
from dasvdd_runtime.errors import ConfigError, DasvddError, InputMissing, ModelError, Unavailable
from dasvdd_runtime.model_files import opening
from onnx import TensorProto, helper

RANDOM = np.random.default_rng(7)


@pytest.mark.parametrize("kind", ["audio", "sensor"])
@pytest.mark.parametrize("channels", [1, 3])
def test_scores_are_the_graphs(tiny_model: Any, kind: str, channels: int) -> None:
    """All four outputs equal the hand-worked formula, for both layouts of the graph's input."""
    scorer = Scorer(tiny_model(kind=kind, channels=channels), provider="cpu")
    windows = RANDOM.standard_normal((5, 1600, channels)).astype(np.float32)
    scores = scorer.score_windows(windows)
    for name, expected in tiny_model.expected_scores(windows).items():
        found = getattr(scores, name)
        assert found.dtype == np.float64
        np.testing.assert_allclose(found, expected, rtol=1e-5, err_msg=name)
    assert scorer.provider == "CPUExecutionProvider"


def test_batches_do_not_change_scores(tiny_model: Any) -> None:
    """More windows than one run takes score as each does alone."""
    scorer = Scorer(tiny_model())
    windows = RANDOM.standard_normal((150, 1600, 1)).astype(np.float32)
    alone = np.concatenate([scorer.score_windows(window[None]).score for window in windows])
    np.testing.assert_allclose(scorer.score_windows(windows).score, alone, rtol=1e-6)


def test_no_windows_give_empty_scores(tiny_model: Any) -> None:
    """Nothing in, nothing out, with the shapes that the documentation states."""
    scores = Scorer(tiny_model(channels=2)).score_windows(np.empty((0, 1600, 2), np.float32))
    assert scores.score.shape == (0,)
    assert scores.residual.shape == (0, 2)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_non_finite_sample_makes_its_window_nan_and_no_other(tiny_model: Any, bad: float) -> None:
    """One bad sample anywhere makes every output of that window NaN and leaves its neighbours alone."""
    scorer = Scorer(tiny_model())
    windows = RANDOM.standard_normal((3, 1600, 1)).astype(np.float32)
    clean = scorer.score_windows(windows)
    windows[1, -1, 0] = bad
    scores = scorer.score_windows(windows)
    for field in dataclasses.fields(scores):
        values = getattr(scores, field.name)
        assert np.isnan(values[1]).all()
        np.testing.assert_array_equal(values[[0, 2]], getattr(clean, field.name)[[0, 2]])


def test_a_signal_scores_as_its_windows(tiny_model: Any) -> None:
    """score_signal gives one row per whole window, every window hop, and leaves out the tail."""
    scorer = Scorer(tiny_model())
    samples = RANDOM.standard_normal((1600 + 3 * 800 + 799, 1)).astype(np.float32)
    windows = np.stack([samples[start : start + 1600] for start in (0, 800, 1600, 2400)])
    np.testing.assert_array_equal(scorer.score_signal(samples).score, scorer.score_windows(windows).score)
    assert len(scorer.score_signal(samples[:1599]).score) == 0


@pytest.mark.parametrize("shape", [(2, 1600), (2, 1599, 1), (2, 1600, 2), (2, 1, 1600)])
def test_windows_of_another_shape_are_refused_with_both_shapes(tiny_model: Any, shape: tuple[int, ...]) -> None:
    """A wrong shape is a ValueError that names the one given and the one needed."""
    with pytest.raises(ValueError, match=r"1600 samples, 1 channels") as caught:
        Scorer(tiny_model()).score_windows(np.zeros(shape, np.float32))
    assert str(shape) in str(caught.value)


def test_integer_windows_are_refused(tiny_model: Any) -> None:
    """Raw 16-bit samples would score 1e9 times too high, so they are an error, not a conversion."""
    with pytest.raises(ValueError, match="full scale"):
        Scorer(tiny_model()).score_windows(np.zeros((1, 1600, 1), np.int16))  # type: ignore[arg-type]


def test_a_missing_file_is_input_missing(tmp_path: Path) -> None:
    """No file: the path is named and the exit code says that an input is missing."""
    with pytest.raises(InputMissing, match=r"nowhere\.onnx") as caught:
        Scorer(tmp_path / "nowhere.onnx")
    assert caught.value.exit_code == 66


def test_a_folder_is_a_model_error(tmp_path: Path) -> None:
    """A folder in the file's place is named as one."""
    with pytest.raises(ModelError, match="folder"):
        Scorer(tmp_path)


def test_a_model_cut_at_any_length_is_a_model_error(tiny_model: Any, tmp_path: Path) -> None:
    """Every truncation ends in ModelError: near the ends byte by byte, between in steps."""
    whole = tiny_model(window_samples=64, window_hop_samples=64).read_bytes()
    cut = tmp_path / "cut.onnx"
    lengths = {*range(900), *range(900, len(whole) - 200, 41), *range(len(whole) - 200, len(whole))}
    for length in sorted(lengths):
        cut.write_bytes(whole[:length])
        with pytest.raises(ModelError):
            Scorer(cut)


def test_damaged_bytes_never_crash(tiny_model: Any, tmp_path: Path) -> None:
    """A file with bytes overwritten opens and scores, or is a DasvddError: never another exception or a crash."""
    whole = tiny_model(window_samples=64, window_hop_samples=64).read_bytes()
    script = """
import sys
from pathlib import Path
import numpy as np
from dasvdd_runtime import Scorer
from dasvdd_runtime.errors import DasvddError
whole, path, refused = Path(sys.argv[1]).read_bytes(), Path(sys.argv[2]), 0
random = np.random.default_rng(3)
for _ in range(400):
    damaged = bytearray(whole)
    for position in random.integers(0, len(whole), 3):
        damaged[position] = random.integers(0, 256)
    path.write_bytes(damaged)
    try:
        Scorer(path).verify_golden()
    except DasvddError:
        refused += 1
print(refused)
"""
    source = tmp_path / "whole.onnx"
    source.write_bytes(whole)
    # In a process of its own: a crash of onnxruntime would take the test run with it.
    run = subprocess.run(
        [sys.executable, "-c", script, str(source), str(tmp_path / "damaged.onnx")], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    assert int(run.stdout.splitlines()[-1]) > 100


@pytest.mark.parametrize("content", [b"", b"RIFF\x24\x00\x00\x00WAVEfmt ", b"{}", b"\x80\x04\x95pickle"])
def test_files_of_other_kinds_are_model_errors(tmp_path: Path, content: bytes) -> None:
    """An empty file, a WAV, JSON or a pickle in a model's place is refused with what to do."""
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match="export it again"):
        Scorer(path)


def test_an_onnx_file_without_metadata_is_refused(tiny_model: Any, tmp_path: Path) -> None:
    """A graph alone has no threshold and no sample rate: the error says who writes such files."""
    graph = tiny_model.graph(kind="audio", channels=1, window_samples=1600)
    with pytest.raises(ModelError, match="dasvdd-export"):
        Scorer(tiny_model.write(tmp_path / "bare.onnx", graph, {}))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"window_samples": 1000}, "1000"),
        ({"kind": "sensor"}, "window"),
        ({"channels": 2}, r"\[None, 2, 1600\]"),
    ],
)
def test_a_graph_that_contradicts_its_metadata_is_refused(
    tiny_model: Any, tmp_path: Path, changes: dict[str, Any], named: str
) -> None:
    """The input's shape in the graph and in the metadata must be one."""
    graph = tiny_model.graph(kind="audio", channels=1, window_samples=1600)
    properties = contract.encode(tiny_model.metadata(**changes))
    with pytest.raises(ModelError, match=named):
        Scorer(tiny_model.write(tmp_path / "other.onnx", graph, properties))


def test_a_graph_without_an_output_is_refused_by_name(tiny_model: Any, tmp_path: Path) -> None:
    """A graph that lacks one of the four outputs is refused and the output named."""
    graph = tiny_model.graph(kind="audio", channels=1, window_samples=1600)
    del graph.output[2]
    with pytest.raises(ModelError, match="center_distance"):
        Scorer(tiny_model.write(tmp_path / "less.onnx", graph, contract.encode(tiny_model.metadata())))


def test_a_graph_with_a_fixed_batch_is_refused(tiny_model: Any, tmp_path: Path) -> None:
    """The contract's batch is dynamic; a frozen one would fail at the second batch size."""
    graph = tiny_model.graph(kind="audio", channels=1, window_samples=1600)
    graph.input[0].CopyFrom(helper.make_tensor_value_info("window", TensorProto.FLOAT, [1, 1, 1600]))
    with pytest.raises(ModelError, match=r"\[1, 1, 1600\]"):
        Scorer(tiny_model.write(tmp_path / "frozen.onnx", graph, contract.encode(tiny_model.metadata())))


def test_golden_windows_repeat(tiny_model: Any) -> None:
    """A sound file on a sound machine repeats its golden scores to fp32 rounding."""
    assert Scorer(tiny_model()).verify_golden() < 1e-5


@pytest.mark.parametrize("factor", [1.001, float("nan")])
def test_changed_arithmetic_fails_the_golden_windows(tiny_model: Any, tmp_path: Path, factor: float) -> None:
    """A weight that changed in the file (a flipped bit, NaN) is found and both scores named."""
    path = tiny_model()
    model = onnx.load(path)
    scale = helper.make_tensor("scale", TensorProto.FLOAT, [], [factor])
    model.graph.initializer.append(scale)
    model.graph.node[-1].output[0] = "unscaled"
    model.graph.node.append(helper.make_node("Mul", ["unscaled", "scale"], ["score"]))
    onnx.save(model, path)
    with pytest.raises(ModelError, match=r"golden window \d of 3"):
        Scorer(path).verify_golden()


def test_the_golden_window_that_is_named_is_the_one_whose_difference_is(tiny_model: Any) -> None:
    """The error names the window that is relatively furthest off, also beside a louder one that is off by more."""
    noise = np.random.default_rng(0).standard_normal((1, 1, 1600)).astype(np.float32)
    windows = np.concatenate([noise, 1e-3 * noise])
    loud, quiet = Scorer(tiny_model()).score_windows(windows.swapaxes(1, 2)).score
    assert 0.1 * loud > 2 * quiet
    golden = contract.GoldenWindows.encode(windows, np.array([1.1 * loud, 3 * quiet]), relative_tolerance=1e-4)
    with pytest.raises(ModelError, match=r"golden window 2 of 2 .*relative difference 0\.67"):
        Scorer(tiny_model(golden=golden)).verify_golden()


def test_golden_windows_of_another_shape_are_refused(tiny_model: Any) -> None:
    """Golden windows that do not fit the graph, or none, are an error and not a silent pass."""
    three = np.zeros((3, 1, 1600), np.float32)
    for windows in (three[:, :, :800], three[:0]):
        golden = contract.GoldenWindows.encode(windows, np.zeros(len(windows)), relative_tolerance=1e-4)
        with pytest.raises(ModelError, match="golden windows"):
            Scorer(tiny_model(golden=golden)).verify_golden()


@pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="this onnxruntime has the CUDA provider"
)
def test_cuda_is_strict_and_auto_falls_back(tiny_model: Any) -> None:
    """Without CUDA in onnxruntime, 'cuda' is Unavailable with the pip command and 'auto' says that it took the CPU."""
    path = tiny_model()
    with pytest.raises(Unavailable, match=r"pip install 'dasvdd\[gpu\]'") as caught:
        Scorer(path, provider="cuda")
    assert onnxruntime.__version__ in str(caught.value)
    assert Scorer(path, provider="auto").provider == "CPUExecutionProvider"


class OnnxruntimeWithoutCudaLibraries:
    """onnxruntime-gpu on a machine without CUDA: it lists the provider and gives a session on the CPU."""

    __version__ = "1.99"
    SessionOptions = onnxruntime.SessionOptions

    @staticmethod
    def get_available_providers() -> list[str]:
        return ["CUDAExecutionProvider", "CPUExecutionProvider"]

    @staticmethod
    def InferenceSession(path: str, **settings: Any) -> Any:
        # The real one: it does not know CUDA here, and falls back without an error.
        return onnxruntime.InferenceSession(path, **settings)


@pytest.mark.filterwarnings("ignore:Specified provider 'CUDAExecutionProvider' is not in available:UserWarning")
def test_cuda_that_is_listed_but_not_obtained_is_unavailable(
    tiny_model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CUDA built in but not to be had: an error for 'cuda', the CPU for 'auto', and ModelError for a damaged file."""
    monkeypatch.setattr(opening, "import_onnxruntime", lambda: OnnxruntimeWithoutCudaLibraries)
    path = tiny_model()
    with pytest.raises(Unavailable, match="cannot be had"):
        Scorer(path, provider="cuda")
    assert Scorer(path, provider="auto").provider == "CPUExecutionProvider"
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(path.read_bytes()[:500])
    for provider in ("cuda", "auto"):
        with pytest.raises(ModelError):
            Scorer(damaged, provider=provider)  # type: ignore[arg-type]


def test_both_onnxruntime_packages_at_once_are_named(
    tiny_model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With both distributions installed, an error and a log line name them with their versions and the pip command."""
    for name, version in (("onnxruntime", "1.32.0"), ("onnxruntime-gpu", "1.31.0")):
        folder = tmp_path / "site" / f"{name.replace('-', '_')}-{version}.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    assert opening.conflicting_packages() is None
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    assert Scorer(tiny_model(), provider="auto").provider == "CPUExecutionProvider"
    with pytest.raises(Unavailable, match="pip uninstall -y onnxruntime onnxruntime-gpu"):
        Scorer(tiny_model(), provider="cuda")
    assert "onnxruntime 1.32.0 and onnxruntime-gpu 1.31.0 are both installed" in caplog.text


def test_no_onnxruntime_is_one_clear_line(tiny_model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without onnxruntime the error is the pip command."""
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(Unavailable, match=r"pip install 'dasvdd\[cpu\]'"):
        Scorer(tiny_model())


def test_telemetry_is_off_before_onnxruntime_is_imported(tiny_model: Any, tmp_path: Path) -> None:
    """In a fresh process the environment says so, and nothing is written under the home folder."""
    home = tmp_path / "home"
    home.mkdir()
    script = """
import os, sys
from dasvdd_runtime import Scorer
assert "onnxruntime" not in sys.modules
Scorer(sys.argv[1])
print(os.environ["ORT_DISABLE_TELEMETRY"])
"""
    run = subprocess.run(
        [sys.executable, "-c", script, str(tiny_model())],
        capture_output=True,
        text=True,
        env={"HOME": str(home), "PATH": ""},
    )
    assert run.stdout.strip() == "1", run.stderr
    assert list(home.iterdir()) == []


@pytest.mark.parametrize(("provider", "threads"), [("tpu", 1), ("cpu", 0)])
def test_impossible_settings_are_refused(tiny_model: Any, provider: Any, threads: int) -> None:
    """An unknown provider or no thread at all is refused by name."""
    with pytest.raises((ValueError, ConfigError), match=r"provider|threads"):
        Scorer(tiny_model(), provider=provider, threads=threads)


def test_a_failing_run_is_a_dasvdd_error(tiny_model: Any) -> None:
    """A graph that cannot compute what its shapes promise fails with one message, not onnxruntime's exception."""
    path = tiny_model(channels=2)
    model = onnx.load(path)
    model.graph.initializer.append(helper.make_tensor("ninth", TensorProto.INT64, [], [8]))
    model.graph.node[-1].input[0] = "band"
    model.graph.node.insert(6, helper.make_node("Gather", ["residual", "ninth"], ["band"], axis=1))
    onnx.save(model, path)
    scorer = Scorer(path)
    with pytest.raises(DasvddError, match="5 windows"):
        scorer.score_windows(np.zeros((5, 1600, 2), np.float32))
