"""The pure parts of an alarm's life: cooldown, latch, mutes, labels."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from dasvdd_runtime.alarms.book import Alarm, AlarmBook, AlarmState
from dasvdd_runtime.alarms.labels import Labels, find_recorded, labels_of, perhaps_faulty, with_recordings
from dasvdd_runtime.alarms.mutes import ALL, Mute, Mutes
from dasvdd_runtime.detector import DecisionSettings, Detector, Episode
from dasvdd_runtime.reading.manifest import Segment, find_segments
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

HOP_SECONDS = 0.5
PLAIN = DecisionSettings(smoothing_seconds=0.0, k=2, n=3, clear_ratio=0.8)
NOW = datetime(2026, 1, 1, tzinfo=UTC)
scores_strategy = st.lists(st.tuples(st.floats(0, 3), st.integers(1, 6)), min_size=1, max_size=25).map(
    lambda runs: [level for level, length in runs for _ in range(length)]
)


def episodes_of(scores: list[float], cooldown_seconds: float) -> list[Episode]:
    detector = Detector(
        threshold=1.0, settings=PLAIN, window_hop_seconds=HOP_SECONDS, cooldown_seconds=cooldown_seconds
    )
    decisions = [detector.update(i * HOP_SECONDS, score) for i, score in enumerate(scores)]
    return [episode for episode in (*(d.cleared for d in decisions), detector.finish()) if episode is not None]


@hypothesis_settings(deadline=None)
@given(scores_strategy, st.integers(0, 12))
def test_cooldown_is_what_a_plain_loop_makes_of_it(scores: list[float], cooldown_hops: int) -> None:
    """Rises and clears equal those of a loop over whole histories, written without the detector's counters."""
    expected, rise, quiet_until = [], None, 0
    for i in range(len(scores)):
        newest = scores[max(0, i - 2) : i + 1]
        if rise is None and sum(s > 1 for s in newest) >= 2 and i >= quiet_until:
            rise = i
        elif rise is not None and i >= 2 and all(s <= 0.8 for s in newest):
            expected.append((rise * HOP_SECONDS, i * HOP_SECONDS))
            rise, quiet_until = None, i + cooldown_hops
    if rise is not None:
        expected.append((rise * HOP_SECONDS, None))
    found = episodes_of(scores, cooldown_hops * HOP_SECONDS)
    assert [(episode.rise_seconds, episode.clear_seconds) for episode in found] == expected


@hypothesis_settings(deadline=None)
@given(scores_strategy, st.floats(0, 10))
def test_no_alarm_rises_within_the_cooldown(scores: list[float], cooldown_seconds: float) -> None:
    """Between a clear and the next rise lies the cooldown at least, and it never makes an alarm where none was."""
    found = episodes_of(scores, cooldown_seconds)
    for before, after in pairwise(found):
        assert before.clear_seconds is not None
        assert after.rise_seconds - before.clear_seconds >= cooldown_seconds - 1e-5
    assert len(found) <= len(episodes_of(scores, 0.0))


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), float("inf")])
def test_a_cooldown_that_cannot_work_is_refused(seconds: float) -> None:
    """It must be finite and 0 or more."""
    with pytest.raises(ValueError, match="cooldown_seconds"):
        episodes_of([0.0], seconds)


def raised(source: str = "pump7") -> dict[str, Any]:
    return {
        "event": "alarm_raised",
        "source": source,
        "stream_seconds": 10.0,
        "start_seconds": 9.0,
        "smoothed_score": 2.0,
        "threshold": 1.0,
        "model_fingerprint": "f",
    }


def cleared(source: str = "pump7") -> dict[str, Any]:
    return {
        "event": "alarm_cleared",
        "source": source,
        "stream_seconds": 20.0,
        "peak_seconds": 15.0,
        "peak_score": 3.0,
    }


def judged(alarm: Alarm, verdict: Any = "real") -> Alarm:
    return Alarm(**{**alarm.__dict__, "verdict": verdict})


@pytest.mark.parametrize("latch", [False, True])
@pytest.mark.parametrize("when", ["never", "before", "after"])
def test_a_latched_alarm_lasts_until_it_cleared_and_was_acknowledged(latch: bool, when: str) -> None:
    """In whichever order the two come; without latch, until it cleared."""
    book = AlarmBook(latch=latch)
    _, alarm = book.mark(raised(), now=NOW, muted=lambda source: False)
    assert alarm is not None
    if when == "before":
        assert book.acknowledge(judged(alarm)) is None
        assert book.in_progress("pump7") == [alarm.id]
    event, ended = book.mark(cleared(), now=NOW, muted=lambda source: False)
    assert ended is not None
    waits = latch and when != "before"
    assert (event["latched"], ended.state is AlarmState.LATCHED) == (waits, waits)
    if when == "after":
        released = book.acknowledge(judged(alarm))
        assert (released is not None) == latch
        waits = False
    assert book.in_progress("pump7") == ([alarm.id] if waits else [])


def test_an_alarm_that_grew_is_known_as_far_as_it_went() -> None:
    """The event names its alarm and whether it is muted, and the alarm has the new peak; without one it is left."""
    book = AlarmBook(latch=False)
    grew = {**cleared(), "event": "alarm_grew"}
    assert book.mark(grew, now=NOW, muted=lambda source: False) == (grew, None)
    _, alarm = book.mark(raised(), now=NOW, muted=lambda source: False)
    event, grown = book.mark(grew, now=NOW, muted=lambda source: True)
    assert alarm is not None and grown == replace(alarm, peak_seconds=15.0, peak_score=3.0)
    assert event == grew | {"alarm": alarm.id, "muted": True, "start_seconds": 9.0, "threshold": 1.0}
    assert book.in_progress("pump7") == [alarm.id]


@pytest.mark.parametrize("latch", [False, True])
def test_alarms_that_are_over_leave_nothing_in_memory(latch: bool) -> None:
    """However many are acknowledged after their end: a monitor runs for years."""
    book = AlarmBook(latch=latch)
    for _ in range(3):
        _, alarm = book.mark(raised(), now=NOW, muted=lambda source: False)
        book.mark(cleared(), now=NOW, muted=lambda source: False)
        assert alarm is not None
        book.acknowledge(judged(alarm))
    assert not book._acknowledged
    assert book.all_in_progress() == []


def test_what_a_monitor_left_is_latched_or_ended() -> None:
    """After a kill, an active alarm waits for its acknowledgement with latch, and has ended without."""
    book = AlarmBook(latch=False)
    _, alarm = book.mark(raised(), now=NOW, muted=lambda source: False)
    assert alarm is not None
    (ended,) = AlarmBook(latch=False).resume([alarm])
    assert ended.state is AlarmState.ENDED
    after = AlarmBook(latch=True)
    (latched,) = after.resume([alarm])
    assert latched.state is AlarmState.LATCHED
    assert after.latched("pump7") == 1


def a_mute(source: str = "pump7", seconds: float = 100.0, until: float = 1100.0) -> Mute:
    return Mute(f"{source} {until}", source, until, seconds)


@given(st.floats(-1e9, 1e9), st.floats(0, 99))
def test_setting_the_wall_clock_does_not_change_a_mute_in_force(jump: float, elapsed: float) -> None:
    """It lasts 100 s by the monotonic clock, and what is noted for a restart is what remains of them."""
    mutes = Mutes()
    (change,) = mutes.take([a_mute()], wall_seconds=1000.0, monotonic_seconds=5.0)
    assert change.began
    assert mutes.expire(5.0 + elapsed) == []
    assert mutes.muted("pump7") and not mutes.muted("fan")
    (noted,) = mutes.to_note(wall_seconds=1000.0 + jump, monotonic_seconds=5.0 + elapsed)
    assert noted.remaining_seconds == pytest.approx(100 - elapsed)
    assert noted.until - (1000.0 + jump) == pytest.approx(100 - elapsed)
    (over,) = mutes.expire(105.1)
    assert not over.began and not mutes.muted("pump7")


@given(st.floats(-1e9, 1e9))
def test_no_clock_makes_a_mute_longer_over_a_restart(wall_seconds: float) -> None:
    """Whatever the wall clock shows after a power cut, no more is left than was noted."""
    mutes = Mutes()
    mutes.take([a_mute(ALL)], wall_seconds=wall_seconds, monotonic_seconds=0.0)
    mutes.expire(100.1)
    assert not mutes.muted("pump7")


def test_a_mute_that_is_removed_or_replaced_ends() -> None:
    """Gone from the file: it ends by hand. Another in its place: that one counts."""
    mutes = Mutes()
    mutes.take([a_mute()], wall_seconds=1000.0, monotonic_seconds=0.0)
    (change,) = mutes.take([a_mute(until=1050.0)], wall_seconds=1000.0, monotonic_seconds=0.0)
    assert change.began and change.mute.remaining_seconds == 50
    (change,) = mutes.take([], wall_seconds=1010.0, monotonic_seconds=10.0)
    assert not change.began and change.reason == "ended by hand"


def an_alarm(number: int, verdict: Any, *, recording: Path | None, start: float, end: float) -> Alarm:
    return Alarm(
        id=str(number),
        source="pump 7",
        model_fingerprint="f",
        state=AlarmState.CLEARED,
        raised_at=NOW,
        ended_at=NOW + timedelta(seconds=30),
        start_seconds=start,
        peak_seconds=start,
        peak_score=2.0,
        end_seconds=end,
        threshold=1.0,
        muted=False,
        recording=None if recording is None else str(recording),
        verdict=verdict,
    )


def test_the_newest_of_two_verdicts_on_one_sound_is_written(tmp_path: Path) -> None:
    """One part of a recording cannot both be trained on and be a fault; the older alarm is named and left out."""
    path = tmp_path / "a.wav"
    path.touch()
    older, newer = (an_alarm(i, v, recording=path, start=1, end=5) for i, v in enumerate(["real", "false"]))
    labels = labels_of([newer, older], [])
    assert [(part.role, part.start_seconds, part.end_seconds) for part in labels.segments] == [("train", 1, 5)]
    assert [alarm.id for alarm, _ in labels.left_out] == ["0"]


def test_a_live_alarm_is_found_in_what_was_recorded_beside_it(tmp_path: Path) -> None:
    """It ended 30 s into the year and lasted 4 s: in a file that began with the year, it lies from 26 s to 30 s."""
    soundfile.write(tmp_path / "pump_7-20260101T000000.000Z.wav", np.zeros(60 * 8000), 8000)
    soundfile.write(tmp_path / "fan-20260101T000000.000Z.wav", np.zeros(60 * 8000), 8000)
    live = an_alarm(0, "real", recording=None, start=101, end=105)
    (part,) = labels_of([live], find_recorded(tmp_path)).segments
    assert (part.path.name, part.start_seconds, part.end_seconds) == ("pump_7-20260101T000000.000Z.wav", 26, 30)
    ((_, reason),) = labels_of([live], []).left_out
    assert "record" in reason


@pytest.mark.parametrize(
    ("change", "left_out"),
    [
        ({"verdict": "real"}, "a real alarm is in it"),
        ({"verdict": "unknown"}, "an alarm that was judged unknown is in it"),
        ({"verdict": None}, "an alarm that nobody has judged is in it"),
        ({"verdict": None, "ended_at": None, "end_seconds": None}, "an alarm that nobody has judged is in it"),
        ({"verdict": "false"}, ""),
        ({"verdict": None, "source": "pump8"}, ""),
    ],
)
def test_only_an_alarm_judged_false_leaves_its_recording_to_be_trained_on(
    tmp_path: Path, change: dict[str, Any], left_out: str
) -> None:
    """What is real, unknown, not judged or not over would be learnt as healthy; the day's other recordings train."""
    for day in ("20260101", "20260102"):
        soundfile.write(tmp_path / f"pump_7-{day}T000000.000Z.wav", np.zeros(60 * 8000), 8000)
    live = replace(an_alarm(0, "real", recording=None, start=101, end=105), **change)
    faulty = perhaps_faulty([live], find_recorded(tmp_path))
    segments, without = with_recordings(Labels([], []), find_segments(tmp_path), faulty)
    kept = [part.path.name[7:15] for part in segments]
    assert kept == (["20260102"] if left_out else ["20260101", "20260102"])
    assert all(left_out in reason for _, reason in without)


def test_a_replay_trains_on_no_part_with_an_alarm_that_nobody_judged(tmp_path: Path) -> None:
    """Of a manifest's parts of one file only that with the alarm is left out, with the command that judges it."""
    path = tmp_path / "a.wav"
    path.touch()
    faulty = perhaps_faulty([an_alarm(0, None, recording=path, start=3, end=5)], [])
    parts = [Segment(path, 0, 2), Segment(path, 2, 4), Segment(path, 5, 9), Segment(path, 4, 5, role="test_anomalous")]
    segments, ((left_out, reason),) = with_recordings(Labels([], []), parts, faulty)
    assert segments == [parts[0], parts[2], parts[3]]
    assert left_out == path and "dasvdd-monitor ack 0 --verdict false" in reason
