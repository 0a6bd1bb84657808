"""dasvdd-train --dry-run: what it says is what a training then does."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import soundfile
from make_tiny_models import TINY, write_audio


def dasvdd_train(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    code = "from dasvdd_train.cli import main; main(prog_name='dasvdd-train')"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    environment = os.environ | {"COLUMNS": "200", "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=folder)


def test_the_plan_is_what_the_training_does(tmp_path: Path) -> None:
    """Roles, seconds and windows per machine and condition, what is left out, cost; nothing is written."""
    write_audio(tmp_path / "data")
    write_audio(tmp_path / "more", files=1, seconds=6, seed=4)
    soundfile.write(tmp_path / "silent.wav", np.zeros(8000), 8000, subtype="PCM_16")
    rows = [(f"data/normal_{i}.wav", "train", "pump", "idle") for i in range(3)]
    rows += [("more/normal_0.wav", "test_normal", "pump", "load"), ("silent.wav", "train", "pump", "idle")]
    with (tmp_path / "manifest.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "role", "machine", "condition"), *rows])
    before = sorted(tmp_path.rglob("*"))
    done = dasvdd_train(tmp_path, "manifest.csv", "--dry-run", *TINY)
    assert done.returncode == 0, done.stderr
    assert sorted(tmp_path.rglob("*")) == before
    table = {tuple(cells[:3]): cells[3:] for line in done.stdout.splitlines() if len(cells := cells_of(line)) == 6}
    # Of each 96 000 samples the last 19 200 are held out, one window of 3968 apart; a window every 1984:
    # (72 832 - 3968) // 1984 + 1 = 35 for training, (19 200 - 3968) // 1984 + 1 = 8 held out.
    assert table["pump", "idle", "train"] == ["3", "27.3", "105"]
    assert table["pump", "idle", "holdout"] == ["3", "7.2", "24"]
    assert table["pump", "load", "test normal"] == ["1", "6.0", "23"]
    assert "silent.wav: silent" in done.stderr
    assert "little data: 27.3 s" in done.stdout

    trained = dasvdd_train(tmp_path, "manifest.csv", "--out", "run", *TINY)
    assert trained.returncode == 0, trained.stderr
    vectors = int(done.stdout.split("would train on ")[1].split()[0])
    frames_per_recording = (round(27.312 / 3 * 8000) - 128) // 64 + 1
    assert vectors == 3 * (frames_per_recording - 1)
    assert "27.3 s train, 7.2 s holdout, 6.0 s test normal" in trained.stderr
    steps = [line.removesuffix(" ...") for line in trained.stderr.splitlines() if line.endswith(" ...")]
    assert steps == [  # nothing that takes long goes unsaid, before the epochs and after
        "computing features",
        "choosing gamma over 10 initialisations",
        "scoring held-out and test recordings",
        "looking for unusual windows",
        "comparing with cheap baselines",
        "setting the threshold",
        "measuring level and spectrum, writing the report",
    ]


def cells_of(line: str) -> list[str]:
    return [cell.strip() for cell in line.replace("┃", "│").strip("│").split("│")]


def test_it_ends_as_the_training_would(tmp_path: Path) -> None:
    """Nothing usable is exit code 65 with the reason; without --dry-run a missing --out is a usage error."""
    soundfile.write(tmp_path / "silent.wav", np.zeros(8000), 8000, subtype="PCM_16")
    done = dasvdd_train(tmp_path, "silent.wav", "--dry-run")
    assert (done.returncode, "no usable recording" in done.stderr) == (65, True)
    done = dasvdd_train(tmp_path, "silent.wav")
    assert (done.returncode, "--dry-run" in done.stderr) == (2, True)


def test_test_recordings_that_cannot_alarm_are_told_before_training(tmp_path: Path) -> None:
    """A test recording of one window of 0.5 s cannot raise an alarm by 3 of 5, which takes a second."""
    write_audio(tmp_path / "data")
    write_audio(tmp_path / "faulty", files=2, seconds=0.5)
    done = dasvdd_train(tmp_path, "data", "--dry-run", "--test-anomalous", "faulty", *TINY)
    assert done.returncode == 0, done.stderr
    assert "2 of 2 test recordings cannot show an alarm" in done.stderr
    assert "it takes 3 windows in a row, and so 0.992 s at least" in done.stderr


def test_labels_alone_are_no_training_set(tmp_path: Path) -> None:
    """A manifest of judged alarms alone, as export-labels writes it, is told with the command that adds the rest."""
    write_audio(tmp_path / "data", files=1, seconds=20)
    note = "outer race, bearing 3"
    (tmp_path / "labels.csv").write_text(
        f'path,start_seconds,end_seconds,role,machine,note\ndata/normal_0.wav,4,9,train,pump,"{note}"\n'
    )
    done = dasvdd_train(tmp_path, "labels.csv", "--dry-run", *TINY)
    assert done.returncode == 65
    assert "dasvdd-monitor export-labels --out labels.csv --with recordings/healthy" in done.stderr


def test_stereo_of_which_one_channel_is_judged_says_what_to_do(tmp_path: Path) -> None:
    """Half of the input is unused and the device must deliver it all the same: both options and the way to mono."""
    soundfile.write(tmp_path / "pump.wav", 0.1 * np.random.default_rng(0).standard_normal((240_000, 2)), 8000)
    done = dasvdd_train(tmp_path, "pump.wav", "--dry-run", *TINY)
    assert done.returncode == 0, done.stderr
    for words in ("channel 0 of 2", "the other is not used", "--channel 1", "--channel mean", "-ac 1 mono.wav"):
        assert words in done.stderr


def test_a_dry_run_refuses_what_a_training_would_refuse(tmp_path: Path) -> None:
    """Fewer feature vectors than a batch takes end a dry run as they end a training, with both numbers."""
    path = tmp_path / "short.csv"
    path.write_text("time,x\n" + "".join(f"{i / 200},{i % 7}\n" for i in range(4000)))
    done = dasvdd_train(tmp_path, "short.csv", "--dry-run", "--holdout", "none")
    assert done.returncode == 65
    assert "feature vectors, and one batch takes 200" in done.stderr
