"""Providers that another package registers, and a monitor that runs on the one it names or not at all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
from dasvdd_runtime.errors import ConfigError, Unavailable
from dasvdd_runtime.model_files import execution_providers
from dasvdd_runtime.model_files.execution_providers import provider_named
from dasvdd_runtime.model_files.onnxruntime_session import import_onnxruntime
from dasvdd_runtime.scorer import Scorer
from dasvdd_runtime.versions import versions

MODEL = Path(__file__).parents[1] / "data" / "schema_1.0" / "sensor.onnx"
AZURE = "AzureExecutionProvider"


def install(site: Path, name: str, entries: str, source: str) -> None:
    """A distribution of one module, as pip leaves it in site-packages."""
    module = name.replace("-", "_")
    information = site / f"{module}-1.0.dist-info"
    information.mkdir(parents=True)
    (site / f"{module}.py").write_text(source)
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(f"[dasvdd.execution_providers]\n{entries}\n")


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder of packages with a provider that computes on the CPU, one stricter, one that falls back."""
    install(
        tmp_path / "site",
        "acme-providers",
        "acme = acme_providers:ACME\nacme-exact = acme_providers:EXACT\ncloud = acme_providers:CLOUD",
        "from dasvdd_runtime.model_files.execution_providers import ExecutionProvider\n"
        'ACME = ExecutionProvider("CPUExecutionProvider", "onnxruntime", relative_tolerance=0.5)\n'
        'EXACT = ExecutionProvider("CPUExecutionProvider", "onnxruntime", relative_tolerance=1e-15)\n'
        f'CLOUD = ExecutionProvider("{AZURE}", "onnxruntime")\n',
    )
    return tmp_path / "site"


def monitor(site: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """`dasvdd-monitor` in a process of its own that has the packages in `site`."""
    code = "from dasvdd_runtime.cli import main; main(prog_name='dasvdd-monitor')"
    settings = os.environ | {"PYTHONPATH": os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-c", code, *map(str, words)]
    return subprocess.run(command, cwd=site, env=settings, capture_output=True, encoding="utf-8", check=False)


def write_config(site: Path, provider: str) -> Path:
    """A replay of a small recording with the model on `provider`."""
    (site / "still.csv").write_text("x,y,z\n" + "0.1,0.1,1.0\n" * 200)
    path = site / "monitor.toml"
    path.write_text(
        f'[model]\npath = "{MODEL}"\nprovider = "{provider}"\n'
        '[[source]]\nname = "fan"\nkind = "file"\npath = "still.csv"\n'
    )
    return path


def test_a_registered_provider_runs_the_monitor_without_an_edit(site: Path) -> None:
    """`verify`, `score` and `run` take its name, and its tolerance is that of the golden windows."""
    found = json.loads(monitor(site, "verify", MODEL, "--provider", "acme", "--json").stdout)
    assert (found["faults"], found["relative_tolerance"]) == ([], 0.5)
    done = monitor(site, "run", write_config(site, "acme"))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[0])["models"]["model"]["provider"] == "CPUExecutionProvider"
    assert monitor(site, "score", MODEL, "still.csv", "--provider", "acme").returncode == 0


def test_golden_windows_beyond_the_provider_s_tolerance_stop_the_monitor(site: Path) -> None:
    """At load, with the tolerance of the provider in the message and the exit code of a model that cannot be used."""
    done = monitor(site, "run", write_config(site, "acme-exact"))
    assert done.returncode == 65
    assert "allowed 1e-15" in done.stderr


def test_a_monitor_refuses_a_silent_fall_to_the_cpu(site: Path) -> None:
    """onnxruntime's Azure provider gives a session and runs nothing: exit code 69, and nothing is watched."""
    if AZURE not in import_onnxruntime().get_available_providers():
        pytest.skip("this onnxruntime has no Azure provider to fall from")
    done = monitor(site, "run", write_config(site, "cloud"))
    assert done.returncode == 69
    assert f"nothing ran on {AZURE}" in done.stderr and not done.stdout


@pytest.mark.parametrize(
    ("provider", "exit_code", "said"),
    [
        ("openvin", 78, "Did you mean 'openvino'?"),
        ("acne", 78, "acme, acme-exact, cloud"),
        ("openvino", 69, "comes with onnxruntime-openvino: pip uninstall -y onnxruntime && pip install"),
        ("xnnpack", 69, "an onnxruntime built with --use_xnnpack"),
    ],
)
def test_what_is_not_there_is_named_with_what_brings_it(provider: str, exit_code: int, said: str, site: Path) -> None:
    """A misspelt name is a fault of the configuration; a provider that this onnxruntime lacks names its package."""
    done = monitor(site, "run", write_config(site, provider))
    assert (done.returncode, said in done.stderr) == (exit_code, True), done.stderr


def test_a_registration_that_cannot_be_used_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that is not there, an object of another kind, and one name twice; a toolkit's own name stays its own."""
    for name in ("first", "second"):
        entries = (
            f"lost = lost_{name}:X\ntwice = {name}:X\nlost-{name} = nowhere:X\nnumber-{name} = {name}:X\ncpu = {name}:X"
        )
        install(tmp_path / "site", name, entries, "X = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    with pytest.raises(Unavailable, match=r"first 1\.0 registers, cannot be imported"):
        provider_named("lost-first")
    with pytest.raises(Unavailable, match="is a int, not an ExecutionProvider"):
        provider_named("number-first")
    with pytest.raises(ConfigError, match=r"first 1\.0, second 1\.0|second 1\.0, first 1\.0"):
        provider_named("twice")
    assert Scorer(MODEL, provider="cpu").provider == "CPUExecutionProvider"


def test_auto_says_which_it_took(site: Path) -> None:
    """A line of `run` on standard error."""
    done = monitor(site, "run", write_config(site, "auto"))
    assert done.returncode == 0
    assert "provider auto: the CPU scores" in done.stderr


@pytest.mark.parametrize("package", ["onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino"])
def test_the_version_of_every_build_of_onnxruntime_is_told(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Events name the version of onnxruntime whichever of the distributions brought it."""

    def version(name: str) -> str:
        if name != package:
            raise PackageNotFoundError(name)
        return "1.24.1"

    monkeypatch.setattr(execution_providers, "version", version)
    assert versions()["onnxruntime"] == "1.24.1"
