"""Export: parity, contract, and nothing written where something is wrong."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from click.testing import CliRunner
from dasvdd_export import export as export_module
from dasvdd_export import fused, parity
from dasvdd_export.cli import main
from dasvdd_export.export import ParityError, export
from dasvdd_runtime import Scorer
from dasvdd_runtime.condition.spectrum_drift import SpectrumWatch
from dasvdd_runtime.contract import decode
from dasvdd_runtime.errors import DataError
from dasvdd_train.features import as_input
from dasvdd_train.front_ends import LogMel, Rows
from dasvdd_train.holdout import load_holdout
from dasvdd_train.model_file import TrainedModel, load_model, save_model
from make_tiny_models import write_audio
from untrained_models import FRONT_ENDS, untrained


@pytest.fixture(scope="module", params=["audio", "sensor"])
def exported_run(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tiny_run: Callable[..., Path]
) -> Path:
    """A trained and exported run of each kind."""
    return tiny_run(request.param, tmp_path_factory.mktemp(request.param))


def do_export(run: Path, out: Path, **options: object) -> object:
    return export(run / "model.pt", out, **({"calibration_data": None, "false_alarms_per_day": None} | options))  # type: ignore[arg-type]


def test_device_scores_what_torch_scores(exported_run: Path) -> None:
    """Every held-out window scores on the device what it scored in training, in all outputs."""
    trained = load_model(exported_run / "model.pt")
    windows = load_holdout(exported_run / "holdout.npz").windows
    scores = Scorer(exported_run / "model.onnx", provider="cpu").score_windows(windows)
    with torch.no_grad():
        expected = [out.double().numpy() for out in trained.model(as_input(windows, trained.kind))]
    for found, wanted in zip(
        (scores.score, scores.reconstruction_error, scores.center_distance, scores.residual), expected, strict=True
    ):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5 * float(scores.score.max()))


def test_graph_is_what_old_and_small_devices_run(exported_run: Path) -> None:
    """One file, opset 18, IR 8, named dynamic batch, Gemm networks, no operator that a device lacks, no local path."""
    content = (exported_run / "model.onnx").read_bytes()
    model = onnx.load_from_string(content)
    operators = {node.op_type for node in model.graph.node}
    assert model.ir_version == 8
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 18)]
    assert "Gemm" in operators
    assert not operators & {"STFT", "DFT", "Pad", "Loop", "If", "ReduceMax"}
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    assert not any(initializer.external_data for initializer in model.graph.initializer)
    assert str(Path.cwd()).encode() not in content
    assert b"site-packages" not in content


def test_metadata_holds_what_the_device_needs(exported_run: Path) -> None:
    """Rates, sizes, threshold, golden windows and fingerprints agree with the trained model."""
    trained = load_model(exported_run / "model.pt")
    properties = {p.key: p.value for p in onnx.load(exported_run / "model.onnx").metadata_props}
    metadata, unknown = decode(properties)
    assert unknown == []
    assert metadata.calibration == trained.calibration
    assert (metadata.sample_rate_hz, metadata.window_samples) == (trained.sample_rate_hz, trained.window_samples)
    assert metadata.units == (["full scale"] if trained.kind == "audio" else ["g", "g", "g"])
    assert SpectrumWatch.of(metadata.baseline.spectrum, metadata) is not None  # a drift of it can be seen
    assert 1 <= len(metadata.golden.scores) <= 8
    assert metadata.golden.windows().nbytes <= 2**20
    assert len(metadata.model_fingerprint) == 64
    assert metadata.learning is not None and metadata.learning.epochs == list(range(1, 9))
    assert metadata.held_out_scores is not None
    holdout = load_holdout(exported_run / "holdout.npz")
    assert sum(metadata.held_out_scores.counts) == sum(map(len, holdout.streams))


@pytest.mark.parametrize("name", FRONT_ENDS)
def test_parity_of_every_front_end(name: str, tmp_path: Path) -> None:
    """Each front end and channel choice agrees between torch and onnxruntime, and passes every NaN on."""
    trained = untrained(*FRONT_ENDS[name])
    path = tmp_path / "graph.onnx"
    path.write_bytes(fused.export_graph(trained).SerializeToString())
    run = parity.session_runner(export_module.open_session(path, provider="cpu", threads=1).session)
    rng = np.random.default_rng(0)
    windows = 0.05 * rng.standard_normal((70, trained.window_samples, trained.channels)).astype(np.float32)
    findings = parity.compare(trained, run, windows)
    assert [f.name for f in findings if not f.agrees] == []
    assert len(findings) == 6
    assert parity.nan_findings(trained, run, windows) == []
    assert parity.inconsistency(run, as_input(windows, trained.kind).numpy(), 2.5) < 1e-5


def test_dft_is_two_products_of_a_tenth_of_a_whole_one() -> None:
    """The graph multiplies a frame of 1024 samples by matrices of less than 40 000 numbers in place of a million."""
    graph = fused.export_graph(untrained(*FRONT_ENDS["mono"])).graph
    sizes = {constant.name: int(np.prod(constant.dims)) for constant in graph.initializer}
    products = [
        sum(sizes.get(name, 0) for name in node.input) for node in graph.node if node.op_type in ("MatMul", "Gemm")
    ]
    over_rows, over_columns, mel_filters, *_ = products
    assert (over_rows, over_columns) == (66 * 64, 33 * 32 * 32)
    assert mel_filters == 33 * 16 * 128


def test_every_sample_of_a_window_counts() -> None:
    """The score has a gradient in every sample but the first, whose Hann weight is zero by definition."""
    trained = untrained(*FRONT_ENDS["mono"])
    window = (0.05 * torch.randn(1, 1, trained.window_samples)).requires_grad_()
    trained.model(window)[0].sum().backward()
    assert window.grad is not None
    assert (window.grad[0, 0, 1:] != 0).all()


def test_disagreement_writes_nothing(exported_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A graph with one weight off is found out, and no file appears."""

    def off(trained: TrainedModel) -> onnx.ModelProto:
        graph = fused.export_graph(trained)
        for initializer in graph.graph.initializer:
            values = onnx.numpy_helper.to_array(initializer)
            if initializer.name == "model.encoder.0.weight" or initializer.name.endswith("encoder.0.weight"):
                changed = values.copy()
                changed.flat[0] += 0.5
                initializer.CopyFrom(onnx.numpy_helper.from_array(changed, initializer.name))
                return graph
        raise AssertionError([initializer.name for initializer in graph.graph.initializer])

    monkeypatch.setattr(export_module, "export_graph", off)
    with pytest.raises(ParityError, match=r"nothing was written:\n  held-out windows: relative difference"):
        do_export(exported_run, tmp_path / "out.onnx")
    assert list(tmp_path.iterdir()) == []


def test_lost_nan_is_found(exported_run: Path) -> None:
    """A graph that turns NaN into a number does not pass."""
    trained = load_model(exported_run / "model.pt")
    windows = load_holdout(exported_run / "holdout.npz").windows

    def lossy(batch: np.ndarray) -> dict[str, np.ndarray]:  # type: ignore[type-arg]
        return {"score": np.nan_to_num(batch).sum(axis=(1, 2))}

    assert len(parity.nan_findings(trained, lossy, windows)) == 3 * trained.channels


def test_without_holdout_calibration_data_is_asked_for(tmp_path: Path) -> None:
    """No holdout.npz: refused with the option to give, and exported with it."""
    run = tmp_path / "run"
    run.mkdir()
    shutil.copy(Path(__file__).parents[1] / "data" / "schema_1.0" / "audio.pt", run / "model.pt")
    with pytest.raises(DataError, match="--calibration DATA"):
        do_export(run, run / "model.onnx")
    assert not (run / "model.onnx").exists()
    write_audio(tmp_path / "new", files=2, seconds=20, seed=5)
    do_export(run, run / "model.onnx", calibration_data=tmp_path / "new")
    calibration = Scorer(run / "model.onnx", provider="cpu").metadata.calibration
    assert calibration.hours * 3600 == pytest.approx(40, rel=0.1)


def test_another_rate_of_false_alarms_moves_the_threshold(exported_run: Path, tmp_path: Path) -> None:
    """Fewer false alarms a day ask for a higher threshold."""
    thresholds = []
    for per_day in (10_000.0, 0.1):
        do_export(exported_run, tmp_path / "m.onnx", false_alarms_per_day=per_day)
        calibration = Scorer(tmp_path / "m.onnx", provider="cpu").metadata.calibration
        assert calibration.false_alarms_per_day == per_day
        thresholds.append(calibration.threshold)
    assert thresholds[0] < thresholds[1]


def test_command_prints_parity_size_and_latency(exported_run: Path, tmp_path: Path) -> None:
    """The program shows the table and names the file; a missing model is exit code 66 without a traceback."""
    code = "from dasvdd_export.cli import main; main(prog_name='dasvdd-export')"
    command = [sys.executable, "-c", code]
    out = tmp_path / "m.onnx"
    done = subprocess.run(
        [*command, exported_run / "model.pt", "--out", out], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for text in ("held-out windows", "silence", "1e-05", "onnxruntime", f"wrote {out}"):
        assert text in done.stdout
    for step in ("making the ONNX graph ...", "comparing torch with onnxruntime on ", "measuring the time for one"):
        assert step in done.stderr
    done = subprocess.run([*command, tmp_path / "none.pt"], capture_output=True, text=True, check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (66, False)


@pytest.mark.parametrize("name", ["model.pt", "holdout.npz"])
def test_what_the_export_reads_is_not_written_over(exported_run: Path, name: str) -> None:
    """--out that names the trained model, or its held-out data, is wrong usage, and both are as they were."""
    before = (exported_run / name).read_bytes()
    done = CliRunner().invoke(main, [str(exported_run / "model.pt"), "--out", str(exported_run / "." / name)])
    assert done.exit_code == 2
    assert "would be lost" in done.output
    assert (exported_run / name).read_bytes() == before


def test_a_folder_in_the_place_of_a_model_is_told(exported_run: Path) -> None:
    """Exit code 66, and the file to name."""
    done = CliRunner().invoke(main, [str(exported_run)])
    assert done.exit_code == 66
    assert f"this is a folder. Name the model file in it: {exported_run / 'model.pt'}" in done.output


@pytest.mark.parametrize("damage", ["flipped weight", "another run"])
def test_model_that_is_not_the_held_out_datas_is_refused(exported_run: Path, tmp_path: Path, damage: str) -> None:
    """A bit that flipped in a weight, or a model of another run, shows in the held-out windows' scores."""
    shutil.copy(exported_run / "holdout.npz", tmp_path)
    content = torch.load(exported_run / "model.pt", weights_only=True)
    if damage == "flipped weight":
        content["state"]["decoder.0.weight"][0, 0] += 5
    else:
        content["state"]["encoder.0.weight"] *= -1
    torch.save(content, tmp_path / "model.pt")
    with pytest.raises(DataError, match=r"holdout\.npz: its windows score otherwise with model\.pt"):
        do_export(tmp_path, tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()


def test_one_sample_windows_export(tmp_path: Path) -> None:
    """A slow sensor whose window is a single row has parity and NaN checks too."""
    trained = untrained(Rows(channels=3, channel_names=["x", "y", "z"]), 1)
    trained = TrainedModel(**trained.__dict__ | {"window_samples": 1})
    path = tmp_path / "graph.onnx"
    path.write_bytes(fused.export_graph(trained).SerializeToString())
    run = parity.session_runner(export_module.open_session(path, provider="cpu", threads=1).session)
    windows = np.random.default_rng(0).standard_normal((20, 1, 3)).astype(np.float32)
    assert all(finding.agrees for finding in parity.compare(trained, run, windows))
    assert parity.nan_findings(trained, run, windows) == []


def test_rounding_limit_bounds_fp32_against_fp64_and_leaves_usual_scores_alone() -> None:
    """The limit for tiny scores is what fp32 does to them against float64; a usual score's stays below 1e-5."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2000, 3))
    for size in (1e-2, 1e-3, 1e-4):
        residual = size * rng.standard_normal((2000, 3))
        exact = (((x + residual).astype(np.float32).astype(np.float64) - x.astype(np.float32)) ** 2).sum(axis=1)
        error = np.abs(((x + residual - x) ** 2).sum(axis=1) - exact) / exact
        assert (error <= parity.rounding_limit(exact, 3)).all()
    assert parity.rounding_limit(np.array([600.0]), 640)[0] < parity.STRICT


def hum(noise: float) -> np.ndarray:
    """Ten windows of a transformer: steady lines, and noise far below them, [windows, samples, 1]."""
    time_axis = np.arange(10 * 30 * 512) / 16000
    lines = 0.3 * np.sin(2 * np.pi * 997 * time_axis) + 0.1 * np.sin(2 * np.pi * 120 * time_axis)
    samples = lines + noise * np.random.default_rng(0).standard_normal(len(time_axis))
    return samples.astype(np.float32).reshape(10, 30 * 512, 1)


def steady(tmp_path: Path, noise: float) -> tuple[TrainedModel, parity.Run]:
    """A model standardised on `hum`, so that what varies by little counts for much, and its graph."""
    trained = untrained(LogMel(sample_rate_hz=16000.0, channels=1), 5)
    frames = trained.model.front_end(as_input(hum(noise), "audio")).flatten(0, 1)
    trained.model.mean.copy_(frames.mean(dim=0))
    trained.model.std.copy_(frames.std(dim=0).clamp_min(0.1))
    path = tmp_path / "graph.onnx"
    path.write_bytes(fused.export_graph(trained).SerializeToString())
    return trained, parity.session_runner(export_module.open_session(path, provider="cpu", threads=1).session)


def test_noise_that_float32_drowns_is_allowed_what_float32_loses(tmp_path: Path) -> None:
    """80 dB below a tone more is allowed than at 30 dB, where the strict limit holds."""
    for noise, strict in ((1e-2, True), (1e-5, False)):
        trained, run = steady(tmp_path, noise)
        held_out = parity.compare(trained, run, hum(noise))[0]
        assert held_out.agrees
        assert (held_out.limit == parity.STRICT) == strict


def test_a_graph_agrees_with_nothing_where_float32_overflows() -> None:
    """A model whose scores torch itself cannot hold proves nothing of a graph, not even of one that returns zeros."""
    trained = untrained(*FRONT_ENDS["rows"])
    trained.model.std.fill_(1e-22)
    windows = 1e-1 * np.random.default_rng(0).standard_normal((4, trained.window_samples, trained.channels))

    def zeros(batch: np.ndarray) -> dict[str, np.ndarray]:
        found = dict.fromkeys(parity.OUTPUT_NAMES, np.zeros(len(batch)))
        return found | {"residual": np.zeros((len(batch), trained.model.bands))}

    findings = parity.compare(trained, zeros, windows.astype(np.float32))
    assert np.isinf(findings[0].limit)
    assert [finding.name for finding in findings if finding.agrees] == []
    assert "do not fit into float32" in findings[0].fault


def test_a_wrong_graph_of_a_steady_tone_is_still_found(tmp_path: Path) -> None:
    """A thousandth is a fault there, too."""
    trained, run = steady(tmp_path, 1e-4)

    def wrong(windows: np.ndarray) -> dict[str, np.ndarray]:
        return {name: 1.001 * out for name, out in run(windows).items()}

    assert not parity.compare(trained, wrong, hum(1e-4))[0].agrees


@pytest.mark.parametrize("options", [(), ("--variant", "int8", "--max-drop", "1")], ids=["fp32", "int8"])
def test_a_model_that_is_not_ready_is_exported_with_its_reasons(
    tmp_path: Path, options: tuple[str, ...], tiny_run: Callable[..., Path]
) -> None:
    """What the training said must be mended is said again, a line each; the export itself is done: exit code 0."""
    run = tiny_run("sensor", tmp_path)
    trained = dataclasses.replace(load_model(run / "model.pt"), not_ready=("the loss rose.", "little data."))
    save_model(run / "model.pt", trained)
    done = CliRunner().invoke(main, [str(run / "model.pt"), *options])
    assert done.exit_code == 0, done.output
    assert [line for line in done.stderr.splitlines() if line.startswith("warning: this model is not ready")] == [
        "warning: this model is not ready: the loss rose.",
        "warning: this model is not ready: little data.",
    ]


def test_the_training_of_a_doubtful_model_is_not_forgotten(tmp_path: Path, tiny_run: Callable[..., Path]) -> None:
    """The serious warnings of dasvdd-train are in its model.pt: two epochs on a little noise have some."""
    run = tiny_run("audio", tmp_path)
    assert any("reconstructs nothing" in reason for reason in load_model(run / "model.pt").not_ready)
