"""The metadata schema: what a reader accepts, reports and refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from dasvdd_runtime import Scorer, contract
from dasvdd_runtime.errors import ModelError
from pydantic import BaseModel, ValidationError


def raw_metadata(tiny_model: Any, **changes: Any) -> dict[str, str]:
    """The tiny model's properties with `changes` to the JSON object."""
    raw = json.loads(contract.encode(tiny_model.metadata())[contract.METADATA_KEY])
    return {contract.METADATA_KEY: json.dumps(raw | changes)}


def test_what_is_encoded_is_decoded(tiny_model: Any) -> None:
    """A round trip through the file's properties changes nothing and reports nothing."""
    metadata = tiny_model.metadata(channels=2)
    assert contract.decode(contract.encode(metadata)) == (metadata, [])


def test_metadata_survives_the_onnx_file(tiny_model: Any) -> None:
    """The onnx package and onnxruntime read the same metadata from the file."""
    path = tiny_model(sample_rate_hz=8000.0)
    by_onnx = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    assert contract.decode(by_onnx)[0] == Scorer(path).metadata
    assert Scorer(path).metadata.window_seconds == 0.2
    assert Scorer(path).metadata.window_hop_seconds == 0.1


FIELDS = contract.ModelMetadata.model_fields
REQUIRED = sorted(name for name in FIELDS if FIELDS[name].is_required() and name != "schema_version")


@pytest.mark.parametrize("field", REQUIRED)
def test_a_missing_field_is_an_error_that_names_it(tiny_model: Any, field: str) -> None:
    """Every field without a default is needed."""
    raw = json.loads(contract.encode(tiny_model.metadata())[contract.METADATA_KEY])
    del raw[field]
    with pytest.raises(ModelError, match=field):
        contract.decode({contract.METADATA_KEY: json.dumps(raw)})


@pytest.mark.parametrize("field", ["calibration.threshold", "decision.k", "baseline.level_dbfs", "golden.scores"])
def test_a_missing_inner_field_is_an_error_or_has_its_default(tiny_model: Any, field: str) -> None:
    """Inside the tables, too, only a setting with a documented default may be left out."""
    table, inner = field.split(".")
    raw = json.loads(contract.encode(tiny_model.metadata())[contract.METADATA_KEY])
    del raw[table][inner]
    properties = {contract.METADATA_KEY: json.dumps(raw)}
    if field == "decision.k":
        assert contract.decode(properties)[0].decision.k == 3
        return
    with pytest.raises(ModelError, match=field):
        contract.decode(properties)


def test_unknown_fields_of_the_same_major_are_reported_and_ignored(tiny_model: Any, tmp_path: Path) -> None:
    """A file of schema 1.7 with new fields opens, at any depth, and the scorer says which fields it ignored."""
    raw = json.loads(contract.encode(tiny_model.metadata())[contract.METADATA_KEY])
    raw |= {"schema_version": "1.7", "colour": "green"}
    raw["calibration"]["weather"] = "fair"
    graph = tiny_model.graph(kind="audio", channels=1, window_samples=1600)
    path = tiny_model.write(tmp_path / "newer.onnx", graph, {contract.METADATA_KEY: json.dumps(raw)})
    assert sorted(Scorer(path).unknown_fields) == ["calibration.weather", "colour"]


def test_an_unknown_field_that_the_file_requires_is_refused(tiny_model: Any) -> None:
    """`requires` names the field, and the error says to upgrade."""
    with pytest.raises(ModelError, match=r"colour.*Upgrade"):
        contract.decode(raw_metadata(tiny_model, colour="green", requires=["colour"]))


def test_a_required_field_that_is_known_is_no_obstacle(tiny_model: Any) -> None:
    """`requires` may name what this version knows."""
    assert contract.decode(raw_metadata(tiny_model, requires=["gamma"]))[1] == []


@pytest.mark.parametrize("version", ["2.0", "0.9", "10.0", "", None, 1, "one"])
def test_another_major_version_is_refused(tiny_model: Any, version: object) -> None:
    """Only 1.x is read; anything else names both versions."""
    with pytest.raises(ModelError, match=r"1\.x"):
        contract.decode(raw_metadata(tiny_model, schema_version=version))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"sample_rate_hz": 0}, "sample_rate_hz"),
        ({"sample_rate_hz": "fast"}, "sample_rate_hz"),
        ({"kind": "smell"}, "kind"),
        ({"channels": 2}, "channel_names"),
        ({"residual_baseline": []}, "residual_baseline"),
        ({"window_samples": 0}, "window_samples"),
        ({"decision": {"k": 4, "n": 3}}, "decision"),
        ({"gamma": float("inf")}, "gamma"),
    ],
)
def test_values_that_cannot_be_used_are_refused_by_name(tiny_model: Any, changes: dict[str, Any], named: str) -> None:
    """Out of range, of another type, of another length, or not finite: the field is named."""
    with pytest.raises(ModelError, match=named):
        contract.decode(raw_metadata(tiny_model, **changes))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "3", '"text"'])
def test_metadata_that_is_no_json_object_is_refused(text: str) -> None:
    """Damage to the text itself is a ModelError."""
    with pytest.raises(ModelError):
        contract.decode({contract.METADATA_KEY: text})


def test_metadata_cut_at_any_length_is_refused(tiny_model: Any) -> None:
    """The JSON text broken off anywhere is a ModelError."""
    text = contract.encode(tiny_model.metadata(window_samples=16))[contract.METADATA_KEY]
    for length in range(len(text)):
        with pytest.raises(ModelError):
            contract.decode({contract.METADATA_KEY: text[:length]})


def test_golden_windows_keep_their_bits() -> None:
    """Base64 and back returns the very samples, NaN and denormals included."""
    windows = np.array([[[0.1, -1.0, np.nan, 1e-42]]], np.float32)
    golden = contract.GoldenWindows.encode(windows, np.array([1.0]), relative_tolerance=1e-5)
    np.testing.assert_array_equal(golden.windows(), windows)


@pytest.mark.parametrize("change", [{"windows_base64": "AAAA"}, {"windows_base64": "?"}, {"shape": [1, 1, 5]}])
def test_damaged_golden_windows_are_model_errors(change: dict[str, Any]) -> None:
    """Bytes that do not fill the shape, or are no base64, are an error with what to do."""
    golden = contract.GoldenWindows.encode(np.zeros((1, 1, 4), np.float32), np.zeros(1), relative_tolerance=1e-5)
    with pytest.raises(ModelError, match="golden windows"):
        golden.model_copy(update=change).windows()


@pytest.mark.parametrize("form", [contract.GoldenWindows, contract.GoldenSequences])
def test_golden_pieces_without_their_three_dimensions_are_no_metadata(form: type[BaseModel]) -> None:
    """A stream form whose golden sequences had the shape [] ended its model card with a traceback."""
    name = "windows_base64" if form is contract.GoldenWindows else "samples_base64"
    fields = {name: "", "scores": [], "relative_tolerance": 1e-4}
    assert form.model_validate(fields | {"shape": [0, 4, 1]})
    for shape in ([], [4], [1, 1, 2, 2]):
        with pytest.raises(ValidationError, match="shape"):
            form.model_validate(fields | {"shape": shape})
