"""The configurations that are shipped."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
from dasvdd_runtime.config import load_config
from dasvdd_runtime.sources.tables import SourceTable

FOLDER = Path(__file__).parents[2] / "firmware_configs"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.toml")), ids=lambda path: path.name)
def test_shipped_configurations_load_and_are_listed(path: Path) -> None:
    """Every shipped configuration is valid, looks for its model beside itself, and is named in the folder's README."""
    config = load_config(path)
    assert config.models[0].path == FOLDER / "model.onnx"
    assert f"`{path.name}`" in (FOLDER / "README.md").read_text()


def test_there_is_one_for_each_kind_of_source() -> None:
    """Every kind of source has a configuration to start from, and a place in the table of keys."""
    tables = get_args(get_args(SourceTable)[0])
    kinds = {get_args(table.model_fields["kind"].annotation)[0] for table in tables}
    assert {load_config(path).sources[0].kind for path in FOLDER.glob("*.toml")} == kinds
    keys = (FOLDER.parent / "docs" / "monitor.md").read_text()
    assert all(f'`"{kind}"`' in keys for kind in kinds)
