"""Settings: defaults, file, assignments, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from dasvdd_runtime.errors import ConfigError
from dasvdd_train.config import TrainConfig, load_config, parse_assignment


def test_defaults_are_the_papers() -> None:
    """Section 4.3: batch 200, 300 epochs, Adam 1e-3, weight decay 1e-7, kappa 0.9, T = 10."""
    training = TrainConfig().training
    assert (training.batch_rows, training.epochs, training.kappa) == (200, 300, 0.9)
    assert (training.learning_rate, training.weight_decay, training.gamma_initialisations) == (1e-3, 1e-7, 10)
    assert training.gamma is None


def test_assignments_beat_the_file_and_the_file_beats_defaults(tmp_path: Path) -> None:
    """Defaults, then the TOML file, then --set."""
    path = tmp_path / "config.toml"
    path.write_text("[training]\nepochs = 7\nseed = 3\n[network]\nwidths = [32, 16]\n")
    config = load_config(path, dict([parse_assignment("training.epochs=9")]))
    assert (config.training.epochs, config.training.seed, config.network.widths) == (9, 3, (32, 16))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("training.epochs=9", ("training.epochs", 9)),
        ("network.widths=[8, 4]", ("network.widths", [8, 4])),
        ("data.holdout=none", ("data.holdout", "none")),
        ('data.channel="1"', ("data.channel", "1")),
        ("data.strict=true", ("data.strict", True)),
    ],
)
def test_assignment_values_are_toml_or_text(text: str, expected: tuple[str, object]) -> None:
    """A value is read as TOML, and as text where it is none."""
    assert parse_assignment(text) == expected


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("training.epoch", 3, "unknown key 'training.epoch'. Did you mean 'epochs'?"),
        ("trainin.epochs", 3, "Did you mean 'training'?"),
        ("decision.smoothing", 3, "Did you mean 'smoothing_seconds'?"),
        ("training.kappa", 1.0, "training.kappa: must be below 1 (given: 1.0)"),
        ("decision.k", 7, "k = 7 of n = 5"),
        ("epochs", 7, "not of the form section.key"),
        ("data.holdout", "tails", "'tail', 'recordings' or 'none'"),
    ],
)
def test_wrong_settings_are_refused(key: str, value: object, message: str) -> None:
    """An unknown key names the nearest known one; a value out of range is shown."""
    with pytest.raises(ConfigError) as caught:
        load_config(None, {key: value})
    assert message in str(caught.value)


def test_broken_files_are_refused(tmp_path: Path) -> None:
    """A file that is missing, cut or no TOML gives one clear error."""
    with pytest.raises(ConfigError, match="no such file"):
        load_config(tmp_path / "none.toml", {})
    path = tmp_path / "config.toml"
    path.write_text("[training\nepochs = 7")
    with pytest.raises(ConfigError, match="line 1"):
        load_config(path, {})
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not a readable TOML"):
        load_config(path, {})


def test_the_monitors_configuration_is_known_and_many_faults_are_a_few_lines(tmp_path: Path) -> None:
    """A monitor.toml is named as such; of forty unknown keys eight are told, a line each, and how many more."""
    path = tmp_path / "monitor.toml"
    path.write_text('[model]\npath = "model.onnx"\n[[source]]\nname = "a"\nkind = "microphone"\n')
    with pytest.raises(ConfigError, match=r"configures dasvdd-monitor.*config\.toml of an earlier run") as caught:
        load_config(path, {})
    assert "\n" not in str(caught.value)
    path.write_text("[training]\n" + "".join(f"wrong_{i} = 1\n" for i in range(40)))
    with pytest.raises(ConfigError) as caught:
        load_config(path, {})
    *lines, last = str(caught.value).splitlines()
    assert len(lines) == 8 and all("unknown key 'training.wrong_" in line for line in lines)
    assert last.strip() == "and 32 more"


def test_every_setting_is_documented() -> None:
    """docs/training.md has a row for every setting, and none for one that is not there."""
    lines = (Path(__file__).parents[2] / "docs" / "training.md").read_text().splitlines()
    names = [line.split("`")[1] for line in lines if line.startswith("| `")]
    documented = [name for name in names if "." in name]
    assert documented == list(TrainConfig().flat())
