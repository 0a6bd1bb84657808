"""`dasvdd-monitor inspect`: what it says of a file agrees with the onnx package, and its page stands alone."""

from __future__ import annotations

import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from dasvdd_runtime import cli
from dasvdd_runtime.errors import ModelError
from dasvdd_runtime.model_files.curves import LearningCurve, ScoreHistogram
from dasvdd_runtime.model_files.graph_summary import summarise_graph
from onnx import TensorProto, helper

MODELS = sorted((Path(__file__).parents[1] / "data" / "schema_1.0").glob("*.onnx"))


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_the_graph_is_read_as_the_onnx_package_reads_it(path: Path) -> None:
    """IR, opset, nodes by operator and stored numbers of a real export are those that onnx finds."""
    summary = summarise_graph(path.read_bytes())
    model = onnx.load(path)
    operators = [node.op_type for node in model.graph.node]
    assert summary.ir_version == model.ir_version
    assert summary.opsets == {entry.domain: entry.version for entry in model.opset_import}
    assert summary.nodes == {name: operators.count(name) for name in set(operators)}
    floats = [tensor for tensor in model.graph.initializer if tensor.data_type == TensorProto.FLOAT]
    assert summary.float_values == sum(onnx.numpy_helper.to_array(tensor).size for tensor in floats)
    assert not summary.external_data


def test_weights_in_another_file_are_seen(tiny_model: Any) -> None:
    """A tensor that onnx marks as external makes the summary say so."""
    model = onnx.load(tiny_model())
    tensor = model.graph.initializer[3]
    tensor.raw_data = b"\0" * 4
    onnx.external_data_helper.set_external_data(tensor, "weights.bin")
    assert summarise_graph(model.SerializeToString()).external_data


def test_two_operator_sets_are_both_read() -> None:
    """An operator set of another domain stands beside ONNX's own."""
    graph = helper.make_graph([], "empty", [], [])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)])
    assert summarise_graph(model.SerializeToString()).opsets == {"": 18, "ai.onnx.ml": 3}


def test_a_damaged_file_is_a_model_error_or_a_summary_at_every_cut_and_flip() -> None:
    """Cut at every length up to the graph's end, and with random bytes changed: ModelError or a summary, no other."""
    content = MODELS[0].read_bytes()
    random = np.random.default_rng(0)
    flipped = []
    for _ in range(2000):
        changed = bytearray(content[:4000])
        for place in random.integers(0, len(changed), 3):
            changed[place] = random.integers(256)
        flipped.append(bytes(changed))
    errors = 0
    for damaged in [*(content[:length] for length in range(1, 1500)), *flipped]:
        try:
            summarise_graph(damaged)
        except ModelError:
            errors += 1
    assert errors > 2000


def inspect(*arguments: str | Path) -> Any:
    return CliRunner().invoke(cli.main, ["inspect", *map(str, arguments)])


def test_json_has_the_fingerprints_the_threshold_and_the_golden_result(tiny_model: Any) -> None:
    """The file's SHA-256 is that of its bytes; the golden windows themselves are left out."""
    path = tiny_model(threshold=0.25)
    found = json.loads(inspect(path, "--json").stdout)
    assert found["fingerprints"] == {
        "file_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "model": "f" * 64,
        "data": "0" * 64,
    }
    assert found["graph"]["nodes"] == {"Mul": 3, "ReduceMean": 2, "ReduceSum": 1, "Add": 1}
    assert found["golden"]["repeats"] and found["golden"]["windows"] == 3
    assert found["threshold"]["value"] == 0.25
    assert "windows_base64" not in json.dumps(found)


def test_lines_say_how_the_threshold_came_about(tiny_model: Any) -> None:
    """Hours, rate and extrapolation stand beside the threshold."""
    said = inspect(tiny_model()).stdout
    assert "0.1 on the smoothed score, for 1 false alarm a day on 24 h of normal running (extrapolated)" in said


def test_golden_windows_that_do_not_repeat_exit_with_65_and_all_the_rest_is_shown(tiny_model: Any) -> None:
    """The finding is in the lines, in the JSON and in the exit code."""
    golden = tiny_model.metadata().golden
    path = tiny_model(golden=golden.model_copy(update={"scores": [1.0, 2.0, 3.0]}))
    result = inspect(path, "--json")
    assert result.exit_code == 65
    assert not json.loads(result.stdout)["golden"]["repeats"]
    assert "FAIL: golden window" in inspect(path).stdout


class Links(HTMLParser):
    """Collects what a page would load, and whether its elements are closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loads += [str(value) for name, value in attrs if name in ("src", "href") or tag == "script"]
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_stands_alone_and_escapes_what_the_file_says(tiny_model: Any, tmp_path: Path) -> None:
    """A name with markup in it stays text; nothing is loaded; every element is closed."""
    path = tiny_model(name="<script>alert(1)</script>", channel_names=["<img src=x>"])
    page = tmp_path / "card.html"
    assert inspect(path, "--html", page).exit_code == 0
    text = page.read_text(encoding="utf-8")
    parser = Links()
    parser.feed(text)
    assert parser.loads == [] and parser.open == []
    assert "&lt;script&gt;alert(1)" in text
    for heading in ("Intended use", "Limits of use", "Training data"):
        assert f"<h2>{heading}</h2>" in text
    assert re.search(r"fingerprint</dt><dd>0{64}</dd>", text)


def test_the_page_warns_that_the_file_holds_pieces_of_recordings(tiny_model: Any, tmp_path: Path) -> None:
    """The golden windows are real sound, and the card says so."""
    page = tmp_path / "card.html"
    inspect(tiny_model(), "--html", page)
    assert "3 pieces of the recordings" in page.read_text(encoding="utf-8")


def test_no_file_and_a_file_that_is_no_model_have_their_exit_codes(tmp_path: Path) -> None:
    """66 where there is no file, 65 where it is no model."""
    (tmp_path / "x.onnx").write_bytes(b"\x08\x08")
    assert inspect(tmp_path / "none.onnx").exit_code == 66
    assert inspect(tmp_path / "x.onnx").exit_code == 65


def test_the_page_draws_training_and_held_out_scores(tiny_model: Any, tmp_path: Path) -> None:
    """One point an epoch a line, one bar a bin that says its count, and the threshold; nothing is loaded for it."""
    scores = np.random.default_rng(0).gamma(4.0, 0.01, 5000)
    learning = LearningCurve(
        epochs=[1, 2, 5],
        reconstruction_error=[9.0, 3.0, 1.0],
        weighted_center_distance=[4.0, 2.0, 1.0],
        holdout_score=[None, 6.0, 2.5],
    )
    path = tiny_model(learning=learning, held_out_scores=ScoreHistogram.of([scores[:2000], scores[2000:]]))
    page = tmp_path / "card.html"
    assert inspect(path, "--html", page).exit_code == 0
    text = page.read_text(encoding="utf-8")
    points = [len(line.split()) for line in re.findall(r'<polyline points="([^"]*)"', text)]
    assert points == [3, 3, 2]
    counted = [int(count) for count in re.findall(r"<title>(\d+) windows from", text)]
    assert counted == np.histogram(scores, 40)[0].tolist()
    assert "threshold 0.1<" in text
    parser = Links()
    parser.feed(text)
    assert parser.loads == [] and parser.open == []


def test_the_page_says_where_a_file_holds_no_curves(tmp_path: Path) -> None:
    """A file that was written before they were kept."""
    page = tmp_path / "card.html"
    assert inspect(MODELS[0], "--html", page).exit_code == 0
    assert page.read_text(encoding="utf-8").count("The file says nothing of it") == 2


@pytest.mark.parametrize("scores", [[2.0], [0.0, 0.0], [1e9, 1e9], [1.0, float("nan")]])
def test_scores_that_are_all_equal_have_a_histogram(scores: list[float]) -> None:
    """Also one score, zeros, large ones and beside a NaN."""
    found = ScoreHistogram.of([np.array(scores)])
    assert found is not None
    assert sum(found.counts) == np.isfinite(scores).sum()
    assert ScoreHistogram.of([]) is None
