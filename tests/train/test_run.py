"""dasvdd-train as a user runs it, on tiny recordings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from dasvdd_runtime.errors import ConfigError, InputMissing, ModelError
from dasvdd_train.claim import sole_training_in
from dasvdd_train.config import TrainConfig
from dasvdd_train.console import ConsoleListener
from dasvdd_train.holdout import load_holdout
from dasvdd_train.model_file import load_model
from dasvdd_train.run import run
from dasvdd_train.scoring import score_windows
from make_tiny_models import TINY, write_audio, write_sensor


def dasvdd_train(*arguments: object, before: str = "") -> subprocess.CompletedProcess[str]:
    """Run the program, after the Python statements `before`."""
    code = f"{before}from dasvdd_train.cli import main; main(prog_name='dasvdd-train')"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | {"COLUMNS": "200"})


@pytest.fixture(scope="module")
def audio_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained run, with labelled test recordings."""
    folder = tmp_path_factory.mktemp("audio")
    write_audio(folder / "normal")
    write_audio(folder / "new_normal", files=1, seed=9)
    write_audio(folder / "faulty", files=1, tone_hz=1900.0)
    done = dasvdd_train(
        folder / "normal", "--out", folder / "run", "--test-normal", folder / "new_normal",
        "--test-anomalous", folder / "faulty", *TINY,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (folder / "run" / "stdout").write_text(done.stdout)
    (folder / "run" / "stderr").write_text(done.stderr)
    return folder / "run"


def test_run_leaves_its_files_and_names_them(audio_run: Path) -> None:
    """Model, held-out data, metrics, settings and report are there, and named on standard output."""
    stdout = (audio_run / "stdout").read_text()
    for name in ("model.pt", "holdout.npz", "metrics.jsonl", "config.toml", "report.html"):
        assert (audio_run / name).stat().st_size > 100
        assert f"wrote {audio_run / name}" in stdout


def test_progress_without_a_terminal_is_plain_lines_with_both_terms(audio_run: Path) -> None:
    """Both loss terms and the time left, without escape codes."""
    stderr = (audio_run / "stderr").read_text()
    assert "epoch 8/8" in stderr
    assert "reconstruction" in stderr
    assert "gamma x center distance" in stderr
    assert "\x1b" not in stderr


def test_labelled_recordings_are_evaluated(audio_run: Path) -> None:
    """A tone that moved is told apart completely."""
    line = next(line for line in (audio_run / "stdout").read_text().splitlines() if line.startswith("AUC"))
    assert line.startswith("AUC 1.0000, partial AUC 1.0000")


def test_metrics_hold_one_line_an_epoch(audio_run: Path) -> None:
    """metrics.jsonl has both terms for every epoch, and they fall."""
    lines = [json.loads(line) for line in (audio_run / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == list(range(1, 9))
    assert lines[-1]["reconstruction_error"] < lines[0]["reconstruction_error"]


def test_settings_of_a_run_name_what_was_used(audio_run: Path) -> None:
    """What was automatic stands in config.toml with the value that it got."""
    settings = tomllib.loads((audio_run / "config.toml").read_text())
    assert settings["data"]["sample_rate_hz"] == 8000
    assert settings["data"]["channel"] == "0"
    assert settings["network"] == {"widths": [12], "latent": 4}


def test_effective_settings_train_the_same_model(audio_run: Path, tmp_path: Path) -> None:
    """config.toml of a run, given back, makes the same model."""
    again = tmp_path / "again"
    done = dasvdd_train(audio_run.parent / "normal", "--out", again, "--config", audio_run / "config.toml")
    assert done.returncode == 0, done.stderr
    first, second = (load_model(run / "model.pt").model.state_dict() for run in (audio_run, again))
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_held_out_scores_are_the_models(audio_run: Path) -> None:
    """holdout.npz holds real windows, and every held-out score in time order."""
    trained, holdout = load_model(audio_run / "model.pt"), load_holdout(audio_run / "holdout.npz")
    assert len(holdout.streams) == 3
    scores, _ = score_windows(trained.model, holdout.windows)
    np.testing.assert_allclose(scores, np.concatenate(holdout.streams), rtol=1e-5)
    assert trained.calibration is not None
    assert trained.calibration.threshold > max(stream.max() for stream in holdout.streams) * 0.5


@pytest.mark.parametrize("name", ["model.pt", "holdout.npz"])
def test_files_cut_at_any_length_are_refused(audio_run: Path, tmp_path: Path, name: str) -> None:
    """A file cut anywhere is a clear error, never a traceback of another kind or half a model."""
    content = (audio_run / name).read_bytes()
    path = tmp_path / name
    for length in [0, 1, 3, 4, *range(10, len(content), max(1, len(content) // 40)), len(content) - 1]:
        path.write_bytes(content[:length])
        with pytest.raises(ModelError, match=name):
            load_model(path) if name == "model.pt" else load_holdout(path)


def test_changed_bytes_of_the_held_out_data_are_refused_or_read(audio_run: Path, tmp_path: Path) -> None:
    """Whatever zip, zlib and NumPy make of them, the fault is the file's."""
    content, random = (audio_run / "holdout.npz").read_bytes(), np.random.default_rng(0)
    path, refused = tmp_path / "holdout.npz", 0
    for _ in range(100):
        changed = np.frombuffer(content, np.uint8).copy()
        changed[random.integers(0, len(changed))] ^= np.uint8(1 << random.integers(8))
        path.write_bytes(changed.tobytes())
        try:
            load_holdout(path)
        except ModelError:
            refused += 1
    assert refused > 50


def test_foreign_and_missing_model_files_are_refused(tmp_path: Path) -> None:
    """A torch file of something else, one of the future, and none at all."""
    path = tmp_path / "model.pt"
    with pytest.raises(InputMissing):
        load_model(path)
    torch.save({"weights": torch.ones(3)}, path)
    with pytest.raises(ModelError, match="not one that dasvdd-train wrote"):
        load_model(path)
    torch.save({"format": "dasvdd model", "schema_version": "2.0"}, path)
    with pytest.raises(ModelError, match=r"schema version 2\.0, this program reads 1\.x"):
        load_model(path)


def test_model_files_run_no_code(tmp_path: Path) -> None:
    """A pickle that would run code is refused before it does."""
    marker = tmp_path / "ran"

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {marker}",)

    torch.save({"format": Evil()}, tmp_path / "model.pt")
    with pytest.raises(ModelError, match="damaged, cut short, or not a model"):
        load_model(tmp_path / "model.pt")
    assert not marker.exists()


def test_one_long_recording_and_holdout_none_work(tmp_path: Path) -> None:
    """One recording is enough; without held-out data there is no threshold, and that is said."""
    write_audio(tmp_path / "one", files=1, seconds=70)
    done = dasvdd_train(tmp_path / "one", "--out", tmp_path / "run", "--holdout", "none", *TINY)
    assert done.returncode == 0, done.stderr
    assert "there is no threshold" in done.stderr
    assert f"dasvdd-export {tmp_path / 'run' / 'model.pt'} --calibration DATA" in done.stdout
    assert load_model(tmp_path / "run" / "model.pt").calibration is None
    assert not (tmp_path / "run" / "holdout.npz").exists()


def test_a_diverged_training_leaves_no_model_and_does_not_bar_the_next(tmp_path: Path) -> None:
    """A learning rate of 30 ends with exit code 65 and no model; the same folder then takes a sound training."""
    write_audio(tmp_path / "data", files=1, seconds=30)
    done = dasvdd_train(tmp_path / "data", "--out", tmp_path / "run", *TINY, "--set", "training.learning_rate=30.0")
    assert (done.returncode, "diverged" in done.stderr) == (65, True), done.stderr
    assert not (tmp_path / "run" / "model.pt").exists()
    done = dasvdd_train(tmp_path / "data", "--out", tmp_path / "run", *TINY)
    assert done.returncode == 0, done.stderr


def test_faults_alone_are_judged_by_their_alarms(tmp_path: Path) -> None:
    """With --test-anomalous alone the terminal says the share below the threshold, the alarms and their delay."""
    write_audio(tmp_path / "data", files=2, seconds=12)
    write_audio(tmp_path / "faulty", files=1, tone_hz=1900.0)
    done = dasvdd_train(tmp_path / "data", "--out", tmp_path / "run", "--test-anomalous", tmp_path / "faulty", *TINY)
    assert done.returncode == 0, done.stderr
    line = next(line for line in done.stdout.splitlines() if line.startswith("faulty:"))
    assert "alarm in 1, median" in line
    assert "AUC" not in done.stdout


def test_an_end_that_fails_keeps_the_earlier_model_whole_and_every_epoch(tmp_path: Path) -> None:
    """A report that cannot be drawn changes no file of the run before; --resume then finishes without an epoch."""
    out = tmp_path / "run"
    write_audio(tmp_path / "data", files=1, seconds=30)
    assert dasvdd_train(tmp_path / "data", "--out", out, *TINY).returncode == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    again = [tmp_path / "data", "--out", out, *TINY, "--seed", "1"]
    broken = "import dasvdd_train.outputs as o; o.write_report = lambda path, data: 1 / 0; "
    done = dasvdd_train(*again, before=broken)
    assert done.returncode == 1
    assert "holds a finished model. It stays until" in done.stderr
    assert "all 8 epochs are kept" in done.stderr and "--resume" in done.stderr
    assert {name: (out / name).read_bytes() for name in before} == before
    assert {path.name for path in out.iterdir()} - set(before) == {"checkpoint.pt", "checkpoint.jsonl"}
    done = dasvdd_train(*again, "--resume")
    assert done.returncode == 0, done.stderr
    assert "going on after epoch 8 of 8" in done.stderr and "epoch 8/8" not in done.stderr
    assert {path.name for path in out.iterdir()} == set(before)
    assert all((out / name).read_bytes() != content for name, content in before.items())


def test_a_second_training_in_the_same_folder_is_refused_while_the_first_is_at_work(tmp_path: Path) -> None:
    """Not as an interrupted one, which --resume would go on with: with the folder, and what to do; then it is free."""
    with sole_training_in(tmp_path / "run"):
        with pytest.raises(ConfigError, match=f"{tmp_path}/run: another training is at work.*--out another folder"):
            run([], tmp_path / "run", TrainConfig(), name="b", listener=ConsoleListener(epochs=1, segments=0))
        assert not list((tmp_path / "run").iterdir())
    with sole_training_in(tmp_path / "run"):
        pass


def test_too_little_held_out_for_a_threshold_is_refused_before_training(tmp_path: Path) -> None:
    """Tails of 9 windows in all carry no threshold: a dry run says so too, with the three ways out, which then work."""
    write_audio(tmp_path / "data", seconds=5)  # tails of 1.0 s: three windows of 0.5 s in each of three
    (tmp_path / "data" / "bad.wav").touch()
    for options in (["--dry-run"], ["--out", tmp_path / "run"]):
        done = dasvdd_train(tmp_path / "data", *options, *TINY)
        assert done.returncode == 65
        assert "bad.wav: empty" in done.stderr  # why there is so little
        assert "the held-out part holds 9 windows of 0.496 s, and an alarm threshold needs at least 10" in done.stderr
        assert "each of the 3 recordings for at least 6.25 s" in done.stderr
        assert "--holdout recordings holds out 1 of the 3 whole instead, and is enough" in done.stderr
        assert "--holdout none" in done.stderr and "epoch" not in done.stderr
    done = dasvdd_train(tmp_path / "data", "--dry-run", *TINY, "--holdout", "recordings")
    assert done.returncode == 0, done.stderr
    write_audio(tmp_path / "data", seconds=6.25)
    assert dasvdd_train(tmp_path / "data", "--dry-run", *TINY).returncode == 0


def test_too_short_recordings_are_named(tmp_path: Path) -> None:
    """A recording without a single feature vector is left out by name; if all are, that is an error."""
    write_audio(tmp_path / "data", files=2, seconds=12)
    write_audio(tmp_path / "short", files=1, seconds=0.01)
    (tmp_path / "short" / "normal_0.wav").rename(tmp_path / "data" / "blip.wav")
    done = dasvdd_train(tmp_path / "data", "--out", tmp_path / "run", *TINY)
    assert done.returncode == 0, done.stderr
    assert "blip.wav: 80 samples to train on, a feature vector takes 192" in done.stderr
    for path in (tmp_path / "data").glob("normal_*.wav"):
        path.unlink()
    done = dasvdd_train(tmp_path / "data", "--out", tmp_path / "run", "--holdout", "none", *TINY)
    assert (done.returncode, "too short to train on" in done.stderr) == (65, True), done.stderr


def test_csv_needs_a_rate(tmp_path: Path) -> None:
    """A table without a rate is an error that says which option gives it."""
    write_sensor(tmp_path / "csv", files=1)
    done = dasvdd_train(tmp_path / "csv", "--out", tmp_path / "run", *TINY)
    assert done.returncode == 65
    assert "rate" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nowhere", "--out", "x"], 66, "there is no such file or folder"),
        ([".", "--out", "x", "--set", "training.epoch=3"], 78, "Did you mean 'epochs'?"),
        ([".", "--out", "x"], 66, ""),
        ([".", "--out", "/dev/null/x"], 78, "--out /dev/null/x: Not a directory"),
    ],
)
def test_errors_have_an_exit_code_and_no_traceback(
    tmp_path: Path, arguments: list[str], code: int, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong path, key or an empty folder ends with its exit code and one clear line."""
    monkeypatch.chdir(tmp_path)
    done = dasvdd_train(*arguments)
    assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr
    assert message in done.stderr
