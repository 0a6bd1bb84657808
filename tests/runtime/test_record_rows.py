"""Rows of sensors become CSV files that training reads."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from dasvdd_runtime.recorders.base import Gap
from dasvdd_runtime.recorders.rows import NOT_FINITE, RowRecorder
from dasvdd_runtime.recordings import probe, read_signal
from recording_rows import pieces_of, some_rows


def recorder(folder: Path, *, rate_hz: float = 50.0, names: str = "x,y", file_seconds: float = 600.0) -> RowRecorder:
    """A recorder whose clock ticks a second whenever it is asked."""
    seconds = iter(range(1, 1000))
    return RowRecorder(
        folder,
        name="fan",
        sample_rate_hz=rate_hz,
        channel_names=names.split(","),
        file_seconds=file_seconds,
        now=lambda: datetime.fromtimestamp(next(seconds), UTC),
    )


@pytest.mark.parametrize("rate_hz", [0.1, 1 / 7, 3.0, 50.0, 200.0, 6667.0, 25_600.0])
def test_rows_come_back_equal_with_rate_and_gap(tmp_path: Path, rate_hz: float) -> None:
    """Whatever the rate: the times alone say it, the gap is where it was, and every value is the same float."""
    rows = some_rows(400) * np.float32(10.0) ** np.random.default_rng(1).integers(-30, 30, (400, 2)).astype(np.float32)
    tape = recorder(tmp_path, rate_hz=rate_hz, file_seconds=1000 / rate_hz)
    for block in np.array_split(rows[:250], 7):
        tape.write(block)
    tape.gap(30)
    tape.write(rows[250:])
    tape.close()
    assert tape.gaps == [Gap(250 / rate_hz, 30 / rate_hz)]
    (path,) = tape.files
    found_rate_hz, channels, _ = probe(path)
    assert (found_rate_hz, channels) == (pytest.approx(rate_hz, rel=1e-6), 2)
    (_, before), (start_seconds, after) = pieces_of(path)
    np.testing.assert_array_equal(np.concatenate([before, after]), rows)
    assert len(before) == 250
    assert start_seconds == pytest.approx(280 / rate_hz)


def test_a_row_that_is_not_finite_is_left_out_as_a_gap(tmp_path: Path) -> None:
    """NaN and infinity in one channel take the whole row; rows in a row, over blocks too, are one gap."""
    rows = some_rows(60)
    rows[20, 1] = np.nan
    rows[21, 0] = np.inf
    tape = recorder(tmp_path)
    for block in np.split(rows, [21]):
        tape.write(block)
    tape.close()
    assert tape.gaps == [Gap(0.4, 0.04, NOT_FINITE)]
    assert (tape.rows_left_out, tape.stream_seconds) == (2, 1.2)
    (_, before), (start_seconds, after) = pieces_of(tape.files[0])
    np.testing.assert_array_equal(before, rows[:20])
    np.testing.assert_array_equal(after, rows[22:])
    assert start_seconds == pytest.approx(22 / 50)


def test_a_gap_of_unknown_length_begins_a_new_file(tmp_path: Path) -> None:
    """No step of the time could show it."""
    tape = recorder(tmp_path)
    tape.write(some_rows(30))
    tape.gap(0)
    tape.write(some_rows(20))
    tape.close()
    assert [len(read_signal(path).samples) for path in tape.files] == [30, 20]


def test_files_are_of_the_asked_length_and_times_go_on(tmp_path: Path) -> None:
    """The next file goes on where the last one ended; however slow the rows, none is too short to train on."""
    tape = recorder(tmp_path, rate_hz=10.0, names="x", file_seconds=12.0)
    tape.write(some_rows(250, 1))
    tape.close()
    assert tape.files[0].name == "fan-19691231T235936.000Z.csv"
    assert [len(read_signal(path).samples) for path in tape.files] == [120, 120, 10]
    assert tape.files[1].read_text().splitlines()[1].startswith("12.0,")
    slow = recorder(tmp_path / "slow", rate_hz=1 / 60, names="x", file_seconds=600.0)
    slow.write(some_rows(150, 1))
    slow.close()
    assert [len(read_signal(path).samples) for path in slow.files] == [100, 50]


def test_a_file_of_rows_has_its_name_only_when_it_is_whole(tmp_path: Path) -> None:
    """While it grows it ends in .partial, which a crash leaves with every row that was written."""
    tape = recorder(tmp_path)
    tape.write(some_rows(10))
    (partial,) = tmp_path.iterdir()
    assert partial.suffix == ".partial"
    assert len(partial.read_text().splitlines()) == 11
    tape.close()
    assert [path.suffix for path in tmp_path.iterdir()] == [".csv"]


def test_a_folder_that_stays_empty_is_removed_again(tmp_path: Path) -> None:
    """With those above it that were made for it, and no other."""
    recorder(tmp_path / "recordings" / "fan").end()
    assert list(tmp_path.iterdir()) == []
    recorder(tmp_path).end()
    assert tmp_path.exists()
