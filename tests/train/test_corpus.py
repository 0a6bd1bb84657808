"""Reading recordings for training: what is used, what is left out, what is held out."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import soundfile
from dasvdd_runtime.errors import DataError
from dasvdd_runtime.reading.manifest import Segment
from dasvdd_train.config import DataSettings
from dasvdd_train.corpus import Corpus, Stretch, fingerprint, load_corpus
from dasvdd_train.sample_store import SampleStore
from dasvdd_train.split import hold_out

RATE_HZ = 8000


def write(path: Path, seconds: float = 2.0, *, rate_hz: int = RATE_HZ, channels: int = 1, level: float = 0.1) -> Path:
    rng = np.random.default_rng(list(path.name.encode()))
    samples = level * rng.standard_normal((round(seconds * rate_hz), channels))
    soundfile.write(path, np.clip(samples, -1, 1), rate_hz, subtype="PCM_16")
    return path


def load(*paths: Path, strict: bool = False) -> Corpus:
    return load_corpus([Segment(path) for path in paths], DataSettings(strict=strict))


def test_most_common_rate_wins_and_the_rest_is_resampled(tmp_path: Path) -> None:
    """Recordings at another rate are resampled to the most common one, and that is said."""
    corpus = load(
        write(tmp_path / "a.wav"), write(tmp_path / "b.wav"), write(tmp_path / "c.wav", rate_hz=44100, seconds=1.5)
    )
    assert corpus.sample_rate_hz == RATE_HZ
    assert [len(s.samples) for s in corpus.stretches] == [16000, 16000, 12000]
    assert len(corpus.notes) == 1
    assert "c.wav: resampled from 44100 Hz to 8000 Hz" in corpus.notes[0]


def test_a_recording_of_a_lower_rate_is_warned_of_with_what_it_lacks(tmp_path: Path) -> None:
    """Half of 4000 Hz is all that it can hold: silence above it would be learnt as healthy."""
    corpus = load(write(tmp_path / "a.wav"), write(tmp_path / "b.wav"), write(tmp_path / "c.wav", rate_hz=4000))
    (warning,) = corpus.upsampled
    assert "c.wav: resampled from 4000 Hz to 8000 Hz, so that nothing above 2000 Hz is in it" in warning
    assert "--rate 4000" in warning and not corpus.notes


def test_a_recording_that_is_left_out_does_not_set_the_rate(tmp_path: Path) -> None:
    """The stereo recording at 48 kHz is read first and left out: the rate is that of those that are used."""
    stereo = tmp_path / "0.wav"
    soundfile.write(stereo, 0.1 * np.random.default_rng(0).standard_normal((48000, 2)), 48000)
    corpus = load(stereo, write(tmp_path / "a.wav"), write(tmp_path / "b.wav", rate_hz=16000))
    assert corpus.sample_rate_hz == RATE_HZ
    assert "0.wav: it has 2 channels (" in corpus.rejected[0]


def test_a_recording_that_is_there_twice_is_told(tmp_path: Path) -> None:
    """A copy under another name counts twice: it is named with its twin, and another recording is not."""
    first = write(tmp_path / "a.wav")
    (tmp_path / "copy_of_a.wav").write_bytes(first.read_bytes())
    corpus = load(first, tmp_path / "copy_of_a.wav", write(tmp_path / "other.wav"))
    assert corpus.notes == [
        f"{tmp_path / 'copy_of_a.wav'}: holds the same samples as {first}, which so count twice: leave one out"
    ]


def test_what_is_too_short_to_train_on_is_not_said_to_be_trained_on(tmp_path: Path) -> None:
    """Of three recordings, the one without a feature vector is passed over where the others' tails are held out."""
    corpus = load(write(tmp_path / "a.wav", 20), write(tmp_path / "clip.wav", 0.1), write(tmp_path / "b.wav", 2.5))
    notes = hold_out(corpus, DataSettings(), window_samples=RATE_HZ, minimum_train_samples=4000).notes
    assert notes == [f"{tmp_path / 'b.wav'}: 2.50 s is too short to hold out its tail; all of it is trained on"]


def test_one_reason_of_many_recordings_is_one_line(tmp_path: Path) -> None:
    """Fifty tables without a rate are one line with three names and the number, not fifty sentences."""
    for number in range(50):
        (tmp_path / f"{number:02}.csv").write_text("x,y\n1,2\n2,3\n")
    with pytest.raises(DataError) as caught:
        load(*sorted(tmp_path.iterdir()))
    head, *lines = str(caught.value).splitlines()
    assert head == "no usable recording:" and len(lines) == 1
    assert "50 recordings, " in lines[0] and "02.csv and more: " in lines[0] and lines[0].count("--rate") == 1


def test_unusable_recordings_are_named_with_their_reason(tmp_path: Path) -> None:
    """Truncated, empty, silent, clipped and differently wired files are left out by name; the others are used."""
    good = [write(tmp_path / f"good{i}.wav") for i in range(2)]
    cut = write(tmp_path / "cut.wav")
    cut.write_bytes(cut.read_bytes()[:5000])
    empty = tmp_path / "empty.wav"
    empty.write_bytes(b"")
    bad = {
        "cut.wav": ("truncated", cut),
        "empty.wav": ("empty", empty),
        "silent.wav": ("silent", write(tmp_path / "silent.wav", level=0)),
        "loud.wav": ("clipped", write(tmp_path / "loud.wav", level=3)),
        "stereo.wav": ("channel 1", write(tmp_path / "stereo.wav", channels=2)),
    }
    corpus = load(*good, *(path for _, path in bad.values()))
    assert len(corpus.stretches) == 2
    assert len(corpus.rejected) == len(bad)
    for (name, (reason, _)), message in zip(bad.items(), corpus.rejected, strict=True):
        assert name in message
        assert reason in message


@pytest.mark.parametrize("level", [0.0, 3.0])
def test_strict_makes_an_unusable_recording_fatal(tmp_path: Path, level: float) -> None:
    """With --strict the first unusable recording ends the run."""
    with pytest.raises(DataError, match=r"bad\.wav"):
        load(write(tmp_path / "good.wav"), write(tmp_path / "bad.wav", level=level), strict=True)


def test_a_loud_fault_is_tested_all_the_same(tmp_path: Path) -> None:
    """A clipped test recording is kept and noted: leaving it out would flatter the figures."""
    segments = [
        Segment(write(tmp_path / "good.wav")),
        Segment(write(tmp_path / "loud.wav", level=3), role="test_anomalous"),
    ]
    corpus = load_corpus(segments, DataSettings())
    assert len(corpus.with_role("test_anomalous")) == 1
    assert "loud.wav: clipped" in corpus.notes[0]


def test_nothing_usable_is_an_error_with_every_reason(tmp_path: Path) -> None:
    """If all recordings are unusable the error lists them all."""
    with pytest.raises(DataError, match=r"no usable recording:\n.*a\.wav: silent.*\n.*b\.wav: clipped"):
        load(write(tmp_path / "a.wav", level=0), write(tmp_path / "b.wav", level=3))


def corpus_of(*seconds: float, first: float = 0.0) -> Corpus:
    """Sensor stretches at 100 Hz that count up from `first`."""
    store = SampleStore()
    ramps = [first + np.arange(round(s * 100), dtype=np.float32)[:, None] for s in seconds]
    stretches = [Stretch(f"r{i}", "train", "", "", 0.0, store.add([ramp], channels=1)) for i, ramp in enumerate(ramps)]
    return Corpus("sensor", 100.0, ("a",), ("g",), stretches)


def split(corpus: Corpus, holdout: str) -> Corpus:
    settings = DataSettings(holdout=holdout)  # type: ignore[arg-type]
    return hold_out(corpus, settings, window_samples=100, minimum_train_samples=50)


def test_tail_is_held_out_one_window_apart() -> None:
    """The last 20 % of each recording is held out, one window after the end of its training part."""
    result = split(corpus_of(20, 10), "tail")
    assert [(s.role, len(s.samples), s.start_seconds) for s in result.stretches] == [
        ("train", 1500, 0.0),
        ("holdout", 400, 16.0),
        ("train", 700, 0.0),
        ("holdout", 200, 8.0),
    ]
    assert float(result.stretches[1].samples[:1][0, 0]) == 1600


def test_a_recording_too_short_for_a_tail_is_trained_on_whole_and_said() -> None:
    """Short recordings are not lost, and the user hears of them."""
    result = split(corpus_of(20, 3), "tail")
    assert [(s.name, s.role) for s in result.stretches] == [("r0", "train"), ("r0", "holdout"), ("r1", "train")]
    assert "r1: 3.00 s is too short to hold out its tail" in result.notes[0]
    with pytest.raises(DataError, match=r"longest has 3\.00 s, at least 5\.00 s .* --holdout recordings"):
        split(corpus_of(3, 2), "tail")


def test_where_all_are_too_short_for_a_tail_whole_ones_are_held_out_and_said() -> None:
    """Ten recordings of 2 s have no tail of a window each: two whole ones are held out, with a note of the numbers."""
    result = split(corpus_of(*[2.0] * 10), "tail")
    assert [s.name for s in result.with_role("holdout")] == ["r2", "r7"]
    assert len(result.with_role("train")) == 8
    assert "at most 2.00 s" in result.notes[-1] and "2 of 10 whole recordings" in result.notes[-1]


def test_whole_recordings_are_held_out_evenly() -> None:
    """--holdout recordings takes a fifth of them, spread over the reading order; one recording cannot be split so."""
    result = split(corpus_of(*[2.0] * 10), "recordings")
    assert [s.name for s in result.with_role("holdout")] == ["r2", "r7"]
    assert len(result.with_role("train")) == 8
    with pytest.raises(DataError, match="1 recording"):
        split(corpus_of(20), "recordings")


def test_holdout_of_a_manifest_is_kept() -> None:
    """Held-out parts that the manifest names are not added to, nor is anything with --holdout none."""
    corpus = corpus_of(20, 10)
    corpus.stretches[1] = Stretch("r1", "holdout", "", "", 0.0, corpus.stretches[1].samples)
    assert split(corpus, "tail").stretches == corpus.stretches
    assert split(corpus_of(20), "none").with_role("holdout") == []


def test_fingerprint_changes_with_any_sample() -> None:
    """The data fingerprint is that of the samples."""
    first = fingerprint(corpus_of(2).stretches)
    assert first == fingerprint(corpus_of(2).stretches)
    assert first == hashlib.sha256(np.arange(200, dtype="<f4").tobytes()).hexdigest()
    assert first != fingerprint(corpus_of(2, first=1e-6).stretches)


def test_only_the_used_channel_is_judged(tmp_path: Path) -> None:
    """A dead channel 0 makes a stereo recording silent; the same dead channel is no fault where channel 1 is used."""
    samples = 0.1 * np.random.default_rng(0).standard_normal((16000, 2))
    samples[:, 0] = 0
    soundfile.write(tmp_path / "dead.wav", samples, RATE_HZ, subtype="PCM_16")
    with pytest.raises(DataError, match="silent"):
        load(tmp_path / "dead.wav")
    assert load_corpus([Segment(tmp_path / "dead.wav")], DataSettings(channel="1")).rejected == []


def test_rows_with_times_are_trained_on_by_pieces(tmp_path: Path) -> None:
    """A gap parts a recording into stretches of one name, each at its time; the rate and units need not be given."""
    lines = [f"{at / 1000},{np.sin(at)}" for at in range(0, 60_000, 10) if not 20_000 <= at < 50_000]
    path = tmp_path / "a.csv"
    path.write_text("\n".join(["time,x [g]", *lines]))
    corpus = load_corpus([Segment(path, role="train")], DataSettings())
    assert (corpus.sample_rate_hz, corpus.units) == (100.0, ("g",))
    assert [(s.name, s.start_seconds, len(s.samples)) for s in corpus.stretches] == [
        (str(path), 0.0, 2000),
        (str(path), 50.0, 1000),
    ]
    assert corpus.notes == [f"{path}: 1 gap, 30 s without rows: no window crosses them"]
