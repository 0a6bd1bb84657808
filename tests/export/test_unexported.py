"""A model.pt in the place of a model.onnx."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from dasvdd_runtime import cli


@pytest.mark.parametrize(
    "command", [["score", "model.pt", "a.wav"], ["inspect", "model.pt"], ["check", "monitor.toml"]]
)
def test_a_model_that_was_not_exported_is_told_what_it_is(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What torch saved is no damaged ONNX file: exit code 65 and the command that exports it."""
    monkeypatch.chdir(tmp_path)
    torch.save({"weights": torch.zeros(3)}, "model.pt")
    Path("a.wav").touch()
    Path("monitor.toml").write_text(
        '[model]\npath = "model.pt"\n[[source]]\nname = "p"\nkind = "file"\npath = "a.wav"\n'
    )
    done = CliRunner().invoke(cli.main, command)
    assert done.exit_code == 65, done.output
    assert "this is a model.pt" in done.output and "dasvdd-export model.pt" in done.output
