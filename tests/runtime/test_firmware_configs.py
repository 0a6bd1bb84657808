"""The configurations that are shipped."""

from __future__ import annotations

from pathlib import Path

import pytest
from dasvdd_runtime.config import load_config

FOLDER = Path(__file__).parents[2] / "firmware_configs"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.toml")), ids=lambda path: path.name)
def test_shipped_configurations_load_and_are_listed(path: Path) -> None:
    """Every shipped configuration is valid, looks for its model beside itself, and is named in the folder's README."""
    config = load_config(path)
    assert config.models[0].path == FOLDER / "model.onnx"
    assert f"`{path.name}`" in (FOLDER / "README.md").read_text()


def test_there_is_one_for_each_kind_of_source() -> None:
    """A microphone, a sensor and a replay each have a configuration to start from."""
    kinds = {load_config(path).sources[0].kind for path in FOLDER.glob("*.toml")}
    assert kinds == {"microphone", "stdin", "file"}
