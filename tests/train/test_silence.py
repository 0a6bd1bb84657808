"""Silence in a recording is never normal: what a monitor would withhold is neither trained on nor calibrated with."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from dasvdd_runtime.errors import DataError
from dasvdd_runtime.intake import Break, Cutter, FitWindow, Intake
from dasvdd_runtime.reading.manifest import Segment
from dasvdd_train.config import DataSettings
from dasvdd_train.corpus import Corpus, load_corpus
from dasvdd_train.features import Geometry
from dasvdd_train.silence import TrainingWindows, without_silence
from dasvdd_train.split import hold_out
from make_tiny_models import TINY, write_audio
from numpy.typing import NDArray

RATE_HZ = 8000
SIZES = Geometry(window_samples=8000, window_hop_samples=4000, minimum_samples=1000)


def sound(seconds: float, *silent: tuple[float, float]) -> NDArray[np.float64]:
    samples = 0.1 * np.random.default_rng(0).standard_normal(round(seconds * RATE_HZ))
    for start, end in silent:
        samples[round(start * RATE_HZ) : round(end * RATE_HZ)] = 0
    return samples


def corpus_of(path: Path, samples: NDArray[np.float64]) -> Corpus:
    soundfile.write(path, samples, RATE_HZ, subtype="PCM_16")
    return load_corpus([Segment(path)], DataSettings())


def test_a_silent_part_is_left_out_and_told(tmp_path: Path) -> None:
    """20 of 96 s of zeros: the sound before and behind is kept to the sample, and one line says what is not."""
    samples = sound(96, (20, 40))
    cut, lines = without_silence(corpus_of(tmp_path / "h0.wav", samples), SIZES, DataSettings())
    assert lines == [f"{tmp_path / 'h0.wav'}: 20.0 s of 96.0 s are silent (from 20.0 s on) and are left out"]
    assert [(s.start_seconds, len(s.samples) / RATE_HZ) for s in cut.stretches] == [(0.0, 20.0), (40.0, 56.0)]
    np.testing.assert_allclose(cut.stretches[1].samples[:][:, 0], samples[40 * RATE_HZ :], atol=1e-4)


def test_a_recording_without_silence_stays_one_piece(tmp_path: Path) -> None:
    """Nothing is said of it, and the seconds behind its last whole window stay too."""
    corpus = corpus_of(tmp_path / "a.wav", sound(7.3, (3.4, 3.6)))
    assert without_silence(corpus, SIZES, DataSettings()) == (corpus, [])


@pytest.mark.parametrize(
    "silent", [[(3, 5)], [(2.1, 4.9)], [(0, 1.3), (8, 10)], [(5, 5.25)], [(2.5, 2.75), (3.5, 3.75)], [(9.6, 10.2)]]
)
def test_the_windows_that_are_left_are_those_that_run_judges(tmp_path: Path, silent: list[tuple[float, float]]) -> None:
    """Wherever silence lies, each window of the parts is one that `run` scores; others lie inside of them."""
    corpus = corpus_of(tmp_path / "a.wav", sound(10.4, *silent))
    windows = TrainingWindows("audio", RATE_HZ, 1, [0], SIZES.window_samples, SIZES.window_hop_samples)
    steps = list(Cutter(Intake(), windows).cut(corpus.stretches[0].samples[:]))
    judged = [step.window.first_sample for step in steps if isinstance(step, FitWindow)]
    assert any(isinstance(step, Break) for step in steps)
    cut, _ = without_silence(corpus, SIZES, DataSettings())
    kept = [
        round(s.start_seconds * RATE_HZ) + i * SIZES.window_hop_samples
        for s in cut.stretches
        for i in range(SIZES.windows_in(len(s.samples)))
    ]
    assert set(kept) <= set(judged)
    starts = [round(s.start_seconds * RATE_HZ) for s in cut.stretches]
    for first in set(judged) - set(kept):
        assert any(a < first < a + len(s.samples) for a, s in zip(starts, cut.stretches, strict=True))


def test_a_stuck_sensor_is_left_out_as_run_withholds_it(tmp_path: Path) -> None:
    """Rows that repeat for longer than `silent_seconds` are no normal running; a higher setting keeps them."""
    rows = np.random.default_rng(1).standard_normal((600, 2))
    rows[200:400] = rows[200]
    table = tmp_path / "v.csv"
    table.write_text("x,y\n" + "\n".join(f"{x:.6f},{y:.6f}" for x, y in rows))
    settings = DataSettings(sample_rate_hz=10)
    corpus = load_corpus([Segment(table)], settings)
    sizes = Geometry(window_samples=10, window_hop_samples=10, minimum_samples=1)
    cut, (line,) = without_silence(corpus, sizes, settings)
    # The tenth window since row 200 is the first that ends after 10 s of standstill.
    assert [(s.start_seconds, len(s.samples)) for s in cut.stretches] == [(0.0, 290), (40.0, 200)]
    assert "in 11.0 s of 60.0 s no channel had changed for 10 s (from 29.0 s on)" in line
    assert without_silence(corpus, sizes, settings.model_copy(update={"silent_seconds": 30.0}))[1] == []


def test_recordings_of_which_nothing_is_left_end_the_training(tmp_path: Path) -> None:
    """A recording whose every window begins or ends in silence is named with the reason."""
    corpus = corpus_of(tmp_path / "a.wav", sound(3, *((k / 2 + 0.75, k / 2 + 1) for k in range(5))))
    with pytest.raises(DataError, match=r"a\.wav: 3\.0 s of 3\.0 s are silent"):
        without_silence(corpus, SIZES, DataSettings())


def test_whole_recordings_are_held_out_with_all_their_parts(tmp_path: Path) -> None:
    """`--holdout recordings` holds out a recording with a silence in it as one."""
    stretches = []
    for name in "abcde":
        stretches += corpus_of(tmp_path / f"{name}.wav", sound(20, (5, 10))).stretches
    corpus = Corpus("audio", RATE_HZ, ("channel 0",), ("full scale",), stretches)
    cut, _ = without_silence(corpus, SIZES, DataSettings())
    held = hold_out(cut, DataSettings(holdout="recordings"), window_samples=8000, minimum_train_samples=1000)
    assert [s.name[-5:] for s in held.with_role("holdout")] == ["c.wav", "c.wav"]


def test_training_and_dry_run_tell_of_silence(tmp_path: Path) -> None:
    """The plan, the training and its report name the file and how much of it is left out.

    Of windows of 0.496 s those with a quarter of a second of zeros at an end are withheld, so that 0.3 s of them stay.
    """
    write_audio(tmp_path / "data", files=2, seconds=30)
    holed, rate_hz = soundfile.read(tmp_path / "data" / "normal_0.wav")
    holed[10 * rate_hz : 20 * rate_hz] = 0
    soundfile.write(tmp_path / "data" / "normal_0.wav", holed, rate_hz)
    says = "normal_0.wav: 9.7 s of 30.0 s are silent (from 10.2 s on) and are left out"
    for extra in (["--dry-run"], ["--out", "run"]):
        code = "from dasvdd_train.cli import main; main(prog_name='dasvdd-train')"
        command = [sys.executable, "-c", code, "data", *extra, *map(str, TINY)]
        environment = os.environ | {"COLUMNS": "200", "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert says in done.stderr
    assert says in (tmp_path / "run" / "report.html").read_text().replace("<wbr>", "")
