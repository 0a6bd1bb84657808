"""`dasvdd-monitor verify`: where nodes really run, and a fall to the CPU that nothing else tells.

The CPU is real here, and so is the fall: onnxruntime's Azure provider takes a session and runs none of its nodes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnx
import pytest
from click.testing import CliRunner, Result
from dasvdd_runtime import cli
from dasvdd_runtime.model_files.execution_providers import PROVIDERS, ExecutionProvider
from dasvdd_runtime.model_files.onnxruntime_session import import_onnxruntime
from dasvdd_runtime.model_files.placement import Node, Placement, read_profile

MODEL = Path(__file__).parents[1] / "data" / "schema_1.0" / "audio.onnx"
AZURE = "AzureExecutionProvider"
CUDA = PROVIDERS["cuda"]


def verify(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli.main, ["verify", *map(str, arguments)])


def test_every_node_of_the_graph_is_found_on_the_cpu() -> None:
    """The networks' and the front end's matrix products are listed where they ran, and the golden windows repeat."""
    result = verify(MODEL, "--json")
    found = json.loads(result.stdout)
    assert result.exit_code == 0 and found["faults"] == []
    assert {node["provider"] for node in found["nodes"]} == {"CPUExecutionProvider"}
    products = [node.op_type for node in onnx.load(MODEL).graph.node if node.op_type in ("Gemm", "MatMul")]
    ran = [node for node in found["nodes"] if node["operator"] in ("Gemm", "FusedGemm", "MatMul")]
    assert len(ran) == len(products)
    assert found["relative_difference"] <= found["relative_tolerance"] == 1e-4


def test_a_provider_is_added_by_one_entry_and_its_silent_fall_to_the_cpu_is_caught(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Azure has the session and the CPU ran all nodes: exit code 1, also with --allow-cpu."""
    if AZURE not in import_onnxruntime().get_available_providers():
        pytest.skip("this onnxruntime has no Azure provider to fall from")
    monkeypatch.setitem(PROVIDERS, "azure", ExecutionProvider(AZURE, "onnxruntime"))
    for options in ([], ["--allow-cpu"]):
        result = verify(MODEL, "--provider", "azure", *options)
        assert result.exit_code == 1
        assert f"nothing ran on {AZURE}" in result.stdout


def test_the_provider_s_own_tolerance_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same golden windows fail a tolerance below their rounding."""
    strict = ExecutionProvider("CPUExecutionProvider", "onnxruntime", relative_tolerance=1e-15)
    monkeypatch.setitem(PROVIDERS, "cpu", strict)
    result = verify(MODEL)
    assert result.exit_code == 1
    assert "allowed 1e-15" in result.stdout


def test_golden_windows_that_differ_fail_and_the_nodes_are_still_listed(tiny_model: Any) -> None:
    """A golden score that does not repeat is a fault beside the list."""
    golden = tiny_model.metadata().golden
    result = verify(tiny_model(golden=golden.model_copy(update={"scores": [1.0, 2.0, 3.0]})))
    assert result.exit_code == 1
    assert "FAIL: golden window" in result.stdout and "ReduceMean" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "exit_code", "said"),
    [
        ([MODEL, "--provider", "cuda"], 69, "onnxruntime-gpu"),
        ([MODEL, "--provider", "cudda"], 78, "Did you mean 'cuda'?"),
        (["none.onnx"], 66, "none.onnx"),
    ],
    ids=["not here", "unknown", "no file"],
)
def test_what_cannot_be_had_has_its_exit_code(arguments: list[str | Path], exit_code: int, said: str) -> None:
    """A provider that this onnxruntime lacks, one that nobody knows, a file that is not there."""
    if "cuda" in arguments and CUDA.onnxruntime_name in import_onnxruntime().get_available_providers():
        pytest.skip("this onnxruntime has CUDA")
    result = verify(*arguments)
    assert result.exit_code == exit_code
    assert said in result.output


def fault(*nodes: Node, allow_cpu: bool = False) -> str | None:
    return Placement(CUDA.onnxruntime_name, list(nodes)).fault(allow_cpu=allow_cpu)


ON_CUDA = Node("gemm", "Gemm", CUDA.onnxruntime_name, False)
SHAPE_ON_CPU = Node("shape", "Shape", "CPUExecutionProvider", True)
LOG_ON_CPU = Node("log", "Log", "CPUExecutionProvider", False)


def test_shapes_may_run_on_the_cpu_and_arithmetic_only_where_that_is_allowed() -> None:
    """Shapes and indexes on the CPU are no fall; one Log is, unless --allow-cpu; none on CUDA always is."""
    assert fault(ON_CUDA, SHAPE_ON_CPU) is None
    assert "1 of 2 nodes with arithmetic ran on CPUExecutionProvider" in str(fault(ON_CUDA, LOG_ON_CPU))
    assert fault(ON_CUDA, LOG_ON_CPU, allow_cpu=True) is None
    assert fault(LOG_ON_CPU, SHAPE_ON_CPU, allow_cpu=True)


def test_a_profile_s_nodes_are_read_once_each_and_whole_numbers_told_apart() -> None:
    """A node that ran for each of two windows is one node."""
    event = {"cat": "Node", "name": "a_kernel_time", "args": {"provider": "P", "op_name": "Shape"}}
    shape = event | {"args": event["args"] | {"output_type_shape": [{"int64": [2]}]}}  # type: ignore[operator]
    mixed = shape | {
        "name": "b_kernel_time",
        "args": event["args"] | {"output_type_shape": [{"int64": []}, {"float": []}]},
    }  # type: ignore[operator]
    nodes = read_profile(json.dumps([{"cat": "Session", "name": "run"}, shape, shape, mixed]))
    assert nodes == [Node("a", "Shape", "P", True), Node("b", "Shape", "P", False)]


def test_no_entry_computes_in_less_than_single_precision() -> None:
    """TF32 and fp16 are off wherever NVIDIA's libraries compute."""
    for name in ("cuda", "tensorrt"):
        assert PROVIDERS[name].environment["NVIDIA_TF32_OVERRIDE"] == "0"
    assert CUDA.options["use_tf32"] == "0"
