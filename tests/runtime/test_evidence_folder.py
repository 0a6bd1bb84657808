"""The directory of the clips within its bounds, and a disk that is too slow."""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dasvdd_runtime.evidence import writer as writer_module
from dasvdd_runtime.evidence.clip_file import ClipFormat
from dasvdd_runtime.evidence.folder import EvidenceFolder, NoRoom, remove_leftovers, sidecars, stem_of
from dasvdd_runtime.evidence.kept import KeptClip, kept_clips
from dasvdd_runtime.evidence.tables import EvidenceTable
from dasvdd_runtime.evidence.writer import ClipWriter
from small_disk import run_on_small_disk

NOW = datetime(2026, 6, 1, tzinfo=UTC)
DAY = 86400


def a_folder(path: Path, **bounds: Any) -> EvidenceFolder:
    return EvidenceFolder(path, EvidenceTable(**{"min_free_bytes": 0, **bounds}), now=lambda: NOW)


def put(path: Path, *, size: int = 1000, days_old: float = 0.0, raised_at: datetime = NOW) -> str:
    """A clip of `size` bytes in all; its stem."""
    stem = stem_of("pump7", str(uuid.uuid4()), raised_at)
    written_at = NOW.timestamp() - DAY * days_old
    for suffix, content in ((".flac", bytes(size - 2)), (".json", b"{}")):
        (path / f"{stem}{suffix}").write_bytes(content)
        os.utime(path / f"{stem}{suffix}", (written_at, written_at))
    return stem


def stems(path: Path) -> set[str]:
    assert {file.stem for file in path.glob("*.flac")} == {file.stem for file in path.glob("*.json")}
    return {file.stem for file in path.glob("*.json")}


def test_the_oldest_clips_make_room_for_a_new_one(tmp_path: Path) -> None:
    """Whole clips go, the oldest first, and only as many as it takes."""
    clips = [put(tmp_path, size=300_000, days_old=age) for age in (1, 3, 2, 4)]
    folder = a_folder(tmp_path, max_bytes=1_000_000)
    folder.make_room(50_000)
    assert stems(tmp_path) == {clips[0], clips[1], clips[2]}
    folder.make_room(401_000)
    assert stems(tmp_path) == {clips[0]}


def test_a_clip_that_can_never_fit_removes_nothing(tmp_path: Path) -> None:
    """Larger than max_bytes: refused with both numbers, and the others stay."""
    clip = put(tmp_path)
    with pytest.raises(NoRoom, match=r"2000000 bytes.*1000000"):
        a_folder(tmp_path, max_bytes=1_000_000).make_room(2_000_000)
    assert stems(tmp_path) == {clip}


def test_old_clips_are_removed_though_no_alarm_comes(tmp_path: Path) -> None:
    """The writer looks at its start already."""
    young, _ = put(tmp_path, days_old=6.9), put(tmp_path, days_old=7.1)
    writer = ClipWriter(a_folder(tmp_path, max_days=7))
    deadline = time.monotonic() + 5
    while len(list(tmp_path.iterdir())) > 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    writer.close()
    assert stems(tmp_path) == {young}


def test_after_the_clock_was_set_back_the_newest_clips_still_go_last(tmp_path: Path) -> None:
    """Two clips were written when the clock was an hour ahead of now: the two that follow are newer all the same."""
    ahead = [put(tmp_path, days_old=(NOW.timestamp() - time.time() - later) / DAY) for later in (3600, 3601)]
    writer = ClipWriter(a_folder(tmp_path, max_bytes=1_000_000))
    clips = [begin(writer) for _ in range(2)]
    for clip in clips:
        clip.append(second(0))
        clip.note(DESCRIBED, final=True)
    writer.close()
    new = [clip.name.removesuffix(".json") for clip in clips]
    for gone, clip in enumerate([*ahead, new[0]]):
        assert stems(tmp_path) == {*ahead[gone:], *new}
        others = sum(path.stat().st_size for path in tmp_path.iterdir() if path.stem != clip)
        a_folder(tmp_path, max_bytes=1_000_000).make_room(1_000_000 - others)
    assert stems(tmp_path) == {new[1]}


def test_a_clock_that_was_wrong_keeps_no_clip_for_ever_and_ends_none_early(tmp_path: Path) -> None:
    """A file dated later than now is as old as its alarm; one of a clock that was behind is as old as its file."""
    old, ahead, behind = NOW - timedelta(days=8), NOW + timedelta(days=5000), datetime(1970, 1, 1, tzinfo=UTC)
    put(tmp_path, days_old=-5000, raised_at=old)
    kept = {put(tmp_path, days_old=-5000, raised_at=ahead), put(tmp_path, days_old=1, raised_at=behind)}
    a_folder(tmp_path, max_days=7).remove_old()
    assert stems(tmp_path) == kept


@pytest.mark.parametrize("look", [1, 2])
def test_a_clip_that_goes_while_the_folder_is_counted_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, look: int
) -> None:
    """`check` counts the clips of a monitor that runs and removes old ones meanwhile: before any look at a file."""
    put(tmp_path, size=1000)
    gone = tmp_path / f"{put(tmp_path, size=5000)}.flac"
    looks = iter(range(1, 10))
    stat = Path.stat

    def stat_while_it_goes(path: Path, **options: Any) -> os.stat_result:
        if path == gone and next(looks) == look:
            gone.unlink()
        return stat(path, **options)

    monkeypatch.setattr(Path, "stat", stat_while_it_goes)
    assert a_folder(tmp_path).used_bytes() < 6001


def test_what_is_not_a_clip_is_never_removed(tmp_path: Path) -> None:
    """Other files, folders and names that are nearly those of clips survive every bound and every start."""
    alarm = uuid.uuid4()
    others = ["notes.json", f"{alarm}.json", f"pump7-{alarm}.flac", f"pump7-20260601T000000Z-{alarm}.wav", ".hidden",
              f"pump7-20260601T000000Z-{alarm}.json.bak", ".pump7.flac.partial", "monitor.lock"]  # fmt: skip
    for name in others:
        (tmp_path / name).write_bytes(bytes(500_000))
        os.utime(tmp_path / name, (0, 0))
    (tmp_path / f"folder-20260601T000000Z-{alarm}.json").mkdir()
    folder = a_folder(tmp_path, max_bytes=1_000_000, max_days=1)
    remove_leftovers(tmp_path)
    folder.make_room(900_000)
    assert {path.name for path in tmp_path.iterdir() if path.is_file()} == set(others)


def test_leftovers_of_a_kill_are_removed_at_the_start(tmp_path: Path) -> None:
    """Temporary files, and samples that no sidecar lists."""
    clip, orphan = put(tmp_path), put(tmp_path)
    (tmp_path / f"{orphan}.json").unlink()
    for name in (f".{orphan}.flac.partial", f".{orphan}.npz.partial", f".{orphan}.json.x8_k2a"):
        (tmp_path / name).touch()
    remove_leftovers(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {f"{clip}.flac", f"{clip}.json"}


FREE_ROOM = """
import sys
from pathlib import Path
from test_evidence_folder import NoRoom, a_folder, put, stems
path = Path(sys.argv[1])
clips = [put(path, size=1_000_000, days_old=age) for age in (3, 2, 1)]
a_folder(path, min_free_bytes=4_000_000).make_room(0)
assert stems(path) == {clips[2]}, stems(path)
(path / "other").write_bytes(bytes(3_500_000))
try:
    a_folder(path, min_free_bytes=4_000_000).make_room(0)
except NoRoom as error:
    print(error, stems(path), (path / "other").exists())
"""


def test_room_is_left_on_the_disk(tmp_path: Path) -> None:
    """On a small tmpfs the oldest clips go until enough is free; where others fill it, none is written."""
    printed = run_on_small_disk(tmp_path, "size=5m", "-c", FREE_ROOM, tmp_path)
    assert "min_free_bytes is 4000000 set() True" in printed


class SlowFolder(EvidenceFolder):
    """A disk that does not answer while it is held."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, EvidenceTable(min_free_bytes=0), now=lambda: NOW)
        self._free_to_go = threading.Event()
        self._free_to_go.set()

    @contextmanager
    def held(self) -> Iterator[None]:
        self._free_to_go.clear()
        yield
        self._free_to_go.set()

    def make_room(self, size: int) -> None:
        self._free_to_go.wait()
        super().make_room(size)


FORMAT = ClipFormat(".flac", 16000.0, ("channel 0",))
DESCRIBED = {"seconds": 1.0, "pieces": [{"clip_seconds": 0.0, "stream_seconds": 5.0, "seconds": 1.0}]}


def begin(writer: ClipWriter) -> Any:
    alarm = str(uuid.uuid4())
    return writer.begin(stem_of("pump7", alarm, NOW), FORMAT, source="pump7", alarm=alarm)


def second(seed: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).integers(-3000, 3000, (16000, 1)).astype(np.int16)


def test_a_disk_that_hangs_holds_up_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """No call waits for it; what exceeds the queue is given up and said once; then clips are kept again."""
    monkeypatch.setattr(writer_module, "QUEUE_BYTES", 10 * 32000)
    folder = SlowFolder(tmp_path)
    writer = ClipWriter(folder)
    clips = [begin(writer) for _ in range(3)]
    with folder.held():
        started = time.monotonic()
        for clip in clips:
            for i in range(8):
                clip.append(second(i))
            clip.note(DESCRIBED, final=True)
        assert time.monotonic() - started < 2
    last = begin(writer)
    deadline = time.monotonic() + 5
    while not sidecars(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.01)
    last.append(second(9))
    last.note(DESCRIBED, final=True)
    writer.close()
    told = {event["alarm"]: event["event"] for event in writer.results()}
    assert [told[clip.alarm] for clip in [*clips, last]] == [
        "evidence_kept",
        "evidence_lost",
        "evidence_lost",
        "evidence_kept",
    ]
    assert clips[1].lost is not None and "too slow" in clips[1].lost
    assert stems(tmp_path) == {clip.name.removesuffix(".json") for clip in (clips[0], last)}
    assert not list(tmp_path.glob(".*"))
    assert [record.levelname for record in caplog.records].count("ERROR") == 1


def test_a_replay_waits_for_the_disk_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A patient writer takes what exceeds its queue as the disk takes it."""
    monkeypatch.setattr(writer_module, "QUEUE_BYTES", 40000)
    writer = ClipWriter(a_folder(tmp_path), patient=True)
    clips = [begin(writer) for _ in range(4)]
    for i in range(20):
        for clip in clips:
            clip.append(second(i))
    for clip in clips:
        clip.note(DESCRIBED, final=True)
    writer.close()
    assert [event["event"] for event in writer.results()] == ["evidence_kept"] * 4


def test_a_clip_whose_samples_are_gone_is_no_recording(tmp_path: Path) -> None:
    """Commands pass over what is damaged, and over sidecars whose file is not beside them."""
    writer = ClipWriter(a_folder(tmp_path))
    clips = [begin(writer) for _ in range(3)]
    for clip in clips:
        clip.append(second(0))
        clip.note(DESCRIBED, final=True)
    writer.close()
    (tmp_path / clips[1].name).with_suffix(".flac").unlink()
    (tmp_path / clips[2].name).write_bytes(b'{"file": ')
    assert set(kept_clips(tmp_path)) == {clips[0].alarm}
    assert set(sidecars(tmp_path)) == {clip.alarm for clip in clips}
    assert sidecars(tmp_path / "nowhere") == {}


@pytest.mark.parametrize(("start", "end", "place"), [
    (100.0, 104.0, (10.0, 14.0)),
    (85.0, 95.0, (0.0, 5.0)),  # it began before the clip
    (108.0, 130.0, (20.0, 30.0)),  # over the gap: the longer side
    (50.0, 60.0, None),
])  # fmt: skip
def test_an_alarm_is_found_in_its_clip(start: float, end: float, place: Any) -> None:
    """A clip of 20 s of the stream from 90 s on, and of 10 s from 120 s on."""
    clip = KeptClip(Path("a.flac"), ((0.0, 90.0, 20.0), (20.0, 120.0, 10.0)))
    assert clip.place_of(start, end) == place
