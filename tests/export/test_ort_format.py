"""ORT format: metadata and scores survive it, opset and IR stay."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from dasvdd_export.ort_format import to_ort
from dasvdd_runtime import Scorer
from dasvdd_runtime.errors import ModelError
from dasvdd_runtime.model_files.graph_summary import summarise_graph
from dasvdd_runtime.model_files.inspection import inspect_model
from make_tiny_models import seeded_windows, write_audio
from onnxruntime.tools.ort_format_model.ort_flatbuffers_py.fbs.InferenceSession import InferenceSession

DATA = Path(__file__).parents[1] / "data" / "schema_1.0"


@pytest.fixture(scope="module", params=["audio", "sensor"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A model of each kind, as ONNX and in ORT format under a name that says nothing."""
    source = DATA / f"{request.param}.onnx"
    target = tmp_path_factory.mktemp("ort") / "model"
    target.write_bytes(to_ort(source.read_bytes(), whole_numbers=False))
    return source, target


def test_metadata_and_scores_survive(pair: tuple[Path, Path]) -> None:
    """The Scorer reads the same metadata and scores to fp32 rounding, from the file and from its content."""
    onnx_scorer, ort_scorer = (Scorer(path, provider="cpu") for path in pair)
    assert ort_scorer.metadata == onnx_scorer.metadata
    windows = seeded_windows(ort_scorer.metadata.window_samples, ort_scorer.metadata.channels)
    expected = onnx_scorer.score_windows(windows).score
    np.testing.assert_allclose(ort_scorer.score_windows(windows).score, expected, rtol=1e-5)
    from_content = Scorer(pair[1], provider="cpu", content=pair[1].read_bytes())
    assert from_content.verify_golden() <= 1e-4


def test_graph_is_read_as_onnxruntimes_own_reader_reads_it(pair: tuple[Path, Path]) -> None:
    """IR 8 and opset 18 stay; operators and stored numbers are those that the generated reader finds."""
    content = pair[1].read_bytes()
    found = summarise_graph(content)
    model = InferenceSession.GetRootAs(content, 0).Model()
    graph = model.Graph()
    operators = Counter(graph.Nodes(i).OpType().decode() for i in range(graph.NodesLength()))
    tensors = [graph.Initializers(i) for i in range(graph.InitializersLength())]
    floats = [tensor for tensor in tensors if tensor.DataType() == onnx.TensorProto.FLOAT]
    assert (found.ir_version, found.opsets) == (model.IrVersion(), {"": 18}) == (8, {"": 18})
    assert found.nodes == operators
    assert found.float_values == sum(tensor.RawDataLength() // 4 for tensor in floats)
    assert not found.external_data


def test_inspect_shows_it(pair: tuple[Path, Path]) -> None:
    """`dasvdd-monitor inspect` has nodes and golden windows of it."""
    found = inspect_model(pair[1])
    assert found.golden_fault is None
    assert found.graph.nodes["Gemm"] > 0


def test_damaged_file_is_a_model_error(pair: tuple[Path, Path], tmp_path: Path) -> None:
    """Cut at many lengths, or with a random byte changed: ModelError or a summary, never anything else."""
    content = pair[1].read_bytes()
    for length in range(8, len(content), 97):
        try:
            summarise_graph(content[:length])
        except ModelError as error:
            assert "damaged" in str(error)
    random = np.random.default_rng(0)
    for at, value in zip(random.integers(8, len(content), 500), random.integers(0, 256, 500), strict=True):
        changed = bytearray(content)
        changed[at] = value
        with contextlib.suppress(ModelError):
            summarise_graph(bytes(changed))
    cut = tmp_path / "cut.ort"
    cut.write_bytes(content[: len(content) // 2])
    with pytest.raises(ModelError, match="cannot be opened"):
        Scorer(cut, provider="cpu")


def test_command_writes_int8_in_ort_format_with_joined_products(tmp_path: Path) -> None:
    """--format ort --variant int8: model.int8.ort, whose 8-bit products are single nodes but for the code's."""
    shutil.copy(DATA / "audio.pt", tmp_path / "model.pt")
    write_audio(tmp_path / "normal", files=2, seconds=20, seed=5)
    code = "from dasvdd_export.cli import main; main(prog_name='dasvdd-export')"
    options = ["--calibration", str(tmp_path / "normal"), "--format", "ort", "--variant", "int8", "--max-drop", "1"]
    command = [sys.executable, "-c", code, str(tmp_path / "model.pt"), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = inspect_model(tmp_path / "model.int8.ort")
    assert found.graph.nodes["QGemm"] == 3
    assert found.graph.opsets[""] == 18
    assert found.metadata.variant is not None and found.golden_fault is None
