"""The pure core of evidence: which samples belong to which alarm, in what memory, and what a spectrogram holds."""

from __future__ import annotations

import re
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from dasvdd_runtime import Scorer
from dasvdd_runtime.detector import DecisionSettings
from dasvdd_runtime.evidence.bands import BandLevels
from dasvdd_runtime.evidence.clips import SourceClips, SourceOfClips
from dasvdd_runtime.evidence.tables import EvidenceTable
from dasvdd_runtime.intake import Intake
from dasvdd_runtime.pipeline import DecisionRule, Pipeline
from judging import judge
from numpy.typing import NDArray

RATE_HZ = 16000
THRESHOLD = 0.02
QUICK = DecisionSettings(smoothing_seconds=0, k=1, n=1, clear_ratio=1.0)
WINDOW, HOP = 1600, 800


class Shelf:
    """Takes clips and keeps what it was given; in the place of the writer."""

    def __init__(self) -> None:
        self.clips: list[ShelfClip] = []

    def begin(self, stem: str, format: Any, *, source: str, alarm: str) -> Any:
        self.clips.append(ShelfClip(stem, format))
        return self.clips[-1]

    @property
    def heard(self) -> list[NDArray[Any]]:
        return [np.concatenate(clip.rows) for clip in self.clips]


class ShelfClip:
    lost = None

    def __init__(self, stem: str, format: Any) -> None:
        self.name, self.format = f"{stem}.json", format
        self.rows: list[NDArray[Any]] = []
        self.notes: list[tuple[dict[str, Any], bool]] = []

    def append(self, rows: NDArray[Any]) -> None:
        assert not self.notes, "rows after the sidecar"
        self.rows.append(rows)

    def note(self, described: dict[str, Any], *, final: bool) -> None:
        self.notes.append((described, final))


Line = tuple[Pipeline, Shelf, SourceClips]


@pytest.fixture
def line(tiny_model: Any) -> Callable[..., Line]:
    """A maker of pipelines that keep clips; keywords with `_seconds` go to [evidence], others to the model."""

    def make(*, mode: Any = "audio", intake: Intake | None = None, **settings: Any) -> Line:
        table = {key: settings.pop(key) for key in list(settings) if key.endswith("_seconds")}
        scorer = Scorer(tiny_model(threshold=THRESHOLD, decision=QUICK, **settings), provider="cpu")
        shelf, intake = Shelf(), intake or Intake()
        source = SourceOfClips("pump 7", mode, intake.channels)
        clips = SourceClips(source, scorer.metadata, EvidenceTable(**table), shelf)
        pipeline = Pipeline(
            name="pump 7",
            metadata=scorer.metadata,
            scorer=scorer,
            rule=DecisionRule(THRESHOLD, QUICK, usual_score=0.0, origin="site", why="calibrated"),
            report_scores=False,
            intake=intake,
        )
        pipeline.use_clips(clips)
        return pipeline, shelf, clips

    return make


def sound(*parts: tuple[float, float], seed: int = 0) -> NDArray[np.int16]:
    """16-bit noise: seconds and amplitude of each part."""
    random = np.random.default_rng(seed)
    return np.concatenate(
        [np.round(32767 * level * random.uniform(-1, 1, round(seconds * RATE_HZ))) for seconds, level in parts]
    ).astype(np.int16)[:, None]


def play(pipeline: Pipeline, samples: NDArray[np.int16], cuts: Any = 7) -> list[dict[str, Any]]:
    blocks = np.array_split(samples.astype(np.float32) / 32768, cuts)
    return [event for block in blocks for event in judge(pipeline, block)]


@pytest.mark.parametrize("seed", range(8))
def test_clips_are_slices_of_the_stream_however_it_arrives(line: Callable[..., Line], seed: int) -> None:
    """Alarms at any distance, blocks of any size: each clip is the stream from rise to clear, with its rolls."""
    random = np.random.default_rng(seed)
    parts = [(random.uniform(0.2, 3.0), level) for _ in range(5) for level in (0.1, 0.5)]
    samples = sound(*parts, (1.0, 0.1), seed=seed)
    pre, post = random.uniform(0, 2, 2).round(2)
    pipeline, shelf, _ = line(pre_seconds=pre, post_seconds=post, max_seconds=60)
    cuts = np.sort(random.integers(0, len(samples), random.integers(1, 40)))
    events = play(pipeline, samples, cuts) + pipeline.finish()
    raised = [round(e["start_seconds"] * RATE_HZ) for e in events if e["event"] == "alarm_raised"]
    over = [round(e["clear_seconds"] * RATE_HZ) for e in events if e["event"] == "alarm_cleared"]
    assert len(raised) == len(over) == len(shelf.clips) == 5
    for first, last, heard in zip(raised, over, shelf.heard, strict=True):
        start = max(0, first - round(pre * RATE_HZ))
        np.testing.assert_array_equal(heard, samples[start : last + round(post * RATE_HZ)])


def test_a_clip_ends_no_earlier_than_the_window_that_raised_the_alarm(line: Callable[..., Line]) -> None:
    """Windows of slow sensors are as long as max_seconds, and with its pre-roll one would not fit."""
    pipeline, shelf, _ = line(pre_seconds=1, post_seconds=1, max_seconds=2, window_samples=2 * RATE_HZ)
    events = play(pipeline, sound((6, 0.1), (10, 0.5)))
    (raised,) = (event for event in events if event["event"] == "alarm_raised")
    (clip,) = shelf.clips
    described = clip.notes[-1][0]
    (piece,) = described["pieces"]
    assert piece["stream_seconds"] == raised["start_seconds"] - 1
    assert piece["stream_seconds"] + piece["seconds"] == raised["stream_seconds"] == described["rise_seconds"]


def test_a_long_alarm_is_listed_when_its_clip_is_cut_and_told_to_its_end(line: Callable[..., Line]) -> None:
    """After max_seconds there is a sidecar without an end; at the clear another that tells the tail."""
    samples = sound((3, 0.1), (20, 0.5), (3, 0.1))
    pipeline, shelf, _ = line(pre_seconds=1, post_seconds=1, max_seconds=5)
    play(pipeline, samples[: 15 * RATE_HZ])
    (clip,) = shelf.clips
    ((early, final),) = clip.notes
    assert not final and early["clear_seconds"] is None and early["seconds"] == 5
    play(pipeline, samples[15 * RATE_HZ :])
    late, final = clip.notes[-1]
    assert final and len(clip.notes) == 2
    assert late["tail_seconds"] == pytest.approx(late["clear_seconds"] - (late["pieces"][0]["stream_seconds"] + 5))
    assert late["peak_score"] >= early["peak_score"]
    assert max(late["scores"]["stream_seconds"]) <= late["pieces"][0]["stream_seconds"] + 5
    np.testing.assert_array_equal(shelf.heard[0], samples[clip_start(late) :][: 5 * RATE_HZ])


def clip_start(sidecar: dict[str, Any]) -> int:
    return round(sidecar["pieces"][0]["stream_seconds"] * RATE_HZ)


def test_an_alarm_that_is_open_at_the_end_has_what_there_was(line: Callable[..., Line]) -> None:
    """The clip goes to the stream's last sample, and alarm_open names it."""
    samples = sound((3, 0.1), (2.03, 0.5))
    pipeline, shelf, _ = line(pre_seconds=1)
    play(pipeline, samples)
    left_open = pipeline.finish()[0]
    assert (left_open["event"], left_open["evidence"]) == ("alarm_open", shelf.clips[0].name)
    ((described, final),) = shelf.clips[0].notes
    assert final and described["clear_seconds"] is None
    np.testing.assert_array_equal(shelf.heard[0], samples[clip_start(described) :])


def test_a_gap_in_a_clip_is_told(line: Callable[..., Line]) -> None:
    """What arrived is kept; the pieces say where in the stream it lies."""
    samples = sound((3, 0.1), (2, 0.5), (6, 0.1))
    pipeline, shelf, _ = line(pre_seconds=1, post_seconds=2)
    play(pipeline, samples[: 4 * RATE_HZ])
    pipeline.gap(lost=RATE_HZ)
    play(pipeline, samples[4 * RATE_HZ :])
    ((described, _),) = shelf.clips[0].notes
    first, second = described["pieces"]
    assert first["stream_seconds"] + first["seconds"] == pytest.approx(4)
    assert second["stream_seconds"] == pytest.approx(5)
    assert second["clip_seconds"] == pytest.approx(first["seconds"])
    begin = clip_start(described)
    np.testing.assert_array_equal(shelf.heard[0], samples[begin : begin + round(described["seconds"] * RATE_HZ)])


@pytest.mark.parametrize("cleared", [False, True])
def test_a_clip_ends_where_the_device_goes_missing(line: Callable[..., Line], cleared: bool) -> None:
    """Nobody waits for a post-roll that may never come; an alarm that lasts is told again when it is over."""
    pipeline, shelf, _ = line(pre_seconds=1, post_seconds=5)
    play(pipeline, sound((3, 0.1), (2, 0.5), (1.0 if cleared else 0.01, 0.1)))
    assert shelf.clips[0].notes == []
    pipeline.missing("unplugged")
    pipeline.events_due()
    ((described, final),) = shelf.clips[0].notes
    assert final == cleared
    pipeline.gap(lost=3600 * RATE_HZ)
    play(pipeline, sound((3, 0.1)))
    assert [final for _, final in shelf.clips[0].notes] == [True] if cleared else [False, True]
    assert len(shelf.heard[0]) == round(described["seconds"] * RATE_HZ)


def test_the_sidecar_says_what_judged_and_what_carried_the_alarm(line: Callable[..., Line]) -> None:
    """Model, threshold with its origin, level, the scores of the windows in the clip, residuals at the peak."""
    pipeline, shelf, _ = line(pre_seconds=1, post_seconds=1)
    events = play(pipeline, sound((3, 0.1), (2, 0.5), (3, 0.1)))
    (raised,) = [event for event in events if event["event"] == "alarm_raised"]
    ((described, _),) = shelf.clips[0].notes
    assert described["alarm"] == raised["alarm"]
    assert (described["model"], described["model_fingerprint"]) == ("tiny", "f" * 64)
    assert (described["threshold"], described["threshold_origin"]) == (THRESHOLD, "site")
    assert described["residual"]["usual"] == [0.01]
    assert described["residual"]["peak"][0] == pytest.approx(described["peak_score"], rel=0.02)
    # A uniform amplitude a has the power a * a / 3; a sine of full scale 1 / 2. The raising window is loud in part.
    assert -40 < described["level_dbfs"] < 10 * np.log10(2 * 0.5**2 / 3) + 0.2
    ends = described["scores"]["stream_seconds"]
    begin = described["pieces"][0]["stream_seconds"]
    assert begin < ends[0] <= begin + 0.05 and begin + described["seconds"] - 0.05 < ends[-1]
    assert np.diff(ends) == pytest.approx(0.05)
    assert described["peak_score"] == pytest.approx(max(described["scores"]["score"]), rel=1e-5)


def test_a_new_model_ends_a_clip_and_judges_the_next(line: Callable[..., Line], tiny_model: Any) -> None:
    """As a reload does it, in an alarm: the first sidecar names the old model, the second the new one."""
    pipeline, shelf, _ = line(pre_seconds=1, post_seconds=1)
    play(pipeline, sound((3, 0.1), (2, 0.5)))
    (left_open,) = pipeline.close_alarm()
    metadata = tiny_model.metadata(threshold=THRESHOLD, decision=QUICK, model_fingerprint="e" * 64)
    rule = DecisionRule(THRESHOLD, QUICK, usual_score=0.0, origin="configuration")
    pipeline.use_model("new", metadata, pipeline.scorer, rule, report_scores=False)
    play(pipeline, sound((1, 0.5), (3, 0.1), seed=1))
    assert left_open["evidence"] == shelf.clips[0].name
    assert [len(clip.notes) for clip in shelf.clips] == [1, 1]
    described = [clip.notes[0][0] for clip in shelf.clips]
    assert [sidecar["model_fingerprint"][0] for sidecar in described] == ["f", "e"]
    assert [sidecar["threshold_origin"] for sidecar in described] == ["site", "configuration"]
    assert described[1]["pieces"][0]["stream_seconds"] < 5 < described[1]["alarm_start_seconds"] + 0.2


def test_the_channels_that_are_kept_are_the_models(line: Callable[..., Line]) -> None:
    """Of a source with three channels, those that the model takes, in its order."""
    samples = np.concatenate([sound((3, 0.1), (2, 0.5), (2, 0.1), seed=seed) for seed in range(3)], axis=1)
    pipeline, shelf, _ = line(intake=Intake(channels=(2, 0)), channels=2, pre_seconds=1, post_seconds=0)
    play(pipeline, samples)
    begin = clip_start(shelf.clips[0].notes[0][0])
    np.testing.assert_array_equal(shelf.heard[0], samples[begin:, [2, 0]][: len(shelf.heard[0])])


def test_what_is_remembered_of_sixteen_microphones_is_bounded(line: Callable[..., Line]) -> None:
    """With audio a pre-roll and a window of 16-bit samples each, whatever the time that passes; measured."""
    keepers = [line()[2] for _ in range(16)]
    second = sound((1, 0.1)).astype(np.float32) / 32768
    tracemalloc.start()
    for clips in keepers:
        for i in range(60):
            clips.add(i * RATE_HZ, second)
            clips.settle((i + 1) * RATE_HZ)
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # 10 s before the alarm, a window of 0.1 s, and 1 s of blocks that are not judged yet
    assert all(clips.nbytes == 11.1 * RATE_HZ * 2 for clips in keepers)
    assert used <= 16 * 11.1 * RATE_HZ * 2 * 1.05


def test_a_spectrogram_is_small_and_holds_no_samples(line: Callable[..., Line]) -> None:
    """Eight rows of 21 levels a second, in the memory as in the clip: 2 % of the samples."""
    pipeline, shelf, clips = line(mode="spectrogram", pre_seconds=2, post_seconds=1)
    play(pipeline, sound((30, 0.1)), 60)
    assert clips.nbytes < 4 * 8 * 21 * 4
    play(pipeline, sound((2, 0.5), (3, 0.1)))
    (levels,) = shelf.heard
    seconds = shelf.clips[0].notes[0][0]["seconds"]
    assert levels.shape == (round(8 * seconds), 21)
    assert shelf.clips[0].format.suffix == ""
    loud = levels[16:30].mean() - levels[:12].mean()
    assert loud == pytest.approx(20 * np.log10(5), abs=1.5)


@pytest.mark.parametrize("cuts", [1, 5, 333, 2001])
def test_a_spectrogram_is_the_same_however_the_stream_arrives(line: Callable[..., Line], cuts: int) -> None:
    """Blocks of a microphone are shorter than a step: its levels are those of the stream cut into steps."""
    samples = sound((3, 0.1), (2, 0.5), (4, 0.1))
    pipeline, shelf, _ = line(mode="spectrogram", pre_seconds=1, post_seconds=1)
    play(pipeline, samples, cuts)
    pipeline.finish()
    bands = BandLevels(RATE_HZ, step_seconds=0.125)
    every = bands.levels_db((samples.astype(np.float32) / 32768).reshape(-1, bands.step_samples, 1))[:, 0]
    first = clip_start(shelf.clips[0].notes[0][0]) // bands.step_samples
    np.testing.assert_allclose(shelf.heard[0], every[first : first + len(shelf.heard[0])], atol=1e-3)


@pytest.mark.parametrize(("rate_hz", "mode", "suffix"), [
    (50.0, "audio", ".npz"), (50.0, "spectrogram", ".npz"), (1000.0, "audio", ".npz"), (1000.0, "spectrogram", ""),
])  # fmt: skip
def test_sensor_rows_are_kept_where_no_voice_can_be_in_them(
    line: Callable[..., Line], rate_hz: float, mode: str, suffix: str
) -> None:
    """Rows as they are, but for fast ones with mode = "spectrogram"."""
    pipeline, shelf, _ = line(
        mode=mode, kind="sensor", channels=2, sample_rate_hz=rate_hz, window_samples=20, window_hop_samples=10
    )
    rows = np.random.default_rng(0).uniform(-1, 1, (2000, 2)).astype(np.float32)
    rows[:1500] *= 0.05
    judge(pipeline, rows)
    pipeline.finish()
    (clip,) = shelf.clips
    assert clip.format.suffix == suffix
    if suffix:
        begin = round(clip.notes[0][0]["pieces"][0]["stream_seconds"] * rate_hz)
        np.testing.assert_array_equal(shelf.heard[0], rows[begin : begin + len(shelf.heard[0])])


def test_the_name_of_a_clip_begins_with_the_source_and_the_time(line: Callable[..., Line]) -> None:
    """What a file name should not hold is replaced."""
    pipeline, shelf, _ = line()
    play(pipeline, sound((1, 0.5)))
    assert re.match(r"pump_7-\d{8}T\d{6}Z-[0-9a-f-]{36}\.json$", shelf.clips[0].name)
