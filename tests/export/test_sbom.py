"""`dasvdd-export --sbom`: a bill of materials that the library's own validator accepts, and that says what is here."""

from __future__ import annotations

import hashlib
import json
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from dasvdd_export.cli import main
from dasvdd_export.sbom import installed_packages, write_sbom
from dasvdd_runtime.scorer import Scorer

MODEL = Path(__file__).parents[1] / "data" / "schema_1.0" / "audio.onnx"


@pytest.fixture
def bill(tmp_path: Path) -> dict[str, Any]:
    """The bill of materials of a released model."""
    shutil.copy(MODEL, tmp_path / "model.onnx")
    path = write_sbom(tmp_path / "model.onnx", Scorer(MODEL, provider="cpu").metadata)
    assert path == tmp_path / "model.cdx.json"
    return dict(json.loads(path.read_text()))


def test_the_validator_of_the_library_accepts_it_strictly(bill: dict[str, Any]) -> None:
    """CycloneDX 1.6, no unknown field; and the validator does refuse a bill with one."""
    validator = JsonStrictValidator(SchemaVersion.V1_6)
    assert validator.validate_str(json.dumps(bill)) is None
    assert validator.validate_str(json.dumps(bill | {"unknown": 1})) is not None


def test_it_names_the_model_its_data_and_the_packages_that_are_installed(bill: dict[str, Any]) -> None:
    """SHA-256 of the file and of model.pt, fingerprint of the data, and the versions that Python itself reports."""
    metadata = Scorer(MODEL, provider="cpu").metadata
    model = bill["metadata"]["component"]
    assert (model["type"], model["name"]) == ("machine-learning-model", "tiny audio")
    assert model["hashes"] == [{"alg": "SHA-256", "content": hashlib.sha256(MODEL.read_bytes()).hexdigest()}]
    parts = {part["name"]: part for part in bill["components"]}
    assert parts["model.pt"]["hashes"][0]["content"] == metadata.model_fingerprint
    data = {entry["name"]: entry["value"] for entry in parts["training recordings"]["properties"]}
    assert data["dasvdd:data_fingerprint"] == metadata.training.data_fingerprint
    for name in ("torch", "onnx", "onnxscript", "onnxruntime", "numpy", "dasvdd"):
        assert parts[name]["version"] == version(name)
        assert parts[name]["purl"].startswith(f"pkg:pypi/{name}@")


def test_every_package_is_reached_from_the_model(bill: dict[str, Any]) -> None:
    """The dependencies lead from the model to each component, so that none is there by chance."""
    needs = {entry["ref"]: entry.get("dependsOn", []) for entry in bill["dependencies"]}
    reached, waiting = set[str](), ["model"]
    while waiting:
        here = waiting.pop()
        if here not in reached:
            reached.add(here)
            waiting += needs[here]
    assert reached == {"model", *(part["bom-ref"] for part in bill["components"])}


def test_no_tool_of_development_is_named(bill: dict[str, Any]) -> None:
    """pytest, ruff and mypy are installed here and have no part in a model."""
    packages, _ = installed_packages()
    assert not {"pytest", "ruff", "mypy", "hypothesis"} & packages.keys()


def test_no_path_of_this_machine_is_in_it(bill: dict[str, Any], tmp_path: Path) -> None:
    """Neither the folder of the model nor that of the environment."""
    text = json.dumps(bill)
    assert str(tmp_path) not in text and str(Path(__file__).parents[2]) not in text


def test_without_the_package_nothing_is_exported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The pip command comes before the work, with exit code 69."""
    monkeypatch.setitem(__import__("sys").modules, "cyclonedx", None)
    result = CliRunner().invoke(main, [str(MODEL.with_suffix(".pt")), "--out", str(tmp_path / "m.onnx"), "--sbom"])
    assert result.exit_code == 69 and "pip install 'dasvdd[sbom]'" in result.output
    assert not list(tmp_path.iterdir())
