"""The runtime stands alone: no module of it may load a heavy package, nor another stage of the project."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

import dasvdd_runtime
import pytest
import soundfile
from white_noise import RATE_HZ, noise

FORBIDDEN = ("torch", "onnx", "scipy", "librosa", "dasvdd_train", "dasvdd_export", "dasvdd_fleet")

IMPORT_EVERYTHING = """
import importlib, pkgutil, sys
package = importlib.import_module(sys.argv[1])
names = [module.name for module in pkgutil.walk_packages(package.__path__, package.__name__ + ".")]
for name in names:
    importlib.import_module(name)
import onnxruntime
print(len(names), *(name for name in sys.argv[2:] if name in sys.modules))
"""


def import_everything(package: str, *, search: Path | None = None) -> tuple[int, list[str]]:
    """How many modules `package` has, all imported in a fresh interpreter, and which forbidden ones came along."""
    prelude = f"import sys; sys.path.insert(0, {str(search)!r})\n" if search else ""
    run = subprocess.run(
        [sys.executable, "-c", prelude + IMPORT_EVERYTHING, package, *FORBIDDEN], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    count, *found = run.stdout.split()
    return int(count), found


def test_no_runtime_module_loads_a_forbidden_package() -> None:
    """Every module of the runtime, and onnxruntime itself, leave torch, onnx, scipy and librosa unloaded."""
    count, found = import_everything("dasvdd_runtime")
    files = [path for path in Path(dasvdd_runtime.__file__).parent.rglob("*.py") if path.name != "__main__.py"]
    assert count == len(files) - 1, "the walk must reach every module beside the package's own __init__"
    assert found == []


def test_the_check_can_fail(tmp_path: Path) -> None:
    """A package with one forbidden import, in a nested module, is caught by the same check."""
    inner = tmp_path / "guilty" / "inner"
    inner.mkdir(parents=True)
    (inner.parent / "__init__.py").touch()
    (inner / "__init__.py").touch()
    (inner / "deep.py").write_text("import scipy\n")
    assert import_everything("guilty", search=tmp_path) == (2, ["scipy"])


OPTIONAL = ("sqlite3", "paho", "serial", "pymodbus", "asyncua", "prometheus_client", "cryptography", "sounddevice")


def test_a_monitor_loads_only_what_its_configuration_names(tiny_model: Any, tmp_path: Path) -> None:
    """What reads a file loads the library of no other source, receiver or endpoint; a state directory loads SQLite."""
    tiny_model()
    soundfile.write(tmp_path / "a.wav", noise(1), RATE_HZ)
    config = tmp_path / "monitor.toml"
    for more, expected in (("", []), ('[state]\ndirectory = "state"\n', ["sqlite3"])):
        config.write_text(
            f'[model]\npath = "model.onnx"\n[[source]]\nname = "m"\nkind = "file"\npath = "a.wav"\n{more}'
        )
        script = (
            "import sys\nfrom dasvdd_runtime.cli import main\nmain(sys.argv[1:3], standalone_mode=False)\n"
            "print([name for name in sys.argv[3:] if name in sys.modules])"
        )
        command = [sys.executable, "-c", script, "run", str(config), *OPTIONAL]
        run = subprocess.run(command, capture_output=True, text=True)
        assert run.stdout.splitlines()[-1] == str(expected), run.stderr


def test_the_package_itself_is_light() -> None:
    """Importing dasvdd_runtime and asking for the command line's help loads neither numpy nor onnxruntime."""
    script = """
import sys
from dasvdd_runtime.cli import main
main(["--help"], standalone_mode=False)
print([name for name in ("numpy", "onnxruntime", "sounddevice", "soundfile") if name in sys.modules])
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert run.stdout.splitlines()[-1] == "[]", run.stderr


def imports_of(package: Path) -> dict[str, set[str]]:
    """Of every module in the folder `package`, the others of it that it imports, types and functions included."""
    files = {".".join(path.relative_to(package.parent).with_suffix("").parts): path for path in package.rglob("*.py")}
    files = {name.removesuffix(".__init__"): path for name, path in files.items()}
    found: dict[str, set[str]] = {name: set() for name in files}
    for name, path in files.items():
        inside = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.ImportFrom):
                continue
            above = inside[: len(inside) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            for wanted in (f"{base}.{alias.name}" for alias in node.names):
                found[name] |= {wanted if wanted in files else base} & files.keys() - {name}
    return found


def test_the_runtime_has_no_circle_of_imports(tmp_path: Path) -> None:
    """Each module can be understood after those that it imports; a circle, also of types alone, is caught."""
    list(TopologicalSorter(imports_of(Path(dasvdd_runtime.__file__).parent)).static_order())
    package = tmp_path / "guilty"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "one.py").write_text("from . import two\n")
    (package / "two.py").write_text("def late():\n    from .one import x\n")
    with pytest.raises(CycleError):
        list(TopologicalSorter(imports_of(package)).static_order())
