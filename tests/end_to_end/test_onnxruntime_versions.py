"""Every form of a model on the oldest onnxruntime and on the newest, each in an environment of its own."""

from __future__ import annotations

import dataclasses
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import score_models
import soundfile
from click.testing import CliRunner
from dasvdd_export import variant_cost
from dasvdd_export.export import check
from dasvdd_export.export_variants import export_variants
from dasvdd_export.parity import STRICT
from dasvdd_export.variants import VARIANTS
from dasvdd_runtime.scorer import Scorer
from dasvdd_train.cli import main as dasvdd_train
from onnxruntime.tools.ort_format_model.ort_flatbuffers_py.fbs.InferenceSession import InferenceSession
from onnxruntime_environments import ROOT, Environment, newest, oldest

pytestmark = pytest.mark.slow

FORMATS = ("onnx", "ort")
FORMS = [f"{variant}.{form}" for form in FORMATS for variant in VARIANTS]
RELEASED = sorted((ROOT / "tests" / "data").glob("schema_*/*.onnx"))
RATE_HZ = 16000


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A model with the default network and front end, in every form that an export can write, by names of FORMS."""
    folder = tmp_path_factory.mktemp("exports")
    (folder / "healthy").mkdir()
    soundfile.write(folder / "healthy" / "hum.wav", hum(seconds=60), RATE_HZ, subtype="PCM_16")
    trained = CliRunner().invoke(dasvdd_train, [f"{folder}/healthy", "--out", f"{folder}/run", "--epochs", "2"])
    assert trained.exit_code == 0, trained.output
    checked = check(folder / "run" / "model.pt", calibration_data=None, false_alarms_per_day=None)
    written = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(variant_cost, "BENCH_ROUNDS", 1)
        patch.setattr(variant_cost, "BENCH_SECONDS", 0.1)
        for form in FORMATS:
            outs = {name: folder / f"{name}.{form}" for name in VARIANTS}
            asked = dataclasses.replace(checked, file_format=form)
            export_variants(asked, outs, max_drop=1.0, even_if_slower=True, provider="cpu")
            written |= {path.name: path for path in outs.values()}
    return written


def hum(*, seconds: float) -> np.ndarray:  # type: ignore[type-arg]  # a test's array
    """A machine's hum that swells and sinks, in noise."""
    time = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    noise = 0.02 * np.random.default_rng(0).standard_normal(len(time))
    return 0.2 * np.sin(2 * np.pi * 440 * time) * (1 + 0.3 * np.sin(time)) + noise


@pytest.fixture(scope="module", params=[oldest, newest], ids=["oldest", "newest"])
def environment(request: pytest.FixtureRequest) -> Environment:
    """An environment, kept in pytest's cache from one run to the next."""
    cache: pytest.Cache = request.config.cache  # type: ignore[assignment]  # None without the cache's plugin
    make: Callable[[Path], Environment] = request.param
    return make(cache.mkdir(f"onnxruntime_{make.__name__}"))


@pytest.fixture(scope="module")
def found(environment: Environment, exports: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What score_models.py says in the environment of all released and exported files."""
    files = [*RELEASED, *exports.values()]
    script = Path(score_models.__file__)
    done = environment.run(script, *files, cwd=tmp_path_factory.mktemp("scores"))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_environment_holds_what_is_asked_for_and_nothing_of_the_workstation(
    environment: Environment, found: dict[str, Any]
) -> None:
    """The oldest is what pyproject.toml allows at least: onnxruntime 1.17.3 with numpy 1.26."""
    installed: dict[str, str] = found["installed"]
    assert not {"torch", "onnx", "scipy", "librosa", "dasvdd"} & {name.lower() for name in installed}
    pinned = dict(line.split("==") for line in environment.requirements if "==" in line)
    for name, version in pinned.items():
        assert f"{installed[name]}.0.".startswith(version.removesuffix("*") + "." * (not version.endswith("*")))
    if pinned:
        assert (pinned["onnxruntime"], pinned["numpy"]) == ("1.17.3", "1.26.*")
    else:
        assert _numbers(installed["onnxruntime"]) >= _numbers(onnxruntime.__version__)


def _numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]


@pytest.mark.parametrize("name", [*FORMS, *(path.name for path in RELEASED)])
def test_scores_are_those_of_the_onnxruntime_that_exported(
    name: str, exports: dict[str, Path], found: dict[str, Any]
) -> None:
    """Golden windows repeat, and noise scores to 1e-5, the gate of the export; int8 and fp16 to their own tolerance."""
    path = exports.get(name) or next(path for path in RELEASED if path.name == name)
    scorer = Scorer(path, provider="cpu")
    own, there = scorer.score_windows(score_models.windows_for(scorer)).score, found["files"][str(path)]
    tolerance = scorer.metadata.golden.relative_tolerance
    assert there["golden_difference"] <= tolerance
    np.testing.assert_allclose(there["scores"], own, rtol=tolerance if scorer.metadata.variant else STRICT)


@pytest.mark.parametrize("name", ["fp32.onnx", "int8.onnx", "fp32.ort"])
def test_verify_and_inspect_run(name: str, environment: Environment, exports: dict[str, Path], tmp_path: Path) -> None:
    """Every node on the CPU, opset 18 and IR 8 in the lines, and not a word on standard error."""
    for command, said in (("verify", "runs on CPUExecutionProvider"), ("inspect", "ONNX 18")):
        done = environment.monitor(command, exports[name], cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        assert said in done.stdout


def test_score_and_run_score_a_recording_as_here(
    environment: Environment, exports: dict[str, Path], tmp_path: Path
) -> None:
    """`score` prints, and `run` writes into its events, the scores that this Python computes."""
    path = exports["fp32.onnx"]
    samples = hum(seconds=10).astype(np.float32)
    soundfile.write(tmp_path / "hum.wav", samples, RATE_HZ, subtype="FLOAT")
    expected = Scorer(path, provider="cpu").score_signal(samples[:, None]).score
    lines = must(environment.monitor("score", path, "hum.wav", "--format", "jsonl", cwd=tmp_path))
    scores = [line["score"] for line in lines if line["type"] == "window"]
    np.testing.assert_allclose(scores, expected, rtol=STRICT)
    (tmp_path / "monitor.toml").write_text(
        f'[model]\npath = "{path}"\n[events]\nscores = true\n'
        '[[source]]\nname = "hum"\nkind = "file"\npath = "hum.wav"\n'
    )
    lines = must(environment.monitor("run", "monitor.toml", cwd=tmp_path))
    scores = [line["score"] for line in lines if line["event"] == "score"]
    np.testing.assert_allclose(scores, expected, rtol=STRICT)


def must(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    """The JSON lines of a command that has to succeed."""
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("name", FORMS)
def test_every_form_that_an_export_writes_is_opset_18_and_ir_8(name: str, exports: dict[str, Path]) -> None:
    """As the onnx package and onnxruntime's generated reader of its own format see it."""
    content = exports[name].read_bytes()
    if name.endswith(".onnx"):
        model = onnx.load_from_string(content)
        assert model.ir_version == 8
        assert {entry.domain: entry.version for entry in model.opset_import} == {"": 18}
    else:  # onnxruntime lists there every other domain that it knows, too
        stored = InferenceSession.GetRootAs(content, 0).Model()
        opsets = [stored.OpsetImport(i) for i in range(stored.OpsetImportLength())]
        assert stored.IrVersion() == 8
        assert {entry.Domain(): entry.Version() for entry in opsets}[b""] == 18
