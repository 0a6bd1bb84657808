"""A CSV file that another program writes, rotates, truncates and removes."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from dasvdd_runtime import cli
from dasvdd_runtime.condition.levels import baseline_of
from dasvdd_runtime.errors import DataError
from dasvdd_runtime.logs import LINES
from dasvdd_runtime.sources import source_at
from dasvdd_runtime.sources.base import Source, SourceLost
from dasvdd_runtime.sources.rate_watch import RateWatch
from dasvdd_runtime.sources.row_tables import CsvTailTable
from monitor_child import MonitorChild

Capturing = Callable[..., Any]


def tail(path: Path, *, names: list[str] | None = None, **settings: Any) -> Source:
    """A source of ten rows a second, of the one channel x unless `names` says otherwise."""
    table = CsvTailTable.model_validate({"name": "t", "kind": "csv_tail", "path": path} | settings)
    return source_at(table, sample_rate_hz=10.0, channel_names=names or ["x"])


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def test_rows_that_are_added_are_read_and_those_before_are_not(tmp_path: Path, captured: Capturing) -> None:
    """Columns by the header's names; what stood in the file is history; a line counts once it is complete."""
    path = tmp_path / "log.csv"
    append(path, "note;y;x\nold;1;2\nold;3;4\nhalf;5")
    source = captured(tail(path, names=["x", "y"]))
    source.pause(0.4)
    append(path, ";6\nnew;7;8\nnew;9;1")
    source.wait(lambda: len(source.samples) > 0)
    source.pause(0.5)
    np.testing.assert_array_equal(source.rows, [[6, 5], [8, 7]])
    append(path, "0\n")
    source.wait(lambda: len(source.rows) == 3)
    np.testing.assert_array_equal(source.rows[2], [10, 9])


def test_nothing_is_lost_over_a_rotation(tmp_path: Path, captured: Capturing) -> None:
    """The renamed file is read to its end, also what is added late, then the new one, with the header that it has."""
    path = tmp_path / "log.csv"
    append(path, "x,y\n")
    source = captured(tail(path))
    source.pause(0.3)
    append(path, "1,-1\n")
    path.rename(tmp_path / "log.csv.1")
    append(tmp_path / "log.csv.1", "2,-2\n")
    source.pause(0.3)
    append(tmp_path / "log.csv.1", "3,-3\n")
    append(path, "y,x\n-4,4\n-5,5\n")
    source.wait(lambda: len(source.first_channel) >= 5)
    assert source.first_channel == [1, 2, 3, 4, 5]
    assert source.missing == []


@pytest.mark.parametrize("truncate", [True, False], ids=["truncated", "replaced"])
def test_a_file_that_begins_anew_is_read_from_its_start(tmp_path: Path, captured: Capturing, truncate: bool) -> None:
    """Its half line belongs to nothing that follows."""
    path = tmp_path / "log.csv"
    append(path, "x\n")
    source = captured(tail(path))
    source.pause(0.3)
    append(path, "1\n2\n3\n4.5")
    source.wait(lambda: len(source.first_channel) == 3)
    if truncate:
        os.truncate(path, 0)
    else:
        path.unlink()
    append(path, "x\n6\n")
    source.wait(lambda: len(source.first_channel) == 4)
    assert source.first_channel == [1, 2, 3, 6]


def test_a_file_that_is_not_there_is_missing_until_it_is(tmp_path: Path, captured: Capturing) -> None:
    """It is waited for, and then read from its first row."""
    path = tmp_path / "log.csv"
    source = captured(tail(path))
    source.wait(lambda: source.missing != [])
    assert "no such file" in source.missing[0]
    append(path, "x\n1\n2\n")
    source.wait(lambda: len(source.first_channel) == 2)
    assert source.first_channel == [1, 2]


def test_a_file_that_is_removed_is_read_anew_from_its_start(tmp_path: Path, captured: Capturing) -> None:
    """MISSING after the time that a rotation may take."""
    path = tmp_path / "log.csv"
    append(path, "x\n")
    source = captured(tail(path))
    source.pause(0.2)
    path.unlink()
    source.wait(lambda: source.missing != [])
    assert "was removed; waiting for a new file of that name" in source.missing[0]
    append(path, "x\n3\n")
    source.wait(lambda: len(source.first_channel) == 1)
    assert source.first_channel == [3]


def test_a_rotated_file_that_cannot_be_opened_yet_is_gone_on_with(tmp_path: Path) -> None:
    """After the fault the new file is read from its start, and a file that others opened meanwhile stays open."""
    path = tmp_path / "log.csv"
    append(path, "x\n")
    source = tail(path)
    source.open()
    source.read()
    path.rename(tmp_path / "log.csv.1")
    os.mkfifo(path)  # as good as a file that this user may not read yet, and it fails for root, too
    with pytest.raises(SourceLost, match="no file that grows"):
        source.read()
    with (tmp_path / "of_another_thread").open("w") as other:
        source.close()
        assert os.fstat(other.fileno()).st_ino == (tmp_path / "of_another_thread").stat().st_ino
        path.unlink()
        append(path, "x\n1\n2\n")
        source.open()
        blocks = [source.read() for _ in range(3)]
        source.close()
    assert [block.samples.tolist() for block in blocks if block is not None and len(block.samples)] == [[[1.0], [2.0]]]


def test_a_stall_does_not_move_the_place_in_the_file(tmp_path: Path, captured: Capturing) -> None:
    """Opened again since nothing came, it goes on after the last row, in the middle of a line too, behind a gap."""
    path = tmp_path / "log.csv"
    append(path, "x\n")
    source = captured(tail(path), stall_seconds=0.3)
    source.pause(0.3)
    append(path, "1\n2")
    source.wait(lambda: source.missing != [])
    append(path, "3\n4\n")
    source.wait(lambda: len(source.first_channel) == 3)
    assert source.first_channel == [1, 23, 4]
    assert [part.gap for part in source.samples] == [False, True]


def test_an_outage_is_one_gap_where_rows_have_times(tmp_path: Path, captured: Capturing) -> None:
    """The last row before it, which is decided by the first one behind it, belongs to those before."""
    path = tmp_path / "log.csv"
    append(path, "x,time\n")
    source = captured(tail(path, time_column="time"), stall_seconds=0.3)
    source.pause(0.3)
    append(path, "".join(f"{i},{i / 10}\n" for i in range(10)))
    source.wait(lambda: source.missing != [])
    append(path, "".join(f"{i},{i / 10}\n" for i in range(60, 70)))
    source.wait(lambda: source.first_channel[-1] == 68)
    assert [(part.gap, part.lost) for part in source.samples if part.gap or part.lost] == [(True, 48)]


@pytest.mark.parametrize("column", ["time", "2"])
def test_the_time_column_places_the_rows(tmp_path: Path, captured: Capturing, column: str) -> None:
    """Ten rows a second of the file's own clock, in one burst; two seconds without rows are lost, and are a gap."""
    path = tmp_path / "log.csv"
    append(path, "x,time\n" if column == "time" else "")
    source = captured(tail(path, time_column=column))
    source.pause(0.3)
    stamps = [f"2026-03-09T10:{i // 600:02}:{(i // 10) % 60:02}.{i % 10}00" for i in range(60)]
    append(path, "".join(f"{i},{stamps[i]}\n" for i in range(60) if not 20 <= i < 40))
    source.wait(lambda: source.lost > 0)
    assert source.first_channel == [*range(20), 19, 19, *range(40, 59)]
    assert source.lost == 18
    gaps = [part for part in source.samples if part.lost]
    assert (len(gaps), gaps[0].gap, gaps[0].samples[0, 0]) == (1, True, 40)


def test_what_cannot_be_read_is_never_normal(
    tmp_path: Path, captured: Capturing, limited_log: pytest.LogCaptureFixture
) -> None:
    """A word for a number, a row of another length, a time that is none: each is NaN, and the log stays short."""
    path = tmp_path / "log.csv"
    append(path, "time,x\n")
    source = captured(tail(path, time_column="time"))
    source.pause(0.3)
    append(path, "0.0,1\n0.1,oops\n0.2,1\n" + "noon,1\n" * 1000 + "0.3,1\n0.4,1\n0.5\n0.6,1\n0.7,1\n0.8,1\n")
    source.wait(lambda: len(source.first_channel) >= 8)
    assert np.flatnonzero(np.isnan(source.first_channel)).tolist() == [1, 3, 6]
    assert "'noon', cannot be read" in limited_log.text
    assert len(limited_log.records) <= LINES


def test_rows_of_which_none_can_be_read_say_why_the_source_is_missing(tmp_path: Path, captured: Capturing) -> None:
    """Their times cannot be told, so that no row of NaN stands for them: three columns are expected, two come."""
    path = tmp_path / "log.csv"
    append(path, "time,x,y\n")
    source = captured(tail(path, names=["x", "y"], time_column="time", stall_seconds=0.3))

    def writes() -> bool:
        append(path, "0.1,1\n")
        return source.missing != []

    source.wait(writes, seconds=5)
    assert "it is there, but what it gives cannot be used" in source.missing[0]
    assert "has 2 columns, the first has 3: '0.1,1'" in source.missing[0]
    assert source.samples == []


def test_a_header_among_the_rows_is_the_header_from_there_on(
    tmp_path: Path, captured: Capturing, caplog: pytest.LogCaptureFixture
) -> None:
    """What a restarted logger writes into its file; the same is no news, another order is told once with both."""
    path = tmp_path / "log.csv"
    append(path, "x,note,y\n")
    source = captured(tail(path, names=["x", "y"]))
    source.pause(0.3)
    append(path, "1,a,2\nx,note,y\n3,a,4\n# y;x\n6;5,5\n8;7\n")
    source.wait(lambda: len(source.first_channel) >= 4)
    np.testing.assert_array_equal(source.rows, [[1, 2], [3, 4], [5.5, 6], [7, 8]])
    assert caplog.text.count("columns were x, note, y; now they are y, x") == caplog.text.count("another header") == 1


@pytest.mark.parametrize(
    ("settings", "header"),
    [({}, "x"), ({"time_column": "time"}, "time,x,z"), ({"time_column": "time"}, "Time,y,x")],
)
def test_no_row_below_a_header_that_lacks_a_channel_is_scored(
    tmp_path: Path, captured: Capturing, settings: dict[str, str], header: str
) -> None:
    """MISSING with both lists, until a header that fits; the rows above it are read."""
    path = tmp_path / "log.csv"
    timed = bool(settings)
    append(path, "time,x,y\n" if timed else "x,y\n")
    source = captured(tail(path, names=["x", "y"], **settings))
    source.pause(0.3)

    def rows(first: int) -> str:
        return "".join(f"{i / 10},{i},{-i}\n" if timed else f"{i},{-i}\n" for i in range(first, first + 3))

    append(path, f"{rows(1)}{header}\n{rows(11)}")
    source.wait(lambda: len(source.missing) > 0)
    wanted = "time_column = 'time'" if "Time" in header else "x, y"
    assert all(header.replace(",", ", ") in reason and wanted in reason for reason in source.missing)
    append(path, rows(21) + ("time,y,x\n" if timed else "y,x\n") + rows(31))
    source.wait(lambda: source.first_channel[-1] < -30)
    finite = source.rows[np.isfinite(source.rows).all(axis=1)]
    assert {abs(value) for value in finite[:, 0]} <= {1, 2, 3, 31, 32, 33}


def test_a_first_header_that_does_not_fit_is_not_forgotten(tmp_path: Path, captured: Capturing) -> None:
    """Opened again, the source does not take the rows below it by place."""
    path = tmp_path / "log.csv"
    append(path, "a,b\n")
    source = captured(tail(path, names=["x", "y"]))
    source.wait(lambda: len(source.missing) == 1)
    append(path, "1,2\n3,4\n")
    source.wait(lambda: len(source.missing) == 2)
    assert source.samples == []


def test_columns_that_do_not_fit_and_pipes_are_told(tmp_path: Path) -> None:
    """The error names the columns that are there, those that are wanted, and the kind for what is no file."""
    path = tmp_path / "log.csv"
    path.write_text("a,b,c\n1,2,3\n")
    for settings, says in (({}, r"3 columns \(a, b, c\).*takes 1 \(x\)"), ({"time_column": "t"}, "time_column = 't'")):
        source = tail(path, **settings)
        source.open()
        with pytest.raises(DataError, match=says):
            source.read()
        source.close()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SourceLost, match='kind = "command"'):
        tail(tmp_path / "pipe").open()


@pytest.mark.parametrize(
    ("keys", "stall_seconds", "silent_seconds"),
    [
        ({}, 5, 10),
        ({"max_gap_seconds": 1.0}, 5, 10),
        ({"max_gap_seconds": 60}, 60, 120),
        ({"max_gap_seconds": 60, "silent_seconds": 30.0}, 60, 30),
    ],
)
def test_slow_rows_are_neither_a_stall_nor_silence(
    keys: dict[str, float], stall_seconds: float, silent_seconds: float
) -> None:
    """What may lie apart for long is waited for as long, unless the table says otherwise."""
    table = CsvTailTable.model_validate({"name": "t", "kind": "csv_tail", "path": "log.csv"} | keys)
    assert (table.stall_seconds, table.silent_seconds) == (stall_seconds, silent_seconds)


def test_the_monitor_counts_and_alarms_by_the_times_of_rows(tiny_model: Any, tmp_path: Path) -> None:
    """The real program, from an absent file over a rotation and a minute without rows to an alarm in it."""
    tiny_model(
        kind="sensor", channels=1, channel_names=["x"], sample_rate_hz=10.0, window_samples=20, window_hop_samples=10
    )
    source = '[[source]]\nname = "fan"\nkind = "csv_tail"\npath = "log.csv"\ntime_column = "time"\n'
    (tmp_path / "monitor.toml").write_text(f'[model]\npath = "model.onnx"\n{source}[events]\nscores = true\n')
    random = np.random.default_rng(0)

    def rows(first_seconds: float, amplitude: float) -> str:
        values = amplitude * random.uniform(-1, 1, 300)
        return "time,x\n" + "".join(f"{first_seconds + i / 10:.1f},{value:.4f}\n" for i, value in enumerate(values))

    path = tmp_path / "log.csv"
    child = MonitorChild(tmp_path / "monitor.toml")
    try:
        assert child.wait_for("source_state")["state"] == "MISSING"
        append(path, rows(1e9, 0.1))
        child.wait_for("score", count=28)
        path.rename(tmp_path / "log.csv.1")
        append(path, rows(1e9 + 30, 0.1))
        child.wait_for("score", count=58)
        append(path, rows(1e9 + 120, 2.0).removeprefix("time,x\n"))
        alarm = child.wait_for("alarm_raised")
        assert child.stop() == 0
    finally:
        child.kill()
    assert 120 < alarm["stream_seconds"] < 135
    summary = child.of_kind("summary")[-1]
    assert (summary["lost_seconds"], summary["gaps"]) == (pytest.approx(60, abs=0.5), 1)
    assert summary["windows_scored"] == pytest.approx(58 + 28, abs=2)


def test_a_backlog_is_judged_whole_and_is_no_overload(tiny_model: Any, tmp_path: Path) -> None:
    """The real program, and a file of 400 000 rows that appears at once: every window counts, nothing was dropped."""
    tiny_model(
        kind="sensor", channels=1, channel_names=["x"], sample_rate_hz=10.0, window_samples=20, window_hop_samples=10
    )
    source = '[[source]]\nname = "fan"\nkind = "csv_tail"\npath = "log.csv"\n'
    (tmp_path / "monitor.toml").write_text(f'[model]\npath = "model.onnx"\n{source}[events]\nscores = true\n')
    child = MonitorChild(tmp_path / "monitor.toml")
    try:
        assert child.wait_for("source_state")["state"] == "MISSING"
        values = np.random.default_rng(0).uniform(-0.1, 0.1, 400_000)
        (tmp_path / "all.csv").write_text("x\n" + "".join(f"{value:.4f}\n" for value in values))
        (tmp_path / "all.csv").rename(tmp_path / "log.csv")
        for count in [*range(1000, 40_000, 1000), 39_999]:
            child.wait_for("score", count=count)
        assert child.stop() == 0
    finally:
        child.kill()
    assert child.of_kind("overload") == []
    summary = child.of_kind("summary")[-1]
    assert (summary["gaps"], summary["lost_seconds"], summary["dropped_seconds"]) == (0, 0, 0)
    said = b"".join(child.errors)
    assert said.count(b"catching up") == 1 and said.count(b"caught up") == 1


def test_rows_without_times_at_another_rate_are_told(
    tmp_path: Path, captured: Capturing, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half as many rows a second as the model's, evenly: both rates are named once."""
    monkeypatch.setattr(RateWatch, "STRETCH_SECONDS", 0.8)
    monkeypatch.setattr(RateWatch, "STRETCH_SAMPLES", 1)
    monkeypatch.setattr(RateWatch, "TOLERANCE", 0.2)  # a busy machine writes and reads less evenly
    path = tmp_path / "log.csv"
    append(path, "x\n")
    source = captured(tail(path))
    begin = time.monotonic()

    def told() -> list[str]:
        return [record.getMessage() for record in caplog.records if "rows come at" in record.getMessage()]

    def write(number: int) -> None:
        append(path, f"{number}\n")
        time.sleep(max(0.0, begin + 0.2 * (number + 1) - time.monotonic()))

    count = 0
    while not told() and count < 300:
        write(count)
        count += 1
    for number in range(count, count + 10):
        write(number)
    source.wait(lambda: source.first_channel[-1:] == [count + 9.0])
    (words,) = told()
    assert "log.csv: rows come at" in words and "the model was trained at 10 Hz" in words
    assert 3 < float(words.split("come at ")[1].split()[0]) < 7


def test_check_listens_to_a_file_that_grows(tiny_model: Any, tmp_path: Path) -> None:
    """A model of two channels at 20 Hz and a program that writes such rows: fit to run."""
    random = np.random.default_rng(0)
    healthy = random.standard_normal((2000, 2)).astype(np.float32)
    baseline = baseline_of([healthy], 20.0, kind="sensor", used_channels=[0, 1])
    names = ["x", "y"]
    tiny_model(
        kind="sensor", channels=2, channel_names=names, sample_rate_hz=20.0, window_samples=20, baseline=baseline
    )
    source = '[[source]]\nname = "fan"\nkind = "csv_tail"\npath = "log.csv"\ntime_column = "time"\n'
    (tmp_path / "monitor.toml").write_text(f'[model]\npath = "model.onnx"\n{source}')
    (tmp_path / "log.csv").write_text("time,x,y\n")
    ended = threading.Event()

    def write() -> None:
        number = 0
        while not ended.wait(0.05):
            append(tmp_path / "log.csv", f"{time.time():.3f},{healthy[number, 0]},{healthy[number, 1]}\n")
            number += 1

    writer = threading.Thread(target=write)
    writer.start()
    result = CliRunner().invoke(cli.main, ["check", str(tmp_path / "monitor.toml"), "--seconds", "3"])
    ended.set()
    writer.join()
    assert result.exit_code == 0, result.output
    assert f"s at 20 Hz from the end of {tmp_path / 'log.csv'}" in result.output
