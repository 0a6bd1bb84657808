"""Standardisation, center and threshold set anew on a site: what moves, what must not, and what is refused."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from dasvdd_export import held_out
from dasvdd_export.export import export
from dasvdd_export.recenter import Report, _fit, recenter
from dasvdd_runtime import Scorer
from dasvdd_runtime.errors import DataError
from dasvdd_train.features import as_input
from dasvdd_train.holdout import load_holdout
from dasvdd_train.model_file import load_model
from make_tiny_models import AUDIO_RATE_HZ, write_audio

TRAINED = Path(__file__).parents[1] / "data" / "schema_1.0" / "audio.pt"
SECONDS = 220


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`loud/` and `quiet/`: the same recording of a healthy machine, and at half the amplitude."""
    folder = tmp_path_factory.mktemp("site")
    write_audio(folder / "loud", files=1, seconds=SECONDS, seed=5)
    samples, rate = soundfile.read(folder / "loud" / "normal_0.wav", dtype="float32")
    (folder / "quiet").mkdir()
    soundfile.write(folder / "quiet" / "normal_0.wav", samples / 2, rate, subtype="FLOAT")
    return folder


@pytest.fixture(scope="module")
def reports(site: Path) -> dict[str, Report]:
    """The tiny audio model recentred on both."""
    return {name: recenter(TRAINED, site / name, site / "new" / name) for name in ("loud", "quiet")}


def test_gain_of_a_site_is_undone(site: Path, reports: dict[str, Report]) -> None:
    """A microphone half as loud moves every log-mel mean by 6.02 dB, no deviation, and after recentring no score."""
    loud, quiet = (load_model(reports[name].model) for name in ("loud", "quiet"))
    np.testing.assert_allclose((loud.model.mean - quiet.model.mean).numpy(), 20 * np.log10(2), rtol=1e-4)
    np.testing.assert_allclose(quiet.model.std.numpy(), loud.model.std.numpy(), rtol=1e-4)
    scores = [load_holdout(site / "new" / name / "holdout.npz").window_scores for name in ("loud", "quiet")]
    np.testing.assert_allclose(scores[1], scores[0], rtol=1e-4)
    assert quiet.calibration is not None and loud.calibration is not None
    assert quiet.calibration.threshold == pytest.approx(loud.calibration.threshold, rel=1e-4)
    assert reports["quiet"].before.median > 2 * reports["quiet"].after.median


def test_standardisation_and_center_are_those_of_the_part_that_is_not_held_out(
    site: Path, reports: dict[str, Report]
) -> None:
    """numpy's mean and deviation of its frames, and the mean of its codes; networks and gamma stay as trained."""
    trained, moved = load_model(TRAINED), load_model(reports["loud"].model)
    samples, _ = soundfile.read(site / "loud" / "normal_0.wav", dtype="float32", always_2d=True)
    fitted = samples[: round(reports["loud"].seconds * AUDIO_RATE_HZ)]
    assert len(samples) * 0.8 - len(fitted) == pytest.approx(trained.window_samples, abs=1)
    with torch.no_grad():
        frames = trained.model.front_end(as_input(fitted[None], "audio"))[0].numpy().astype(np.float64)
        np.testing.assert_allclose(moved.model.mean.numpy(), frames.mean(axis=0), rtol=1e-5)
        np.testing.assert_allclose(moved.model.std.numpy(), frames.std(axis=0), rtol=1e-4)
        x = (frames - frames.mean(axis=0)) / frames.std(axis=0)
        stacked = np.concatenate([x[:-1], x[1:]], axis=1).astype(np.float32)
        codes = moved.model.encoder(torch.from_numpy(stacked)).numpy()
    np.testing.assert_allclose(moved.model.center.numpy(), codes.mean(axis=0), atol=1e-4)
    for name, tensor in trained.model.state_dict().items():
        if name not in ("mean", "std", "center"):
            assert torch.equal(tensor, moved.model.state_dict()[name]), name


def test_exports_with_parity_and_says_where_it_comes_from(site: Path, reports: dict[str, Report]) -> None:
    """The new folder exports as a training's does; metadata names the recordings and the original model."""
    out = site / "new" / "loud" / "model.onnx"
    export(reports["loud"].model, out, calibration_data=None, false_alarms_per_day=None)
    metadata = Scorer(out, provider="cpu").metadata
    assert metadata.recentred is not None and metadata.recentred.recordings == 1
    assert metadata.recentred.seconds == pytest.approx(reports["loud"].seconds)
    assert metadata.training == load_model(TRAINED).training
    assert metadata.model_fingerprint != metadata.recentred.original_fingerprint
    assert metadata.calibration.threshold == reports["loud"].new_threshold


def test_too_little_data_is_refused(tmp_path: Path) -> None:
    """Both durations are said, and nothing is written."""
    write_audio(tmp_path / "short", files=2, seconds=60)
    with pytest.raises(DataError, match=r"1 min 35 s beside the held-out part, and at least 2 min 29 s are needed"):
        recenter(TRAINED, tmp_path / "short", tmp_path / "new")
    assert not (tmp_path / "new" / "model.pt").exists()


def test_another_sound_altogether_is_refused(tmp_path: Path, site: Path) -> None:
    """Where the networks explain less than the mean alone does, training is asked for."""
    broken = tmp_path / "model.pt"
    content = torch.load(TRAINED, weights_only=True)
    content["state"] = {k: 30 * v if k.startswith("decoder") else v for k, v in content["state"].items()}
    torch.save(content, broken)
    with pytest.raises(DataError, match="they know nothing of this sound"):
        recenter(broken, site / "loud", tmp_path / "new")
    assert not (tmp_path / "new" / "model.pt").exists()


def test_trained_model_is_never_overwritten(tmp_path: Path, site: Path) -> None:
    """Neither the original nor another training's, whose bytes stay; an earlier recentring is."""
    shutil.copy(TRAINED, tmp_path / "model.pt")
    for model in (tmp_path / "model.pt", TRAINED):
        with pytest.raises(DataError, match="was trained and would be overwritten"):
            recenter(model, site / "loud", tmp_path)
    assert (tmp_path / "model.pt").read_bytes() == TRAINED.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.pt"]


def test_band_that_does_not_change_keeps_its_deviation(tmp_path: Path) -> None:
    """A clean tone leaves bands constant: they are named, and their deviation stays the training's."""
    time = np.arange(SECONDS * AUDIO_RATE_HZ) / AUDIO_RATE_HZ
    samples = (0.1 * np.sin(2 * np.pi * 440 * time)).astype(np.float32)
    model = load_model(TRAINED)
    (tmp_path / "still").mkdir()
    soundfile.write(tmp_path / "still" / "a.wav", samples, AUDIO_RATE_HZ, subtype="FLOAT")
    corpus = held_out.load_like(model, tmp_path / "still", role="train")
    moved, constant, _ = _fit(model, corpus.stretches)
    assert 0 < len(constant) < len(moved.residual_names)
    for i, name in enumerate(moved.residual_names):
        if name in constant:
            assert moved.std[i] == model.model.std[i]
    assert torch.isfinite(moved.center).all()


def test_silence_sets_no_threshold_and_no_center(tmp_path: Path) -> None:
    """Recordings for --calibration and --recenter are taken without what a monitor would withhold, and it is told."""
    write_audio(tmp_path, files=1, seconds=30, seed=5)
    samples, rate = soundfile.read(tmp_path / "normal_0.wav", dtype="float32")
    samples[10 * rate : 20 * rate] = 0
    soundfile.write(tmp_path / "normal_0.wav", samples, rate)
    said: list[str] = []
    model = load_model(TRAINED)
    corpus = held_out.load_like(model, tmp_path, say=said.append)
    assert len(said) == 1 and "are silent (from 10." in said[0]
    holdout, _ = held_out.score_recordings(model, corpus)
    assert [len(stretch.samples) > 9 * rate for stretch in corpus.stretches] == [True, True]
    assert (holdout.windows.std(axis=(1, 2)) > 0).all()


def test_command_recentres_and_exports(site: Path, tmp_path: Path) -> None:
    """One command: the report, model.pt and model.onnx in a folder of their own, the original as it was."""
    shutil.copy(TRAINED, tmp_path / "model.pt")
    code = "from dasvdd_export.cli import main; main(prog_name='dasvdd-export')"
    command = [sys.executable, "-c", code, str(tmp_path / "model.pt"), "--recenter", str(site / "quiet")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for text in ("by the original model", "recentred", "means moved by", "threshold", "held-out windows"):
        assert text in done.stdout
    names = sorted(path.name for path in (tmp_path / "recentred").iterdir())
    assert names == ["holdout.npz", "model.onnx", "model.pt"]
    assert (tmp_path / "model.pt").read_bytes() == TRAINED.read_bytes()
    both = subprocess.run([*command, "--calibration", str(site)], capture_output=True, text=True, check=False)
    assert both.returncode == 2


def test_manifest_may_hold_out_and_its_anomalous_part_is_left_out(site: Path, tmp_path: Path) -> None:
    """What a manifest holds out sets the threshold alone; what it calls anomalous sets nothing."""
    write_audio(tmp_path, files=1, seconds=60, tone_hz=480.0, seed=9)
    rows = [
        f"{site / 'loud' / 'normal_0.wav'},0,180,train",
        f"{site / 'loud' / 'normal_0.wav'},180,220,holdout",
        f"{tmp_path / 'normal_0.wav'},0,60,test_anomalous",
    ]
    manifest = tmp_path / "site.csv"
    manifest.write_text("\n".join(["path,start_seconds,end_seconds,role", *rows]) + "\n")
    report = recenter(TRAINED, manifest, tmp_path / "new")
    assert (report.seconds, report.held_out_seconds) == (180, 40)
