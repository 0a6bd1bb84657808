"""Passwords and tokens that stand outside the configuration."""

from __future__ import annotations

from pathlib import Path

import pytest
from dasvdd_runtime.configuration.secret import Secret
from dasvdd_runtime.endpoint.guard import Guard
from dasvdd_runtime.errors import ConfigError


@pytest.mark.parametrize("blank", ["", "\n", "  \n", "\t", "\u00a0"], ids=ascii)
def test_blanks_are_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, blank: str) -> None:
    """A file or variable of blanks is refused: a token of them would be shown by every empty `Authorization`."""
    file = tmp_path / "token"
    file.write_text(blank)
    monkeypatch.setenv("TOKEN", blank)
    for secret in (Secret(label="[http] token", file=file, env=""), Secret(label="t", file=None, env="TOKEN")):
        with pytest.raises(ConfigError, match="blank"):
            secret.read()
        with pytest.raises(ConfigError, match="blank"):
            Guard(secret)


def test_a_secret_is_what_stands_in_the_line(tmp_path: Path) -> None:
    """Blanks inside and around it belong to it, the end of the line does not."""
    file = tmp_path / "password"
    file.write_text(" two words \r\n")
    assert Secret(label="password", file=file, env="").read() == " two words "
